"""The files with the edge's bearer tokens and its debug key: read by every worker, checked before any starts."""

from collections.abc import Iterator
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


def check_token_files(file: EdgeFile) -> Iterator[Problem]:
    """Check that the token files of edge.yaml are there and hold a token; reads them."""
    services, key_file = file.services, file.debug.key_file
    yield from _problems(("services", "kms", "token_file"), services.kms.token_file)
    yield from _problems(("services", "cookie", "token_file"), services.cookie.token_file)
    if key_file is not None:
        yield from _problems(("debug", "key_file"), key_file, what="a key", hint="", shortest=_SHORTEST_KEY)
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
