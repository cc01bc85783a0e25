"""Reading a service's YAML file into its frozen model."""

from pathlib import Path
from typing import TypeVar

import pydantic
import yaml

from services.kit.process import StartError

ModelT = TypeVar("ModelT", bound=pydantic.BaseModel)


def read_config(path: Path, model: type[ModelT]) -> ModelT:
    """Return the file as `model`; StartError names the file, each wrong place, and why."""
    try:
        return model.model_validate(yaml.safe_load(path.read_bytes()))
    except OSError as error:
        raise StartError(f"the config file {path} cannot be read: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise StartError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    except pydantic.ValidationError as error:
        wrong = (f"{_place(problem['loc'])}: {problem['msg']}" for problem in error.errors())
        raise StartError(f"{path}: {'; '.join(wrong)}") from None


def _place(location: tuple[int | str, ...]) -> str:
    return ".".join(map(str, location)) or "the whole file"
