"""A service's database by URL: SQLite in a file of its own, or PostgreSQL (docs/operating.md, Databases).

Transactions are of three sorts. One that *reads* waits for nobody. One that *writes* makes a single statement. An
*exclusive* one has the database to itself among its kind, from its first statement on: what it reads cannot change
before it has written.
"""

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

from services.kit.process import StartError

_POSTGRESQL: Final = "postgresql+psycopg"
_SQLITE: Final = "sqlite"
VERSION_TABLE: Final = "alembic_version"
_NEWEST: Final = "head"
# The sort of a transaction, as an execution option that its beginning looks at.
_KIND: Final = "edge_transaction"
_WRITING: Final = "writing"
_EXCLUSIVE: Final = "exclusive"
_MIGRATION: Final = "migration"
# Any number does, as long as every version of every service takes the same one.
_LOCK: Final = 0x65646765
# FULL: what was answered is on the disk. secure_delete: destroyed material is overwritten, not only unlinked.
_PRAGMAS: Final = ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON")
# A server that is gone without a word is noticed within half a minute, whoever waits for whom.
_KEEPALIVE: Final = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}


def _checked(text: str) -> str:
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise ValueError("is no database URL") from None
    if url.drivername not in (_POSTGRESQL, _SQLITE) or not url.database:
        raise ValueError(f"must be {_SQLITE}:////PATH or {_POSTGRESQL}://USER@HOST/DATABASE")
    if url.password is not None or "password" in url.query:
        raise ValueError("must not hold a password: name a file with ?passfile=FILE")
    return text


class SchemaError(Exception):
    """The schema is of a version that is not known here; the text says which."""


class DatabaseConfig(BaseModel):
    """Where the database is. `url` None: a SQLite file in `--var`, named after the service."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    url: Annotated[str, AfterValidator(_checked)] | None = None
    connections: Annotated[int, Field(ge=1, le=100)] = 4
    timeout_s: Annotated[float, Field(ge=0.1, le=60)] = 2.0


class Database:
    """An engine with the three sorts of transactions. Calls block; errors show no values."""

    def __init__(self, config: DatabaseConfig, default: Path) -> None:
        """Make the engine; it connects when it is first used. StartError when the driver is not installed."""
        self._url = URL.create(_SQLITE, database=str(default)) if config.url is None else make_url(config.url)
        self._postgresql = self._url.drivername == _POSTGRESQL
        try:
            self._engine = _postgresql(self._url, config) if self._postgresql else _sqlite(self._url, config)
        except ModuleNotFoundError:
            raise StartError("PostgreSQL needs its driver: install edge-passport[postgres]") from None
        # A single statement needs no BEGIN and COMMIT around it, each of which is a round trip to PostgreSQL.
        alone = {"isolation_level": "AUTOCOMMIT"} if self._postgresql else {}
        self._reading = self._engine.execution_options(**alone)
        self._writing = self._engine.execution_options(**{_KIND: _WRITING}, **alone)
        self._exclusive = self._engine.execution_options(**{_KIND: _EXCLUSIVE})

    def reading(self) -> AbstractContextManager[Connection]:
        """Begin to read."""
        return self._reading.begin()

    def writing(self) -> AbstractContextManager[Connection]:
        """Begin a change of one statement; on the disk once the block has ended."""
        return self._writing.begin()

    @contextmanager
    def exclusive(self) -> Iterator[Session]:
        """Begin a transaction that waits for the exclusive one before it; on the disk once the block has ended."""
        with Session(self._exclusive) as session, session.begin():
            yield session

    def upgrade(self, migrations: Path, adopt: str = "", to: str = _NEWEST) -> None:
        """Bring the schema to the newest of `migrations`, or `to` one, in one transaction; other instances wait.

        A database that has the table `adopt` but no record of its schema was made by a version before migrations: it
        has the first one. Raises SchemaError when the schema is of a later version than these.
        """
        if not self._postgresql:
            _make_file(Path(str(self._url.database)))
        with self._engine.execution_options(**{_KIND: _MIGRATION}).begin() as connection:
            if to == _NEWEST and _version(connection) == newest(migrations):
                return
            # Here, because few starts need Alembic, and each would wait for it to load.
            from services.kit.migrate import migrate  # noqa: PLC0415

            migrate(connection, migrations, adopt, to)

    def erase_traces(self, table: str) -> None:
        """Leave nothing in the files of `table` of what was overwritten in it.

        SQLite: the write-ahead log is moved into the file, where secure_delete has overwritten it, and cut to nothing.
        PostgreSQL: the table is written anew. Its write-ahead log, replicas and backups keep what they have.
        """
        if self._postgresql:
            with self._engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
                connection.exec_driver_sql(f"VACUUM FULL {table}")
            return
        raw = self._engine.raw_connection()
        try:
            raw.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            raw.close()

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def __str__(self) -> str:
        return self._url.render_as_string(hide_password=True) if self._postgresql else str(self._url.database)


def _sqlite(url: URL, config: DatabaseConfig) -> Engine:
    engine = create_engine(
        url, hide_parameters=True, pool_size=config.connections, max_overflow=0, pool_timeout=config.timeout_s
    )
    pragmas = (*_PRAGMAS, f"busy_timeout={_milliseconds(config)}")

    def set_up(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        # sqlite3 must not begin transactions by itself: `begin` does.
        connection.isolation_level = None
        _execute(connection, *(f"PRAGMA {pragma}" for pragma in pragmas))

    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if _kind(connection) else "BEGIN")

    event.listen(engine, "connect", set_up)
    event.listen(engine, "begin", begin)
    return engine


def _make_file(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600)


def _postgresql(url: URL, config: DatabaseConfig) -> Engine:
    engine = create_engine(
        url,
        hide_parameters=True,
        pool_size=config.connections,
        max_overflow=0,
        pool_timeout=config.timeout_s,
        pool_pre_ping=True,
        connect_args={**_KEEPALIVE, "connect_timeout": math.ceil(config.timeout_s)},
    )
    limit = _milliseconds(config)

    def set_up(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        _execute(
            connection,
            "SET synchronous_commit = on",
            f"SET statement_timeout = {limit}",
            f"SET lock_timeout = {limit}",
            # An instance that is stopped in the middle of a transaction must not stop the others for longer.
            f"SET idle_in_transaction_session_timeout = {2 * limit}",
        )
        connection.commit()

    def begin(connection: Connection) -> None:
        kind = _kind(connection)
        if kind == _MIGRATION:
            connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
            connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
        if kind in (_EXCLUSIVE, _MIGRATION):
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")

    event.listen(engine, "connect", set_up)
    event.listen(engine, "begin", begin)
    return engine


def _kind(connection: Connection) -> str:
    return str(connection.get_execution_options().get(_KIND, ""))


def _milliseconds(config: DatabaseConfig) -> int:
    return round(config.timeout_s * 1000)


def _execute(connection: DBAPIConnection, *statements: str) -> None:
    cursor = connection.cursor()
    for statement in statements:
        cursor.execute(statement)
    cursor.close()


def newest(migrations: Path) -> str:
    """Return the version that the last of `migrations` makes: their files are named `VERSION_what_it_does.py`."""
    return max(path.stem for path in migrations.glob("*[0-9]_*.py")).partition("_")[0]


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    return connection.exec_driver_sql(f"SELECT version_num FROM {VERSION_TABLE}").scalar()  # noqa: S608 - a constant


@contextmanager
def usable(database: Database) -> Iterator[None]:
    """Make whatever is wrong with the database in this block a StartError that names it."""
    try:
        yield
    except (OSError, SQLAlchemyError, SchemaError) as error:
        raise StartError(f"{database} cannot be used: {' '.join(str(error).split())}") from None
