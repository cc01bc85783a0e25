"""A copy of the shipped configuration that a test may spoil."""

import shutil
from pathlib import Path

import pytest

SHIPPED = Path(__file__).parents[2] / "config"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Return a directory with a copy of every shipped config file."""
    copy = tmp_path / "config"
    copy.mkdir()
    for path in SHIPPED.glob("*.yaml"):
        shutil.copy(path, copy)
    return copy
