"""Whether an answer is what a device of its type may expect of what it just did. Pure."""

from dataclasses import dataclass
from enum import Enum

from loadtest.locust.jar import Taken
from loadtest.locust.visits import Step

NO_ANSWER = 0
_BUSY = frozenset({"overloaded", "auth_unavailable", "origin_unavailable"})  # the last is the breaker's before it


class Sign(Enum):
    """What an answer says of the device."""

    EXPECTED = "expected"
    BUSY = "busy"
    """Nobody could check the credentials in time, since too many sign in at once: to be asked again, later."""
    UNEXPECTED = "unexpected"
    SIGNED_OUT = "signed_out"
    """Unexpected as well: its session was ended, which it did not ask for."""
    SOMEBODY_ELSE = "somebody_else"
    """Unexpected as well, and the worst: the answer is for another user."""


@dataclass(slots=True, frozen=True)
class Answer:
    """An answer: its status, 0 if there was none; the stable reason of an error; for which customer, if it says so."""

    status: int
    reason: str = ""
    customer_id: int | None = None


def judge(
    step: Step, answer: Answer, taken: Taken, *, customer_id: int, high: bool, full: bool, legacy: bool = False
) -> Sign:
    """Return what to think of an answer.

    Args:
        step: what the device asked for.
        answer: what it was told.
        taken: what became of its cookies.
        customer_id: whom it signed in as.
        high: whether it keeps the whole pair.
        full: whether it holds all the cookies it keeps, after the answer.
        legacy: whether an origin in legacy mode answered, which tells nobody to sign in, but that more is needed.
    """
    if answer.customer_id is not None and answer.customer_id != customer_id:
        return Sign.SOMEBODY_ELSE
    if step is Step.SIGN_IN:
        if answer.status == 503 and answer.reason in _BUSY:
            return Sign.BUSY
        return Sign.EXPECTED if answer.status == 200 and full else Sign.UNEXPECTED
    if step is Step.SIGN_OUT:
        return Sign.EXPECTED if answer.status == 200 and taken.cleared else Sign.UNEXPECTED
    if step is Step.SIGNED_OUT:
        wanted = (403, "level_too_low") if legacy else (401, "authentication_required")
        return Sign.EXPECTED if (answer.status, answer.reason) == wanted and not taken.given else Sign.UNEXPECTED
    if taken.cleared or answer.status == 401:
        return Sign.SIGNED_OUT
    if step is Step.ACCOUNT and not high:
        return Sign.EXPECTED if (answer.status, answer.reason) == (403, "level_too_low") else Sign.UNEXPECTED
    return Sign.EXPECTED if answer.status == 200 else Sign.UNEXPECTED
