"""An address file holds a whole list or none: one bad entry spoils it."""

from pathlib import PurePath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.control.values import Address
from edge.upstream.discovery.address_text import MAX_BYTES, read_addresses

LINES, YAML, JSON = PurePath("api"), PurePath("api.yaml"), PurePath("api.json")
BOTH = (Address("10.0.0.1", 80), Address("::1", 8080))


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (LINES, "10.0.0.1:80\n[::1]:8080\n"),
        (LINES, "# two\n\n  [::1]:8080  # IPv6\r\n10.0.0.1:80\r\n10.0.0.1:80"),
        (YAML, '- 10.0.0.1:80\n- "[::1]:8080"\n'),
        (YAML, 'addresses:\n  - 10.0.0.1:80\n  - "[::1]:8080"\n'),
        (JSON, '["10.0.0.1:80", "[::1]:8080"]'),
        (JSON, '{"addresses": ["[::1]:8080", "10.0.0.1:80"]}'),
    ],
)
def test_every_form_gives_the_same_sorted_list(path: PurePath, text: str) -> None:
    assert read_addresses(path, text.encode()) == BOTH


@pytest.mark.parametrize(
    ("path", "text", "problem"),
    [
        (LINES, "", "has no address"),
        (LINES, "# nothing\n", "has no address"),
        (LINES, "10.0.0.1:80\n10.0.0.2\n", "line 2: must be HOST:PORT"),
        (LINES, "10.0.0.1:0\n", "line 1: must name a port of 1 to 65535"),
        (LINES, "10.0.0.1:80 10.0.0.2:80\n", "line 1: must be HOST:PORT"),
        (YAML, "", "has no address"),
        (YAML, "[]", "has no address"),
        (YAML, "- 10.0.0.1:80\n- 7\n", "line 2: must be HOST:PORT"),
        (YAML, "- 10.0.0.1:80\n- [10.0.0.2:80]\n", "line 2: must be HOST:PORT"),
        (YAML, "10.0.0.1:80", "must be a list"),
        (YAML, "addresses: 10.0.0.1:80", "must be a list"),
        (YAML, "adresses: []", "must have the key addresses"),
        (JSON, '["10.0.0.1:80"', "is not valid YAML"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(path: PurePath, text: str, problem: str) -> None:
    found = read_addresses(path, text.encode())
    assert isinstance(found, str)
    assert problem in found


def test_a_file_that_is_too_long_is_refused() -> None:
    assert read_addresses(LINES, b"#" * (MAX_BYTES + 1)) == f"is longer than {MAX_BYTES} bytes"


@given(st.binary(max_size=200), st.sampled_from([LINES, YAML, JSON]))
def test_any_bytes_are_a_list_or_a_problem(data: bytes, path: PurePath) -> None:
    found = read_addresses(path, data)
    assert len(found) > 0
    assert isinstance(found, str) or all(each.port for each in found)
