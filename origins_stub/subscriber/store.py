"""Subscribers in SQLite. Calls block: the server makes them in a thread."""

from pathlib import Path

import pydantic
import yaml
from sqlalchemy import BigInteger, Engine, create_engine, event
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from origins_stub.kit.answers import StrictModel
from origins_stub.kit.process import StartError

SEED = Path(__file__).with_name("seed.yaml")
MAX_ID = 2**63 - 1


class Membership(StrictModel):
    """What may be changed about a subscriber."""

    account_owner_id: int = pydantic.Field(gt=0, le=MAX_ID)
    member: bool


class Subscriber(Membership):
    """One subscriber, as the service answers."""

    customer_id: int = pydantic.Field(gt=0, le=MAX_ID)


class _Base(DeclarativeBase):
    pass


class _Row(_Base):
    __tablename__ = "subscribers"
    customer_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    account_owner_id: Mapped[int] = mapped_column(BigInteger)
    member: Mapped[bool]


class SubscriberStore:
    """Read and change subscribers in `path`, a SQLite file that is made, with the seed in it, when missing."""

    def __init__(self, path: Path, seed: Path = SEED) -> None:
        fresh = not path.exists()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._engine = create_engine(f"sqlite:///{path}")
        _write_ahead(self._engine)
        _Base.metadata.create_all(self._engine)
        if fresh:
            for subscriber in read_seed(seed):
                self.put(subscriber)

    def get(self, customer_id: int) -> Subscriber | None:
        """Return the subscriber, or None."""
        with Session(self._engine) as session:
            row = session.get(_Row, customer_id)
            if row is None:
                return None
            return Subscriber(customer_id=row.customer_id, account_owner_id=row.account_owner_id, member=row.member)

    def put(self, subscriber: Subscriber) -> None:
        """Make or replace a subscriber."""
        with Session(self._engine) as session, session.begin():
            session.merge(_Row(**subscriber.model_dump()))

    def close(self) -> None:
        """Close the file."""
        self._engine.dispose()


def read_seed(path: Path) -> list[Subscriber]:
    """Return the subscribers of a seed file; raise StartError when it is not one."""
    try:
        return pydantic.TypeAdapter(list[Subscriber]).validate_python(yaml.safe_load(path.read_text("utf-8")))
    except (OSError, yaml.YAMLError, pydantic.ValidationError) as error:
        raise StartError(f"the seed {path} is not a list of subscribers: {error}") from None


def _write_ahead(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def _(connection, _record) -> None:  # type: ignore[no-untyped-def]  # DBAPI connections have no common type
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
