"""docs/threats.md has a row for each threat, and names tests that exist and say in their names what they show."""

import re

from tests.processes import REPOSITORY
from tests.token_rules.test_page import CITED, defined_in

PAGE = (REPOSITORY / "docs" / "threats.md").read_text()
ROW = re.compile(r"^\| ([HPSCRDFX]\d+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
NUMBERED = {"H": 19, "P": 14, "S": 12, "C": 13, "R": 11, "D": 10, "F": 8, "X": 11}
EXPECTED = [f"{group}{number}" for group, last in NUMBERED.items() for number in range(1, last + 1)]


def claims(name: str) -> set[str]:
    """Return the threats that a test's name claims: `_s1_`, or `_p1_to_p8_`."""
    found = {claim.upper() for claim in re.findall(r"_(?=([hpscrdfx]\d{1,2})_)", name)}
    for group, first, last in re.findall(r"_([hps])(\d+)_to_\1(\d+)_", name):
        found |= {f"{group.upper()}{number}" for number in range(int(first), int(last) + 1)}
    return found


def test_every_threat_has_its_row_once_and_in_order() -> None:
    assert [threat for threat, _, _ in ROW.findall(PAGE)] == EXPECTED


def test_every_row_names_tests_that_exist_and_say_so() -> None:
    for threat, _, cited in ROW.findall(PAGE):
        tests = CITED.findall(cited)
        assert tests, f"{threat} is tried by nothing"
        for file, name in tests:
            assert name in defined_in(REPOSITORY / file), f"{threat} names {file}::{name}, which is not there"
            says_so = threat in claims(name) or name.startswith(f"test_{threat[0].lower()}_")
            assert says_so, f"{threat} names {name}, which does not say so"
