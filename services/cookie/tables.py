"""The tables of the cookie service, as its migrations have made them."""

from sqlalchemy import BigInteger, Index, Integer, SmallInteger
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """All tables."""


class RevocationRow(Base):
    """One revocation. `id` is its time in microseconds since the epoch, or the next free one after that.

    `kind` and `reason` are numbers of `cookie_service.proto`; a text that does not belong to the kind is empty.
    """

    __tablename__ = "revocations"
    # Of a customer's rows, those of no session and those of one are each found without the others.
    __table_args__ = (Index("revocations_of_a_session", "customer_id", "session_id"),)

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False)
    kind: Mapped[int] = mapped_column(SmallInteger)
    reason: Mapped[int] = mapped_column(SmallInteger)
    customer_id: Mapped[int] = mapped_column(BigInteger)
    session_id: Mapped[str]
    esn: Mapped[str]
    except_session_id: Mapped[str]
    revoked_at: Mapped[int] = mapped_column(BigInteger)
    revoked_by: Mapped[str]

    def __repr__(self) -> str:
        return f"RevocationRow({self.id})"


class RescheduledRenewalRow(Base):
    """When the rescheduled token of a session's generation was last renewed, in epoch seconds.

    `succeeded_at` is when a token of a later generation was first presented since then, which only who has got the
    next pair can do; None: not yet.
    """

    __tablename__ = "rescheduled_renewals"
    __table_args__ = (Index("rescheduled_renewals_by_age", "renewed_at"),)

    session_id: Mapped[str] = mapped_column(primary_key=True)
    generation: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    renewed_at: Mapped[int] = mapped_column(BigInteger)
    succeeded_at: Mapped[int | None] = mapped_column(BigInteger)

    def __repr__(self) -> str:
        return f"RescheduledRenewalRow(generation {self.generation})"


class SessionUpdateRow(Base):
    """What updates have said of a session, taken together, and when the last one did, in epoch seconds.

    NULL where none said anything. `vouched_at` is the issued_at of the pair with which customer or device changed.
    """

    __tablename__ = "session_updates"
    __table_args__ = (Index("session_updates_by_age", "updated_at"),)

    session_id: Mapped[str] = mapped_column(primary_key=True)
    customer_id: Mapped[int | None] = mapped_column(BigInteger)
    profile_id: Mapped[str | None]
    esn: Mapped[str | None]
    device_type: Mapped[int | None]
    level: Mapped[int | None] = mapped_column(SmallInteger)
    vouched_at: Mapped[int | None] = mapped_column(BigInteger)
    updated_at: Mapped[int] = mapped_column(BigInteger)

    def __repr__(self) -> str:
        return f"SessionUpdateRow({self.updated_at})"
