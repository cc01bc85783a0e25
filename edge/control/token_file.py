"""The files with the edge's bearer tokens: read by every process that calls a service, checked before any starts."""

from collections.abc import Iterator
from pathlib import Path

from edge.control.checks import Problem
from edge.control.edge_file import EdgeFile


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
    for name, path in (("kms", file.services.kms.token_file), ("cookie", file.services.cookie.token_file)):
        problem = _problem(path)
        if problem:
            yield ("services", name, "token_file"), problem


def _problem(path: Path) -> str:
    try:
        read_token(path)
    except FileNotFoundError:
        return f"{path} is not there: put the edge's token there; `edge up` makes secrets/edge.token in --var"
    except OSError as error:
        return f"{path} cannot be read ({error.strerror}): let the edge's user read it, or name another file"
    except ValueError as error:
        return f"{error}: write the edge's token into it"
    return ""
