"""The tables of the store, as its migrations have made them."""

from sqlalchemy import BigInteger, Double, Enum, Index, Integer, LargeBinary, String, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from services.kms.states import State


class Base(DeclarativeBase):
    """All tables of the store."""


class VersionRow(Base):
    """One key version. `sealed` is None once it is destroyed; `created` and `state_since` are epoch seconds.

    `state_revision` is the first revision in which it has the state it has now.
    """

    __tablename__ = "key_versions"
    # At most one version of a set protects, whatever the code believes.
    __table_args__ = (
        Index(
            "one_primary",
            "purpose",
            unique=True,
            sqlite_where=text("is_primary"),
            postgresql_where=text("is_primary"),
        ),
    )

    key_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    purpose: Mapped[str] = mapped_column(String, index=True)
    state: Mapped[State] = mapped_column(Enum(State, native_enum=False, length=16))
    is_primary: Mapped[bool]
    created: Mapped[int] = mapped_column(BigInteger)
    sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    # None: written by an instance of a version that knows of neither.
    state_since: Mapped[int | None] = mapped_column(BigInteger)
    state_revision: Mapped[int | None] = mapped_column(BigInteger)

    def __repr__(self) -> str:
        return f"VersionRow({self.key_id:08x}, {self.purpose}, {self.state})"


class AccessRow(Base):
    """One access, as instances of a version before the audit log write it."""

    __tablename__ = "access_log"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012 - SQLAlchemy's own declaration

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    at: Mapped[float] = mapped_column(Double)
    identity: Mapped[str]
    peer: Mapped[str]
    action: Mapped[str]
    subject: Mapped[str]
    outcome: Mapped[str]


class RevisionRow(Base):
    """The one row that counts changes of any key set."""

    __tablename__ = "revision"

    id: Mapped[int] = mapped_column(primary_key=True)
    revision: Mapped[int] = mapped_column(BigInteger)


class HolderRow(Base):
    """A process that fetched some purposes: when last, in epoch seconds, and the revision that it worked with then."""

    __tablename__ = "holders"

    identity: Mapped[str] = mapped_column(String, primary_key=True)
    holder: Mapped[str] = mapped_column(String, primary_key=True)
    purposes: Mapped[str] = mapped_column(String, primary_key=True)
    seen: Mapped[int] = mapped_column(BigInteger)
    revision_held: Mapped[int] = mapped_column(BigInteger)


class UseRow(Base):
    """What holders have said about their use of one key; `last_used` is epoch seconds."""

    # Apart from the versions: a row with sealed material is not written anew for a count.
    __tablename__ = "key_uses"

    key_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    last_used: Mapped[int] = mapped_column(BigInteger)
    last_used_by: Mapped[str]
    count: Mapped[int] = mapped_column(BigInteger)


class AuditRow(Base):
    """One access, granted or not; `code` authenticates it and the code of the row before."""

    __tablename__ = "audit_log"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    at: Mapped[float] = mapped_column(Double)
    identity: Mapped[str]
    peer: Mapped[str]
    action: Mapped[str]
    subject: Mapped[str]
    outcome: Mapped[str]
    code: Mapped[bytes] = mapped_column(LargeBinary)


class AuditHeadRow(Base):
    """The one row that says which rows the audit log has: `code_before` is that of the row before `first_id`.

    `seal` authenticates the other columns.
    """

    __tablename__ = "audit_head"

    id: Mapped[int] = mapped_column(primary_key=True)
    first_id: Mapped[int] = mapped_column(BigInteger)
    code_before: Mapped[bytes] = mapped_column(LargeBinary)
    last_id: Mapped[int] = mapped_column(BigInteger)
    last_code: Mapped[bytes] = mapped_column(LargeBinary)
    seal: Mapped[bytes] = mapped_column(LargeBinary)


class WrappedMasterKeyRow(Base):
    """The one master key of this store as AWS KMS has sealed it."""

    __tablename__ = "wrapped_master_key"

    id: Mapped[int] = mapped_column(primary_key=True)
    wrapped: Mapped[bytes] = mapped_column(LargeBinary)
