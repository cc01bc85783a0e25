"""Who may do what: decisions as values, and what the audit log says about each."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from services.kms.config import KmsConfig


class Action(StrEnum):
    """What a caller asked for."""

    GET_KEY_SETS = "get_key_sets"
    LIST_VERSIONS = "list_versions"
    ADD_VERSION = "add_version"
    MOVE_VERSION = "move_version"
    READ_AUDIT = "read_audit"
    CHECK_AUDIT = "check_audit"


class Outcome(StrEnum):
    """How it ended: a stable id, in the audit log and in the answer's `reason`."""

    GRANTED = "granted"
    UNKNOWN_IDENTITY = "unknown_identity"
    PURPOSE_NOT_GRANTED = "purpose_not_granted"
    NOT_AN_OPERATOR = "not_an_operator"
    BAD_REQUEST = "bad_request"
    NO_SUCH_KEY_SET = "no_such_key_set"
    NO_SUCH_KEY = "no_such_key"
    ILLEGAL_MOVE = "illegal_move"
    NOT_DISTRIBUTED = "not_distributed"
    IN_USE = "in_use"
    AUDIT_BROKEN = "audit_broken"


STATUS = {
    Outcome.GRANTED: 200,
    Outcome.UNKNOWN_IDENTITY: 401,
    Outcome.PURPOSE_NOT_GRANTED: 403,
    Outcome.NOT_AN_OPERATOR: 403,
    Outcome.BAD_REQUEST: 400,
    Outcome.NO_SUCH_KEY_SET: 404,
    Outcome.NO_SUCH_KEY: 404,
    Outcome.ILLEGAL_MOVE: 409,
    Outcome.NOT_DISTRIBUTED: 409,
    Outcome.IN_USE: 409,
    Outcome.AUDIT_BROKEN: 200,
}


@dataclass(slots=True, frozen=True)
class Caller:
    """Who did it. `identity` is empty when it is unknown, in parentheses when it is this service itself."""

    identity: str
    peer: str

    def access(self, at: float, action: Action, subject: str, outcome: Outcome) -> "Access":
        """Return what the audit log says of it."""
        return Access(at, self.identity, self.peer, action, subject, outcome)


@dataclass(slots=True, frozen=True)
class Access:
    """One row of the audit log. `at` is epoch seconds; `subject` names purposes or a key id, never material.

    `action` and `outcome` are an Action and an Outcome, unless the row was changed.
    """

    at: float
    identity: str
    peer: str
    action: str
    subject: str
    outcome: str


def may_fetch(config: KmsConfig, identity: str, purposes: Sequence[str]) -> Outcome:
    """Decide whether `identity` gets all of `purposes`: one that is not granted refuses the whole request."""
    if not purposes or len(set(purposes)) != len(purposes):
        return Outcome.BAD_REQUEST
    granted = config.identities[identity].grants
    return Outcome.GRANTED if set(purposes) <= set(granted) else Outcome.PURPOSE_NOT_GRANTED


def may_operate(config: KmsConfig, identity: str) -> Outcome:
    """Decide whether `identity` may list and move versions, and read the audit log."""
    return Outcome.GRANTED if config.identities[identity].operator else Outcome.NOT_AN_OPERATOR
