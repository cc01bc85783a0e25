"""The order of the chain, and what the documentation says of each filter."""

import re
from pathlib import Path

import pytest

import filters.inbound
import filters.outbound
from edge.contract.filters import InboundFilter, OnError, OutboundFilter
from filters.order import INBOUND, OUTBOUND

DOCS = Path(__file__).parents[2] / "docs"
FILTERS: list[type[InboundFilter] | type[OutboundFilter]] = [each for each, _ in INBOUND + OUTBOUND]


def sections() -> dict[str, str]:
    """Return the sections of docs/filters.md by heading, in order."""
    text = (DOCS / "filters.md").read_text()
    parts = re.split(r"^## (.+)\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_the_chain_runs_in_this_order() -> None:
    assert [each.id for each, _ in INBOUND] == ["hygiene", "cookie", "renew", "device", "authorise", "passport"]
    assert [each.id for each, _ in OUTBOUND] == ["passport_actions", "tokens", "scrub"]


def test_f1_identity_headers_are_stripped_before_anything_can_fail_and_scrubbed_after_everything() -> None:
    assert INBOUND[0][0].id == "hygiene"
    assert OUTBOUND[-1][0].id == "scrub"


def test_every_place_in_the_order_has_one_sentence_that_says_why() -> None:
    for _, why in INBOUND + OUTBOUND:
        assert re.fullmatch(r"[A-Z][^.]*\.", why), why


def test_every_filter_in_the_folders_is_in_the_order_once() -> None:
    for package, order in ((filters.inbound, INBOUND), (filters.outbound, OUTBOUND)):
        names = sorted(path.stem for path in Path(package.__path__[0]).glob("*.py") if path.stem != "__init__")
        assert sorted(each.id for each, _ in order) == names


@pytest.mark.parametrize("each", FILTERS, ids=lambda each: each.id)
def test_a_filters_id_is_the_name_of_its_file(each: type[InboundFilter] | type[OutboundFilter]) -> None:
    assert each.__module__.rpartition(".")[2] == each.id


@pytest.mark.parametrize("each", FILTERS, ids=lambda each: each.id)
def test_every_filter_fails_closed(each: type[InboundFilter] | type[OutboundFilter]) -> None:
    assert each.on_error is OnError.CLOSED


def test_docs_have_a_heading_for_each_filter_in_order() -> None:
    assert list(sections()) == [each.id for each in FILTERS]


@pytest.mark.parametrize("each", FILTERS, ids=lambda each: each.id)
def test_docs_tell_what_a_filter_declares(each: type[InboundFilter] | type[OutboundFilter]) -> None:
    section = sections()[each.id]
    assert f"- On error: {each.on_error}\n" in section
    declared = re.search(r"^- Deadline: ([0-9.]+) s, concurrency ([0-9]+)\b", section, re.MULTILINE)
    assert declared is not None
    assert (float(declared[1]), int(declared[2])) == (each.deadline_s, each.concurrency)
    assert re.search(r"^- Metrics: \S", section, re.MULTILINE)
