"""What is wrong with a configuration: where, and what to do about it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

Place: TypeAlias = tuple[str | int, ...]


@dataclass(slots=True, frozen=True, order=True)
class ConfigError:
    """One thing that is wrong.

    `file` is a path, or `--set KEY` for an override. `line` counts from 1; 0 when it is not known. `place` is the key
    as it would be written in an override, such as `routes[2].auth.user`; empty for the file as a whole.
    """

    file: str
    line: int
    place: str
    message: str

    def __str__(self) -> str:
        """Write it on one line, with control characters escaped."""
        where = f"{self.file}:{self.line}" if self.line else self.file
        parts = (where, self.place, self.message) if self.place else (where, self.message)
        return ": ".join(part.encode("unicode_escape").decode() if not part.isprintable() else part for part in parts)


@dataclass(slots=True, frozen=True)
class ConfigErrors:
    """Why a configuration was not loaded; never empty."""

    errors: tuple[ConfigError, ...]

    def __str__(self) -> str:
        return render_errors(self)


def render_errors(errors: ConfigErrors | Iterable[ConfigError]) -> str:
    """Return the errors as text: one line each, by file and line, then how many there are."""
    listed = sorted(errors.errors if isinstance(errors, ConfigErrors) else errors)
    count = "1 error" if len(listed) == 1 else f"{len(listed)} errors"
    return "\n".join([*map(str, listed), f"{count} in the configuration."])


def place_text(place: Place) -> str:
    """Write a key path as an override would: `routes[2].auth.user`."""
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
