"""What the commands of `edge` have in common: where the configuration is, and how it is loaded."""

from pathlib import Path
from typing import Annotated, Final

import typer

from edge.control.errors import ConfigErrors
from edge.control.load import load_config
from edge.control.snapshot import Snapshot

EXIT_BAD_CONFIG: Final = 2
CONFIG: Final = Path("config")
VAR: Final = Path("var")

ConfigOption = Annotated[Path, typer.Option("--config", metavar="DIR", help="Directory of the configuration files.")]
VarOption = Annotated[Path, typer.Option("--var", metavar="DIR", help="Directory of secrets and state.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override one value; may be repeated.")
]


def load_snapshot(config: Path, var: Path, overrides: list[str] | None, *, token_files: bool = False) -> Snapshot:
    """Load the configuration, or say what is wrong with it and exit."""
    loaded = load_config(config, overrides or (), var=var, token_files=token_files)
    if isinstance(loaded, ConfigErrors):
        typer.echo(str(loaded), err=True)
        raise typer.Exit(EXIT_BAD_CONFIG)
    return loaded
