"""docs/tokens.md keeps up with the code."""

from pathlib import Path

import pytest

from tokens.envelope import MAX_TEXT_BYTES, Refusal

PAGE = (Path(__file__).parents[2] / "docs" / "tokens.md").read_text()


@pytest.mark.parametrize("refusal", Refusal)
def test_every_private_reason_is_documented(refusal: Refusal) -> None:
    assert f"`{refusal}`" in PAGE


def test_the_longest_text_is_documented() -> None:
    assert f"{MAX_TEXT_BYTES:,} characters" in PAGE
