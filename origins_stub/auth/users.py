"""Users in SQLite, with argon2id hashes. Calls block: `credentials` makes them in a thread."""

from dataclasses import dataclass, field
from pathlib import Path

import pydantic
import yaml
from argon2 import PasswordHasher
from sqlalchemy import BigInteger, create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from origins_stub.kit.answers import StrictModel
from origins_stub.kit.process import StartError

SEED = Path(__file__).with_name("seed.yaml")
MAX_ID = 2**63 - 1


@dataclass(slots=True, frozen=True)
class User:
    """A user and the argon2id hash, in PHC form, of the password."""

    email: str
    customer_id: int
    account_owner_id: int
    password_hash: str = field(repr=False)


class SeedUser(StrictModel):
    """One user of a seed file."""

    email: str = pydantic.Field(min_length=3, max_length=254)
    password: pydantic.SecretStr
    customer_id: int = pydantic.Field(gt=0, le=MAX_ID)
    account_owner_id: int = pydantic.Field(gt=0, le=MAX_ID)


class _Base(DeclarativeBase):
    pass


class _Row(_Base):
    __tablename__ = "users"
    email: Mapped[str] = mapped_column(primary_key=True)
    customer_id: Mapped[int] = mapped_column(BigInteger)
    account_owner_id: Mapped[int] = mapped_column(BigInteger)
    password_hash: Mapped[str]


class UserStore:
    """Find users in `path`, a SQLite file that is made, with the users of `seed` in it, when missing."""

    def __init__(self, path: Path, hasher: PasswordHasher, seed: Path = SEED) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._engine = create_engine(f"sqlite:///{path}")
        _Base.metadata.create_all(self._engine)
        with Session(self._engine) as session, session.begin():
            for user in read_seed(seed):
                if session.get(_Row, canonical_email(user.email)) is None:
                    session.add(_seeded(user, hasher))

    def find(self, email: str) -> User | None:
        """Return the user with this e-mail address, whatever its case, or None."""
        with Session(self._engine) as session:
            row = session.get(_Row, canonical_email(email))
            if row is None:
                return None
            return User(row.email, row.customer_id, row.account_owner_id, row.password_hash)

    def close(self) -> None:
        """Close the file."""
        self._engine.dispose()


def canonical_email(email: str) -> str:
    """Return the one form in which an e-mail address is stored and looked up."""
    return email.strip().casefold()


def read_seed(path: Path) -> list[SeedUser]:
    """Return the users of a seed file; raise StartError, which repeats no password, when it is not one."""
    try:
        return pydantic.TypeAdapter(list[SeedUser]).validate_python(yaml.safe_load(path.read_text("utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, pydantic.ValidationError) as error:
        raise StartError(f"the seed {path} is not a list of users ({type(error).__name__})") from None


def _seeded(user: SeedUser, hasher: PasswordHasher) -> _Row:
    return _Row(
        email=canonical_email(user.email),
        customer_id=user.customer_id,
        account_owner_id=user.account_owner_id,
        password_hash=hasher.hash(user.password.get_secret_value()),
    )
