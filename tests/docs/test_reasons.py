"""docs/reasons.md and the enum say the same."""

import re
from pathlib import Path

from edge.contract.reasons import Reason

PAGE = Path(__file__).parents[2] / "docs" / "reasons.md"
ROW = re.compile(r"^\| `([a-z_]+)` \| (\d{3}|none) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)


def rows() -> list[tuple[str, str, str, str]]:
    return ROW.findall(PAGE.read_text())


def test_every_reason_stands_on_the_page_once_and_in_order() -> None:
    assert [row[0] for row in rows()] == [reason.value for reason in Reason]


def test_the_page_repeats_each_sentence_as_the_error_page_has_it() -> None:
    assert [row[2] for row in rows()] == [reason.sentence for reason in Reason]


def test_every_answer_has_a_status() -> None:
    ends = [Reason.READER_TOO_SLOW, Reason.CLIENT_GONE, Reason.UPGRADE_IDLE, Reason.UPGRADE_EXPIRED]
    assert [row[0] for row in rows() if row[1] == "none"] == ends


def test_the_page_lists_every_detail_that_targets_have() -> None:
    source = (PAGE.parents[1] / "edge" / "http1" / "target.py").read_text()
    details = set(re.findall(r'\("([a-z_0-9]+)", re\.compile', source)) | set(
        re.findall(r'"([a-z]+_[a-z_0-9]+)"', source)
    )
    text = PAGE.read_text()
    assert {detail for detail in details if f"`{detail}`" not in text} == set()
