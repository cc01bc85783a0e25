"""Looking into a service's database from outside: its rows, and the bytes of its files."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, NullPool, create_engine, make_url, text


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    """Open a connection of one's own; what is done on it is committed."""
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        yield connection
    engine.dispose()


def rows(url: str, query: str, **values: object) -> list[tuple[object, ...]]:
    """Return what a query finds."""
    with connected(url) as connection:
        return [tuple(row) for row in connection.execute(text(query), values)]


def run(url: str, *statements: str) -> None:
    """Run statements that find nothing."""
    with connected(url) as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def stored_bytes(url: str) -> bytes:
    """Return what the files of the database hold: SQLite's with its log, PostgreSQL's tables and indexes."""
    if url.startswith("sqlite"):
        path = Path(str(make_url(url).database))
        return b"".join(each.read_bytes() for each in path.parent.glob(path.name + "*"))
    run(url, "CHECKPOINT")
    query = "SELECT current_setting('data_directory'), oid FROM pg_database WHERE datname = current_database()"
    ((directory, oid),) = rows(url, query)
    return b"".join(each.read_bytes() for each in Path(str(directory), "base", str(oid)).iterdir())
