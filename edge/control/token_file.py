"""The files with the edge's bearer tokens and its debug key: read by every worker, checked before any starts.

What they held then is handed down to the workers: one that takes another's place must not fail for a file that went.
"""

import contextlib
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from edge.control.checks import Problem
from edge.control.edge_file import EdgeFile
from edge.control.errors import Place

_SHORTEST_KEY: Final = 16


def read_token(path: Path) -> str:
    """Return the bearer token in a file: one line of printable ASCII without blanks.

    Raises OSError, and ValueError when the file holds no such line; neither says what is in it.
    """
    try:
        token = path.read_bytes().strip().decode("ascii")
    except UnicodeDecodeError:
        token = ""
    if not token or not token.isprintable() or " " in token:
        raise ValueError(f"{path} holds no token: one line of printable ASCII without blanks is expected")
    return token


class HeldTokens:
    """What token files held when the configuration was accepted, by path. Shows no token."""

    __slots__ = ("_tokens",)

    def __init__(self, tokens: Mapping[str, str] | None = None) -> None:
        self._tokens = dict(tokens or {})

    def get(self, path: Path) -> str | None:
        """Return what a file held, None where that is not known."""
        return self._tokens.get(str(path))

    def for_a_worker(self) -> Mapping[str, str]:
        """Return all of them, for the channel to a worker and nothing else."""
        return dict(self._tokens)

    def __repr__(self) -> str:
        return f"HeldTokens({', '.join(self._tokens)})"


def held_tokens(file: EdgeFile) -> HeldTokens:
    """Return what the token files hold that a worker cannot start without; reads them."""
    services, tokens = file.services, {}
    for path in (services.kms.token_file, services.cookie.token_file, services.renewals.password_file):
        if path is not None:
            with contextlib.suppress(OSError, ValueError):
                tokens[str(path)] = read_token(path)
    return HeldTokens(tokens)


def check_token_files(file: EdgeFile) -> Iterator[Problem]:
    """Check that the token files of edge.yaml are there and hold a token; reads them."""
    services, key_file = file.services, file.debug.key_file
    yield from _problems(("services", "kms", "token_file"), services.kms.token_file)
    yield from _problems(("services", "cookie", "token_file"), services.cookie.token_file)
    if key_file is not None:
        yield from _problems(("debug", "key_file"), key_file, what="a key", hint="", shortest=_SHORTEST_KEY)
    for name, path in file.admin.operators.items():
        yield from _problems(("admin", "operators", name), path, what="a token", hint="", shortest=_SHORTEST_KEY)
    if services.renewals.redis_url is not None and find_spec("redis") is None:
        yield ("services", "renewals", "redis_url"), "needs the client of Redis: install edge-passport[redis]"
    if services.renewals.password_file is not None:
        place = ("services", "renewals", "password_file")
        yield from _problems(place, services.renewals.password_file, what="the password of Redis", hint="")


def _problems(
    place: Place,
    path: Path,
    what: str = "the edge's token",
    hint: str = "; `edge up` makes secrets/edge.token in --var",
    shortest: int = 1,
) -> Iterator[Problem]:
    try:
        if len(read_token(path)) < shortest:
            yield place, f"{path} holds less than {shortest} characters, which can be guessed: write {what} into it"
    except FileNotFoundError:
        yield place, f"{path} is not there: put {what} there{hint}"
    except OSError as error:
        yield place, f"{path} cannot be read ({error.strerror}): let the edge's user read it, or name another file"
    except ValueError as error:
        yield place, f"{error}: write {what} into it"
