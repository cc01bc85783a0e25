"""The tables of the store, as its migrations have made them."""

from sqlalchemy import BigInteger, Double, Enum, Index, Integer, LargeBinary, String, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from services.kms.states import State


class Base(DeclarativeBase):
    """All tables of the store."""


class VersionRow(Base):
    """One key version. `sealed` is None once it is destroyed; `created` is epoch seconds."""

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

    def __repr__(self) -> str:
        return f"VersionRow({self.key_id:08x}, {self.purpose}, {self.state})"


class RevisionRow(Base):
    """The one row that counts changes of any key set."""

    __tablename__ = "revision"

    id: Mapped[int] = mapped_column(primary_key=True)
    revision: Mapped[int] = mapped_column(BigInteger)


class AccessRow(Base):
    """One access, granted or not; `at` is epoch seconds, `subject` purposes or a key id."""

    __tablename__ = "access_log"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012 - SQLAlchemy's own declaration

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    at: Mapped[float] = mapped_column(Double)
    identity: Mapped[str]
    peer: Mapped[str]
    action: Mapped[str]
    subject: Mapped[str]
    outcome: Mapped[str]
