"""Users and their profiles in SQLite, with argon2id hashes. Calls block: callers make them in a thread."""

import secrets
from dataclasses import dataclass, field
from pathlib import Path

import pydantic
import yaml
from argon2 import PasswordHasher
from sqlalchemy import create_engine, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from origins_stub.auth.tables import Base, ProfileRow, SignupRow, UserRow
from origins_stub.kit.answers import StrictModel
from origins_stub.kit.process import StartError

SEED = Path(__file__).with_name("seed.yaml")
MAX_ID = 2**63 - 1
_FIRST_NEW_ID = 1_000_000
_MAX_NEW_ID = 2**53 - 1  # what every JSON reader takes for a whole number


@dataclass(slots=True, frozen=True)
class User:
    """A user and the argon2id hash, in PHC form, of the password."""

    email: str
    customer_id: int
    account_owner_id: int
    password_hash: str = field(repr=False)


class Profile(StrictModel):
    """Somebody who watches in an account; `kids`: a child."""

    profile_id: str = pydantic.Field(min_length=1, max_length=64)
    name: str = pydantic.Field(min_length=1, max_length=64)
    kids: bool = False


class SeedUser(StrictModel):
    """One user of a seed file."""

    email: str = pydantic.Field(min_length=3, max_length=254)
    password: pydantic.SecretStr
    customer_id: int = pydantic.Field(gt=0, le=MAX_ID)
    account_owner_id: int = pydantic.Field(gt=0, le=MAX_ID)
    profiles: list[Profile] = pydantic.Field(default_factory=list)


class UserStore:
    """Find users in `path`, a SQLite file that is made, with the users of `seed` in it, when missing."""

    def __init__(self, path: Path, hasher: PasswordHasher, seed: Path = SEED) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.engine = create_engine(f"sqlite:///{path}")
        Base.metadata.create_all(self.engine)
        with Session(self.engine) as session, session.begin():
            for user in read_seed(seed):
                if session.get(UserRow, canonical_email(user.email)) is None:
                    session.add(_seeded(user, hasher))
                for profile in user.profiles:
                    if session.get(ProfileRow, profile.profile_id) is None:
                        session.add(_profile_row(profile, user.account_owner_id))

    def find(self, email: str) -> User | None:
        """Return the user with this e-mail address, whatever its case, or None."""
        with Session(self.engine) as session:
            row = session.get(UserRow, canonical_email(email))
            if row is None:
                return None
            return User(row.email, row.customer_id, row.account_owner_id, row.password_hash)

    def add(self, email: str, password_hash: str) -> User | None:
        """Make an account with one profile, whose sign-up has begun; None when there is one with this address."""
        customer_id = _FIRST_NEW_ID + secrets.randbelow(_MAX_NEW_ID - _FIRST_NEW_ID)
        user = User(canonical_email(email), customer_id, customer_id, password_hash)
        try:
            with Session(self.engine) as session, session.begin():
                session.add(
                    UserRow(
                        email=user.email,
                        customer_id=customer_id,
                        account_owner_id=customer_id,
                        password_hash=password_hash,
                    )
                )
                session.add(_profile_row(Profile(profile_id=f"p-{customer_id}", name="Profile 1"), customer_id))
                session.add(SignupRow(customer_id=customer_id, plan=None))
        except IntegrityError:
            return None
        return user

    def profiles(self, account_owner_id: int) -> list[Profile]:
        """Return the profiles of an account, by name."""
        with Session(self.engine) as session:
            found = session.scalars(
                select(ProfileRow).where(ProfileRow.account_owner_id == account_owner_id).order_by(ProfileRow.name)
            )
            return [Profile(profile_id=row.profile_id, name=row.name, kids=row.kids) for row in found]

    def close(self) -> None:
        """Close the file."""
        self.engine.dispose()


def canonical_email(email: str) -> str:
    """Return the one form in which an e-mail address is stored and looked up."""
    return email.strip().casefold()


def read_seed(path: Path) -> list[SeedUser]:
    """Return the users of a seed file; raise StartError, which repeats no password, when it is not one."""
    try:
        return pydantic.TypeAdapter(list[SeedUser]).validate_python(yaml.safe_load(path.read_text("utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, pydantic.ValidationError) as error:
        raise StartError(f"the seed {path} is not a list of users ({type(error).__name__})") from None


def _seeded(user: SeedUser, hasher: PasswordHasher) -> UserRow:
    return UserRow(
        email=canonical_email(user.email),
        customer_id=user.customer_id,
        account_owner_id=user.account_owner_id,
        password_hash=hasher.hash(user.password.get_secret_value()),
    )


def _profile_row(profile: Profile, account_owner_id: int) -> ProfileRow:
    return ProfileRow(account_owner_id=account_owner_id, **profile.model_dump())
