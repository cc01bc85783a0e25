"""config/grants.yaml grants the auth service what it sends, and nothing else."""

import re

import yaml

from tests.processes import REPOSITORY


def test_the_auth_service_is_granted_exactly_the_actions_that_it_sends() -> None:
    grants = yaml.safe_load((REPOSITORY / "config/grants.yaml").read_text())["grants"]
    sources = (REPOSITORY / "origins_stub/auth").glob("*.py")
    sent = {name for source in sources for name in re.findall(r"UserAction\.([A-Z_]+)", source.read_text())}
    assert set(grants) == {"passport-auth"}
    assert grants["passport-auth"]["parts"] == ["user"]
    assert sorted(grants["passport-auth"]["actions"]) == sorted(sent)
