"""`X-Origin-Identity`: who a legacy origin says is asking, read strictly; and how the edge differs from that.

    v=1, customer=1001, esn="NFCDCH-02-A", level=high

Every part but the first may be left out, none may be moved, doubled or spelled otherwise: docs/rollout.md.
"""

import re
from collections.abc import Sequence
from typing import Final

from edge.contract.identity import Level, Peeked, Reported
from edge.contract.rollout import Comparison

HEADER: Final = b"x-origin-identity"
_MAX_ID: Final = 2**63 - 1
_FORM: Final = re.compile(
    rb'v=1(?:, customer=([1-9][0-9]{0,18}))?(?:, esn="([ !#-\[\]-~]{0,256})")?(?:, level=(low|high|highest))?'
)
_LEVELS: Final = {b"low": Level.LOW, b"high": Level.HIGH, b"highest": Level.HIGHEST}


def read_origin_identity(values: Sequence[bytes]) -> Reported | None:
    """Return what the one value of the header says, None when it is not exactly of that form. Takes any bytes."""
    form = _FORM.fullmatch(values[0]) if len(values) == 1 else None
    if form is None:
        return None
    customer, esn, level = form.groups()
    customer_id = None if customer is None else int(customer)
    if customer_id is not None and customer_id > _MAX_ID:
        return None
    return Reported(
        customer_id, None if esn is None else esn.decode("ascii"), None if level is None else _LEVELS[level]
    )


def compare(peeked: Peeked, reported: Reported) -> Comparison:
    """Return the first difference that there is: of users, of devices, of levels."""
    user, device = peeked.user, peeked.device
    result = _compared(None if user is None else user.customer_id, reported.customer_id, Comparison.OTHER_USER)
    if result is Comparison.SAME and reported.esn is not None:
        result = _compared(None if device is None else device.esn, reported.esn or None, Comparison.OTHER_DEVICE)
    if result is Comparison.SAME and user is not None and reported.level not in (None, user.level):
        return Comparison.OTHER_LEVEL
    return result


def _compared(new: int | str | None, old: int | str | None, other: Comparison) -> Comparison:
    if new == old:
        return Comparison.SAME
    if new is None:
        return Comparison.ONLY_OLD
    return Comparison.ONLY_NEW if old is None else other
