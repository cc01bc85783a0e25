"""The SQLite file of the store: its engine, its mode, its transactions."""

from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from services.kms.tables import Base

# FULL: what was answered is on the disk. secure_delete: destroyed material is overwritten, not only unlinked.
_PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON", "busy_timeout=2000")


def open_database(path: Path) -> Engine:
    """Open or create the file, for its owner only, with all tables. Errors of the engine show no values."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600)
    engine = create_engine(f"sqlite+pysqlite:///{path}", hide_parameters=True)
    event.listen(engine, "connect", _set_up)
    event.listen(engine, "begin", _begin)
    Base.metadata.create_all(engine)
    return engine


def empty_write_ahead_log(engine: Engine) -> None:
    """Move the write-ahead log into the file and cut it to nothing: until then it holds what was overwritten."""
    connection = engine.raw_connection()
    try:
        connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.close()


def _set_up(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    # sqlite3 must not begin transactions by itself: `_begin` does, and takes the write lock at once.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
