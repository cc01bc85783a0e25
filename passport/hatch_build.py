"""Lays the library and its schema out in the wheel: neither lies in a folder of its own here, as a wheel has it."""

from itertools import chain
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_SCHEMA = ("edgepb/__init__.py", "edgepb/py.typed", "edgepb/kms", "edgepb/passport")


class LayOutHook(BuildHookInterface[Any]):
    """Adds `passport` and what it needs of `edgepb`."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name the files. Raises RuntimeError for an editable install, which would find none."""
        if version == "editable":
            raise RuntimeError("the library cannot be installed editable: put the folder above it on the path instead")
        here = Path(self.root)
        library = (file for file in chain(here.glob("*.py"), here.glob("py.typed")) if file.name != Path(__file__).name)
        included = {str(file): f"passport/{file.name}" for file in library}
        included |= {str(here.parent / "proto" / path): path for path in _SCHEMA}
        build_data["force_include"].update(included)
