"""What Alembic does for `Database.upgrade`: in a module of its own, since a start that needs none is quicker."""

from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, inspect

from services.kit.database import VERSION_TABLE, SchemaError

_ENVIRONMENT: Final = Path(__file__).parent / "migrations"


def migrate(connection: Connection, migrations: Path, adopt: str, to: str) -> None:
    """Bring the schema to `to` in the transaction that has begun; SchemaError when it is of a version not known.

    A database with the table `adopt` but no record of its schema has the first one.
    """
    config = Config()
    config.attributes["connection"] = connection
    for option, path in (("script_location", _ENVIRONMENT), ("version_locations", migrations)):
        config.set_main_option(option, str(path).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    tables = inspect(connection).get_table_names()
    try:
        if adopt in tables and VERSION_TABLE not in tables:
            command.stamp(config, ScriptDirectory.from_config(config).get_base() or "base")
        command.upgrade(config, to)
    except CommandError as error:
        raise SchemaError(str(error)) from None
