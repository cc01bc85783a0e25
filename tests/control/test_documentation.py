"""docs/configuration.md holds every key with its default and meaning, as the schema says them."""

from pathlib import Path

import pytest

from edge.control.edge_file import Filters
from edge.control.models import MODELS
from edge.control.reference import reference_table

DOCS = Path(__file__).parents[2] / "docs" / "configuration.md"


@pytest.mark.parametrize("name", MODELS)
def test_the_table_of_each_file_is_the_schemas_own(name: str) -> None:
    section = DOCS.read_text().split(f"\n## {name}.yaml\n")[1].split("\n## ")[0]
    table = reference_table(MODELS[name])
    assert f"\n{table}\n" in section, f"put this into docs/configuration.md:\n{table}"


def test_every_filter_id_is_named() -> None:
    text = DOCS.read_text()
    assert all(f"`{name}`" in text for name in Filters.model_fields)


def test_every_key_says_what_it_means_and_none_breaks_the_table() -> None:
    for model in MODELS.values():
        for row in reference_table(model).splitlines()[2:]:
            cells = row.split(" | ")
            assert len(cells) == 3, row
            assert cells[2] != " |", row
