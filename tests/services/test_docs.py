"""The docs pages of the services name what there is, no more and no less."""

import ast
import re

import pytest
from pydantic import BaseModel

from services.cookie.config import CookieConfig, Names, RescheduledRenewals, Revocations, SessionUpdates
from services.kit.breaker import BreakerConfig
from services.kit.database import DatabaseConfig
from services.kit.keys import KeysConfig
from services.kms.access import STATUS
from services.kms.config import AwsKms, Identity, KmsConfig, Rotation
from services.kms.states import NEXT, State
from tests.processes import REPOSITORY

KEYS = (REPOSITORY / "docs" / "keys.md").read_text()
SERVICES = (REPOSITORY / "docs" / "services.md").read_text()

OF_COOKIE = {
    "names",
    "revocations",
    "rescheduled_renewals",
    "session_updates",
    "keys",
    "database",
    "database_breaker",
}


@pytest.mark.parametrize(
    ("page", "model", "prefix", "nested"),
    [
        (KEYS, KmsConfig, "", {"identities", "database", "rotation", "aws_kms"}),
        (KEYS, DatabaseConfig, "database.", set()),
        (KEYS, Identity, "identities.<name>.", set()),
        (KEYS, Rotation, "rotation.<key set>.", set()),
        (KEYS, AwsKms, "aws_kms.", set()),
        (SERVICES, CookieConfig, "", OF_COOKIE | {"subscriber_breaker"}),
        (SERVICES, BreakerConfig, "subscriber_breaker.", set()),
        (SERVICES, Revocations, "revocations.", set()),
        (SERVICES, RescheduledRenewals, "rescheduled_renewals.", set()),
        (SERVICES, SessionUpdates, "session_updates.", set()),
        (SERVICES, KeysConfig, "keys.", set()),
        (SERVICES, DatabaseConfig, "database.", set()),
        (SERVICES, Names, "names.", set()),
    ],
)
def test_every_config_key_is_documented_with_its_default(
    page: str, model: type[BaseModel], prefix: str, nested: set[str]
) -> None:
    rows = [line.split("|")[1:4] for line in page.splitlines() if line.startswith("|")]
    defaults = {key: row[2] for row in rows for key in re.findall(r"`([^`]+)`", row[0])}
    for name, field in model.model_fields.items():
        if name not in nested:
            said = defaults[prefix + name]
            default = "required" if field.is_required() else str(field.default).lower()
            assert default in said.lower(), name


def test_every_reason_of_the_key_service_is_documented_with_its_status() -> None:
    rows = [line.split("|") for line in KEYS.split("| reason |")[1].splitlines() if line.startswith("| `")]
    documented = {reason: int(row[2]) for row in rows for reason in re.findall(r"`([a-z_]+)`", row[1])}
    assert documented == {outcome.value: status for outcome, status in STATUS.items()}


def test_the_table_of_states_is_the_code_s() -> None:
    table = KEYS.split("| state |")[1].split("\n\n")[0]
    rows = [line.split("|") for line in table.splitlines() if line.startswith("| `")]
    documented = {row[1].strip(" `"): set(re.findall(r"[A-Z_]{6,}", row[4])) for row in rows}
    assert documented == {state.value: {each.value for each in NEXT[state]} for state in State}


def test_sealed_material_is_opened_in_the_store_only_and_leaves_it_towards_the_answer_only() -> None:
    users: dict[str, set[str]] = {"Sealer": set(), "OpenVersion": set()}
    for path in (REPOSITORY / "services").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                for name in {alias.name for alias in node.names} & set(users):
                    users[name].add(path.relative_to(REPOSITORY).as_posix())
    assert users == {
        "Sealer": {"services/kms/store.py", "services/kms/__main__.py"},
        "OpenVersion": {"services/kms/answers.py"},
    }
