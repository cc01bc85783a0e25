"""YAML as it is read here: YAML 1.2's plain values, with lines, and nothing that could surprise."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.control.yaml_text import Document, YamlProblem, read_yaml


def value_of(text: str) -> object:
    found = read_yaml(text)
    assert isinstance(found, Document), found
    return found.value


def problem_of(text: str) -> YamlProblem:
    found = read_yaml(text)
    assert isinstance(found, YamlProblem), found.value
    return found


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("off", "off"), ("yes", "yes"), ("true", True), ("False", False), ("~", None), ("", None), ("null", None),
        ("010", 10), ("0x10", "0x10"), ("1_000", "1_000"), ("1:30", "1:30"), ("-5", -5), ("1.5", 1.5), ("1e3", 1000.0),
        ("2020-01-01", "2020-01-01"), (".inf", ".inf"), ("<<", "<<"), ("'5'", "5"), ("[1, {a: b}]", [1, {"a": "b"}]),
    ],
)  # fmt: skip
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    found = value_of(text)
    assert found == value
    assert type(found) is type(value)


def test_every_key_and_item_has_its_line() -> None:
    found = read_yaml("a: 1\nb:\n  - x\n  - c: 2\n    d: 3\n")
    assert isinstance(found, Document)
    assert [found.line(place) for place in (("a",), ("b",), ("b", 1), ("b", 1, "d"))] == [1, 2, 4, 5]
    assert found.line(("b", 1, "missing", 7)) == 4


def test_a_duplicate_key_is_refused_with_both_lines() -> None:
    found = problem_of("a:\n  b: 1\n  c: 2\n  b: 3\n")
    assert (found.line, found.place, found.message) == (
        4,
        ("a", "b"),
        "is there twice, first on line 2: keep one of them",
    )


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("a: &x 1\nb: *x", 2, "aliases"),
        ("a: !!python/object/apply:os.system [x]", 1, "tag"),
        ("a:\n  !!set {x}", 2, "tag"),
        ("a: !!int x", 1, "tag"),
        ("a: !own x", 1, "tag"),
        ("? [a]\n: 1", 1, "key"),
        ("x: 1\ntrue: 1", 2, "key"),
        ("1.5: 1", 1, "key"),
        ("a: 1\n--- \nb: 2", 2, "single document"),
        ("a: 1\nb: \x07", 2, "does not allow"),
        ("a: 'x", 1, "quoted scalar"),
        ("a: b: c", 1, "not allowed here"),
        ("a: [1,\nb: 2", 2, "not valid YAML"),
    ],
)
def test_what_is_not_plain_is_refused_on_its_line(text: str, line: int, says: str) -> None:
    found = problem_of(text)
    assert says in found.message
    assert found.line == line


def test_d5_nothing_grows_by_aliases_or_depth() -> None:
    bomb = "a: &a [x]\nb: &b [*a, *a]\nc: [*b, *b]\n"
    assert problem_of(bomb).line == 2
    assert "nested deeper" in problem_of("[" * 100_000).message
    assert "nested deeper" in problem_of("- " * 40 + "x").message


@given(st.text("abc{}[]:-&*!|>'\"%@`#,?<~ \n\t0159.", max_size=60) | st.text(max_size=30))
def test_no_text_raises(text: str) -> None:
    assert isinstance(read_yaml(text), Document | YamlProblem)
