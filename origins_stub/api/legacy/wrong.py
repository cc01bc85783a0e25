"""Reporting a wrong identity in a share of the answers, on purpose: for those who want to see shadow find it.

Each answer says in `X-Stub-Report` what its report is: `true`, or the difference that shadow must find.
"""

from dataclasses import replace
from random import Random
from typing import Final

from origins_stub.api.asker import Asker
from passport import Level

REPORT_HEADER: Final = "X-Stub-Report"
TRUE: Final = "true"
_SOMEBODY: Final = 1  # who has no account here
_OTHER_DEVICE: Final = "STUB-WRONG-DEVICE"


class WrongIdentities:
    """Chooses answers, a `share` from 0 to 1 of them, and who is said to have asked; `seed` makes it repeatable."""

    def __init__(self, share: float, seed: int) -> None:
        self._share = share
        self._chance = Random(seed)  # noqa: S311 - repeatable, not secret

    def choose(self, asker: Asker, *, comparable: bool) -> tuple[str, Asker]:
        """Return the difference and whom to report.

        What is not `comparable`, since the token came expired and the edge would first have had it renewed, stays true.
        """
        if not comparable or self._chance.random() >= self._share:
            return TRUE, asker
        wrong = _wrong(asker)
        difference = self._chance.choice(sorted(wrong))
        return difference, wrong[difference]


def _wrong(asker: Asker) -> dict[str, Asker]:
    """Return who else may be reported, by the difference that this is to whoever compares: docs/rollout.md."""
    if asker.customer_id is None:
        return {"only_old": replace(asker, customer_id=_SOMEBODY, level=Level.LOW)}
    other_level = Level.HIGH if asker.level == Level.LOW else Level.LOW
    differences = {
        "only_new": replace(asker, customer_id=None),
        "other_level": replace(asker, level=other_level),
        "other_user": replace(asker, customer_id=asker.customer_id + 1),
    }
    if asker.esn:
        differences["other_device"] = replace(asker, esn=_OTHER_DEVICE)
    return differences
