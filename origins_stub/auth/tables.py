"""What the auth service stores: accounts, their profiles, and sign-ups that are under way."""

from sqlalchemy import BigInteger
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """The tables of one SQLite file."""


class UserRow(Base):
    """An account; `password_hash` is argon2id in PHC form."""

    __tablename__ = "users"
    email: Mapped[str] = mapped_column(primary_key=True)
    customer_id: Mapped[int] = mapped_column(BigInteger)
    account_owner_id: Mapped[int] = mapped_column(BigInteger)
    password_hash: Mapped[str]


class ProfileRow(Base):
    """A profile of an account, named by its owner."""

    __tablename__ = "profiles"
    profile_id: Mapped[str] = mapped_column(primary_key=True)
    account_owner_id: Mapped[int] = mapped_column(BigInteger, index=True)
    name: Mapped[str]
    kids: Mapped[bool]


class SignupRow(Base):
    """A sign-up that has begun; it is gone when it is complete."""

    __tablename__ = "signups"
    customer_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    plan: Mapped[str | None]
