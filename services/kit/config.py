"""Reading a service's YAML file into its frozen model."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import pydantic
import yaml

from services.kit.process import StartError

ModelT = TypeVar("ModelT", bound=pydantic.BaseModel)


class ConfigError(StartError):
    """A config file is refused. `problems` are all that is wrong with it, each with its place."""

    def __init__(self, path: Path, problems: Sequence[str]) -> None:
        super().__init__(f"{path}: {'; '.join(problems)}")
        self.problems = problems


def read_config(path: Path, model: type[ModelT]) -> ModelT:
    """Return the file as `model`; ConfigError names the file, each wrong place, and why."""
    try:
        return model.model_validate(yaml.safe_load(path.read_bytes()))
    except OSError as error:
        raise ConfigError(path, [f"cannot be read: {error.strerror}"]) from None
    except pydantic.ValidationError as error:
        raise ConfigError(path, [f"{_place(each['loc'])}: {each['msg']}" for each in error.errors()]) from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that is none
        raise ConfigError(path, [f"is not YAML: {' '.join(str(error).split())}"]) from None


def check_config(path: Path, model: type[pydantic.BaseModel]) -> int:
    """Say whether the file is a `model`, and if not, why, a line for each place; return the exit code, 0 or 1."""
    try:
        read_config(path, model)
    except ConfigError as error:
        sys.stderr.writelines(f"{path}: {problem}\n" for problem in error.problems)
        return 1
    sys.stdout.write(f"{path} is valid\n")
    return 0


def _place(location: tuple[int | str, ...]) -> str:
    text = ".".join(map(str, location)) or "the whole file"
    # A key is the file's own text: it must neither end the line nor act on a terminal.
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")
