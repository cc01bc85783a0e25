"""The order of the chain, and what the documentation says of each filter."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path

import pytest

import filters.inbound
import filters.outbound
from edge.contract.filters import Filter, OnError
from filters.order import INBOUND, OUTBOUND

DOCS = Path(__file__).parents[2] / "docs"


@dataclass
class Declared:
    """What a filter's class declares."""

    module: str
    id: str
    on_error: OnError
    deadline_s: float
    concurrency: int


def declared(order: Iterable[tuple[type[Filter], str]]) -> list[Declared]:
    names = [field.name for field in fields(Declared)][1:]
    return [Declared(each.__module__, *(getattr(each, name) for name in names)) for each, _ in order]


FILTERS = declared(INBOUND + OUTBOUND)


def sections() -> dict[str, str]:
    """Return the sections of docs/filters.md by heading, in order."""
    text = (DOCS / "filters.md").read_text()
    parts = re.split(r"^## (.+)\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_the_chain_runs_in_this_order() -> None:
    assert [each.id for each in declared(INBOUND)] == [
        "hygiene",
        "rollout",
        "cookie",
        "renew",
        "device",
        "authorise",
        "passport",
    ]
    assert [each.id for each in declared(OUTBOUND)] == ["shadow", "passport_actions", "tokens", "scrub"]


def test_f1_identity_headers_are_stripped_before_anything_can_fail_and_scrubbed_after_everything() -> None:
    assert FILTERS[0].id == "hygiene"
    assert FILTERS[-1].id == "scrub"


def test_every_place_in_the_order_has_one_sentence_that_says_why() -> None:
    for _, why in INBOUND + OUTBOUND:
        assert re.fullmatch(r"[A-Z][^.]*\.", why), why


def test_every_filter_in_the_folders_is_in_the_order_once() -> None:
    for package, order in ((filters.inbound, INBOUND), (filters.outbound, OUTBOUND)):
        names = sorted(path.stem for path in Path(package.__path__[0]).glob("*.py") if path.stem != "__init__")
        assert sorted(each.id for each in declared(order)) == names


@pytest.mark.parametrize("each", FILTERS, ids=lambda each: each.id)
def test_a_filters_id_is_the_name_of_its_file(each: Declared) -> None:
    assert each.module.rpartition(".")[2] == each.id


@pytest.mark.parametrize("each", FILTERS, ids=lambda each: each.id)
def test_f1_every_filter_fails_closed_but_the_one_that_only_watches(each: Declared) -> None:
    assert each.on_error is (OnError.OPEN if each.id == "shadow" else OnError.CLOSED)


def test_docs_have_a_heading_for_each_filter_in_order() -> None:
    assert list(sections()) == [each.id for each in FILTERS]


@pytest.mark.parametrize("each", FILTERS, ids=lambda each: each.id)
def test_docs_tell_what_a_filter_declares(each: Declared) -> None:
    section = sections()[each.id]
    assert f"- On error: {each.on_error}\n" in section
    limits = re.search(r"^- Deadline: ([0-9.]+) s, concurrency ([0-9]+)\b", section, re.MULTILINE)
    assert limits is not None
    assert (float(limits[1]), int(limits[2])) == (each.deadline_s, each.concurrency)
    assert re.search(r"^- Metrics: \S", section, re.MULTILINE)
