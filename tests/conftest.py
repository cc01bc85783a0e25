"""Two depths of fuzzing: quick with every run, deep with `make fuzz`. And in which order, and with what around them."""

import os

import pytest
from hypothesis import settings

settings.register_profile("quick", deadline=None)
settings.register_profile("deep", max_examples=10_000, deadline=None)
settings.load_profile("quick")

# No test trusts the authorities of the machine it runs on, and each process would read all of them: 50 ms.
os.environ["SSL_CERT_FILE"] = os.devnull


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files with slow tests first, lest at the end of a run one core waits for another to be done with one."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
