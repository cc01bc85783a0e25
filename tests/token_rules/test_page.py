"""docs/token_rules.md names tests that exist, and every test that claims to show a rule claims one that is there."""

import ast
import re
from pathlib import Path

from tests.processes import REPOSITORY

PAGE = REPOSITORY / "docs" / "token_rules.md"
ROW = re.compile(r"^\| TR(\d+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
CITED = re.compile(r"`(tests/[a-z0-9_/]+\.py)::(test_[a-z0-9_]+)`")
CLAIM = re.compile(r"_rule_(\d+)_")
APPLICABLE = {*range(1, 12), *range(13, 18), *range(19, 25)}


def rows() -> dict[int, list[tuple[str, str]]]:
    """Return the tests of each rule, by file and name."""
    return {int(number): CITED.findall(tests) for number, _, tests in ROW.findall(PAGE.read_text())}


def defined_in(path: Path) -> set[str]:
    """Return the names of the tests that a file defines."""
    functions = (node for node in ast.walk(ast.parse(path.read_text())))
    return {
        node.name
        for node in functions
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    }


def test_every_rule_that_applies_has_its_row_once_and_in_order() -> None:
    numbers = [int(number) for number, _, _ in ROW.findall(PAGE.read_text())]
    assert numbers == sorted(APPLICABLE)


def test_every_row_names_tests_and_all_of_them_exist() -> None:
    for number, cited in rows().items():
        assert cited, f"TR{number} is shown by nothing"
        missing = [f"{file}::{name}" for file, name in cited if name not in defined_in(REPOSITORY / file)]
        assert missing == [], f"TR{number} names tests that are not there"


def test_a_cited_test_that_names_a_rule_names_the_one_it_is_cited_for() -> None:
    for number, cited in rows().items():
        for _, name in cited:
            claimed = {int(claim) for claim in CLAIM.findall(name)}
            assert not claimed or number in claimed, f"{name} is cited for TR{number}"


def test_every_test_that_claims_a_rule_claims_one_of_the_page() -> None:
    claims = {
        int(claim)
        for path in (REPOSITORY / "tests").rglob("test_*.py")
        for name in defined_in(path)
        for claim in CLAIM.findall(name)
    }
    assert claims <= set(rows())
