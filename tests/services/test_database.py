"""The services' databases: schemas and how they come about, transactions, and URLs that are none."""

import asyncio
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, closing, contextmanager
from pathlib import Path
from urllib.parse import quote

import aiohttp
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import MetaData, text
from sqlalchemy.exc import DBAPIError, OperationalError

from passport.kms import KmsClient, KmsUnavailable
from services.cookie.store import MIGRATIONS as COOKIE_MIGRATIONS
from services.cookie.tables import Base as CookieBase
from services.kit.callers import read_token
from services.kit.config import read_config
from services.kit.database import Database, DatabaseConfig, SchemaError, newest
from services.kit.process import StartError
from services.kms.config import KmsConfig
from services.kms.sealing import Sealer
from services.kms.states import State
from services.kms.store import MIGRATIONS as KMS_MIGRATIONS
from services.kms.store import Store
from services.kms.tables import Base as KmsBase
from tests.postgres import Postgres, postgres_running
from tests.processes import make_secrets, process, started
from tests.services.databases import connected, rows, run
from tests.services.kms_calls import CONFIG, PURPOSES, kms_arguments, kms_running

NOWHERE = Path("/nonexistent/none.sqlite")
SEALER = Sealer(b"1" * 32)

# What a store was before it had migrations, word for word.
KMS_BEFORE_MIGRATIONS = """
CREATE TABLE key_versions (
    key_id BIGINT NOT NULL, purpose VARCHAR NOT NULL, state VARCHAR(16) NOT NULL, is_primary BOOLEAN NOT NULL,
    created BIGINT NOT NULL, sealed BLOB, PRIMARY KEY (key_id)
);
CREATE INDEX ix_key_versions_purpose ON key_versions (purpose);
CREATE UNIQUE INDEX one_primary ON key_versions (purpose) WHERE is_primary;
CREATE TABLE revision (id INTEGER NOT NULL, revision BIGINT NOT NULL, PRIMARY KEY (id));
CREATE TABLE access_log (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, at FLOAT NOT NULL, identity VARCHAR NOT NULL, peer VARCHAR NOT NULL,
    action VARCHAR NOT NULL, subject VARCHAR NOT NULL, outcome VARCHAR NOT NULL
);
"""


@contextmanager
def opened(url: str, timeout_s: float = 2.0) -> Iterator[Database]:
    database = Database(DatabaseConfig(url=url, timeout_s=timeout_s), NOWHERE)
    try:
        yield database
    finally:
        database.close()


def kms_store(url: str) -> Store:
    return Store(Database(DatabaseConfig(url=url), NOWHERE), SEALER, 1000, 1e9)


@pytest.mark.parametrize(
    ("migrations", "metadata"),
    [(KMS_MIGRATIONS, KmsBase.metadata), (COOKIE_MIGRATIONS, CookieBase.metadata)],
    ids=["kms", "cookie"],
)
def test_the_migrations_make_the_tables_that_the_code_knows(
    database_url: str, migrations: Path, metadata: MetaData
) -> None:
    with opened(database_url) as database:
        database.upgrade(migrations)
        database.upgrade(migrations)
    assert rows(database_url, "SELECT version_num FROM alembic_version") == [(newest(migrations),)]
    with connected(database_url) as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


async def test_a_key_store_of_before_migrations_is_taken_over_with_its_keys(tmp_path: Path) -> None:
    async with kms_running(tmp_path) as kms:
        before = await kms.client("edge").key_sets(["cookie"])
        path = kms.var / "kms.sqlite"
    with closing(sqlite3.connect(path)) as new, closing(sqlite3.connect(kms.var / "old")) as old, old:
        old.executescript(KMS_BEFORE_MIGRATIONS)
        for table, source, columns in (
            ("key_versions", "key_versions", "key_id, purpose, state, is_primary, created, sealed"),
            ("revision", "revision", "id, revision"),
            ("access_log", "audit_log", "id, at, identity, peer, action, subject, outcome"),
        ):
            found = new.execute(f"SELECT {columns} FROM {source}").fetchall()  # noqa: S608
            assert found
            old.executemany(f"INSERT INTO {table} VALUES ({','.join('?' * len(found[0]))})", found)  # noqa: S608
    for left in kms.var.glob("kms.sqlite*"):
        left.unlink()
    (kms.var / "old").rename(path)
    async with kms_running(tmp_path) as kms:
        assert await kms.client("edge").key_sets(["cookie"]) == before
    ((version,),) = rows(kms.database_url, "SELECT version_num FROM alembic_version")
    assert str(version).startswith("kms")


def test_what_the_first_schema_held_is_there_after_every_migration(database_url: str) -> None:
    with opened(database_url) as database:
        database.upgrade(KMS_MIGRATIONS, to="kms0001")
    sealed = SEALER.seal("cookie", 7, b"m" * 32)
    with connected(database_url) as connection:
        connection.execute(
            text("INSERT INTO key_versions VALUES (7, 'cookie', 'ACTIVE', :yes, 1000, :sealed)"),
            {"yes": True, "sealed": sealed},
        )
        connection.exec_driver_sql("INSERT INTO revision VALUES (1, 41)")
        connection.exec_driver_sql(
            "INSERT INTO access_log (at, identity, peer, action, subject, outcome)"
            " VALUES (1000.5, 'edge', '127.0.0.1', 'get_key_sets', 'cookie', 'granted')"
        )
    store = kms_store(database_url)
    store.check()
    (kept,), revision = store.open_versions(["cookie"])
    assert (kept.version.key_id, kept.version.state, kept.version.primary, kept.material, revision) == (
        7, State.ACTIVE, True, b"m" * 32, 41,
    )  # fmt: skip
    assert store.ensure_primaries(["cookie"], 2e9) == []
    store.close()
    assert rows(database_url, "SELECT at, identity, outcome FROM access_log") == [(1000.5, "edge", "granted")]


async def test_instances_that_start_at_once_on_a_new_database_serve_the_same_keys(
    tmp_path: Path, database_url: str
) -> None:
    secrets, config = make_secrets(tmp_path / "secrets"), tmp_path / "kms.yaml"
    config.write_text(f"{CONFIG.read_text()}database: {{url: '{database_url}'}}\n")
    arguments = kms_arguments(secrets, tmp_path / "var", config)
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())
        starting = [process("services.kms", *arguments) for _ in range(3)]
        instances = await asyncio.gather(*(stack.enter_async_context(each) for each in starting))
        token = read_token(secrets / "edge.token")
        answers = [await KmsClient(session, each.url, token).key_sets(PURPOSES) for each in instances]
        assert all(answer == answers[0] for answer in answers)
        assert all(len(key_set.versions) == 1 for key_set in answers[0].key_sets)


def test_a_schema_of_a_later_version_is_left_alone(database_url: str) -> None:
    with opened(database_url) as database:
        database.upgrade(KMS_MIGRATIONS)
        run(database_url, "UPDATE alembic_version SET version_num = 'kms9999'")
        with pytest.raises(SchemaError, match="kms9999"):
            database.upgrade(KMS_MIGRATIONS)
    assert rows(database_url, "SELECT version_num FROM alembic_version") == [("kms9999",)]


def test_an_exclusive_transaction_waits_for_the_one_before_and_readers_for_none(database_url: str) -> None:
    with opened(database_url) as database:
        database.upgrade(KMS_MIGRATIONS)
        run(database_url, "INSERT INTO revision VALUES (1, 0)")

        def add_one() -> None:
            with database.exclusive() as session:
                found = session.execute(text("SELECT revision FROM revision")).scalar_one()
                session.execute(text("UPDATE revision SET revision = :next"), {"next": found + 1})

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: add_one(), range(40)))
        assert rows(database_url, "SELECT revision FROM revision") == [(40,)]
        with database.exclusive() as writing:
            writing.execute(text("UPDATE revision SET revision = 50"))
            with database.reading() as reading:
                assert reading.execute(text("SELECT revision FROM revision")).scalar_one() == 40


def test_a_transaction_that_takes_long_costs_the_others_no_more_than_their_limit(database_url: str) -> None:
    with opened(database_url) as database, opened(database_url, timeout_s=0.2) as other:
        database.upgrade(KMS_MIGRATIONS)
        with database.exclusive() as taking_long:
            taking_long.execute(text("SELECT 1"))
            with pytest.raises(OperationalError), other.exclusive() as waiting:
                waiting.execute(text("SELECT 1"))


def test_a_postgresql_transaction_of_an_instance_that_hangs_is_ended_for_the_others(postgres: Postgres) -> None:
    url = postgres.new_database()

    def overtaken() -> None:
        with hanging.exclusive() as session:
            session.execute(text("SELECT 1"))
            with other.exclusive() as waiting:
                waiting.execute(text("SELECT 1"))

    with opened(url, timeout_s=0.2) as hanging, opened(url) as other, pytest.raises(DBAPIError):
        overtaken()


async def test_a_key_service_outlives_a_database_that_went_away_for_a_while(
    tmp_path: Path, postgres_programs: Path
) -> None:
    with postgres_running(postgres_programs) as server:
        async with kms_running(tmp_path, database_url=server.new_database()) as kms:
            before = await kms.client("edge").key_sets(PURPOSES)
            server.stop()
            with pytest.raises(KmsUnavailable, match="500"):
                await kms.client("edge").key_sets(PURPOSES)
            server.start()
            assert await kms.client("edge").key_sets(PURPOSES) == before


async def test_a_database_that_cannot_be_reached_stops_the_start_with_one_line(tmp_path: Path) -> None:
    config = tmp_path / "kms.yaml"
    config.write_text(f"{CONFIG.read_text()}database: {{url: 'postgresql+psycopg://edge@/none?host={tmp_path}'}}\n")
    arguments = kms_arguments(make_secrets(tmp_path / "secrets"), tmp_path / "var", config)
    async with started("services.kms", *arguments) as (kms, _):
        assert await kms.wait() == 1
        assert kms.output().count("\n") == 1
        assert f"kms cannot start: postgresql+psycopg://edge@/none?host={quote(str(tmp_path), '')} " in kms.output()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "kms.sqlite",
        "sqlite://",
        "sqlite:///",
        "mysql://edge@db/kms",
        "postgresql://edge@db/kms",
        "postgresql+psycopg://edge@db",
        "postgresql+psycopg://edge:SECRET@db/kms",
        "postgresql+psycopg://edge@db/kms?password=SECRET",
        "postgresql+psycopg://edge@db:SECRET/kms",
    ],
)
def test_a_url_that_names_no_database_or_holds_a_password_is_refused_unshown(tmp_path: Path, url: str) -> None:
    config = tmp_path / "kms.yaml"
    config.write_text(f"{CONFIG.read_text()}database: {{url: '{url}'}}\n")
    with pytest.raises(StartError, match=r"database\.url: ") as caught:
        read_config(config, KmsConfig)
    assert "SECRET" not in str(caught.value)
