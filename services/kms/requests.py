"""What callers ask for, read strictly: whatever is not just what it should be is nothing."""

import re
from dataclasses import dataclass
from typing import Final

from aiohttp import web
from edgepb.kms.v1 import kms_pb2

from services.kms.audit import Place
from services.kms.holders import NOTHING_REPORTED, Report, Use
from services.kms.states import State

_MAX_PURPOSES: Final = 32
_PURPOSE: Final = re.compile(r"[!-+\--~]{1,63}")  # printable, without the comma that the log joins them with
_HOLDER: Final = re.compile(r"[A-Za-z0-9._:-]{0,64}")
_MAX_USES: Final = 256
_KEY_ID: Final = re.compile(r"[0-9a-f]{8}")
_PLACE: Final = re.compile(r"(\d{1,18}):((?:[0-9a-f]{64})?)", re.ASCII)
_NUMBER: Final = re.compile(r"\d{1,18}", re.ASCII)
_MAX_ENTRIES: Final = 1_000


@dataclass(slots=True, frozen=True)
class KeyRequest:
    """A request for keys; without purposes when it is none."""

    purposes: tuple[str, ...] = ()
    report: Report = NOTHING_REPORTED


@dataclass(slots=True, frozen=True)
class Move:
    """An operator's wish to move a version."""

    key_id: int
    state: State
    force: bool


def key_request(message: kms_pb2.GetKeySetsRequest | None) -> KeyRequest:
    """Return what a message asks for and reports."""
    if message is None or len(message.purposes) > _MAX_PURPOSES or len(message.uses) > _MAX_USES:
        return KeyRequest()
    if not all(map(_PURPOSE.fullmatch, message.purposes)) or not _HOLDER.fullmatch(message.holder):
        return KeyRequest()
    uses = {each.key_id: Use(each.last_used, min(each.count, 2**32)) for each in message.uses}
    return KeyRequest(tuple(message.purposes), Report(message.holder, message.revision_held, uses))


async def move_request(request: web.Request) -> Move | None:
    """Return which version is to move where, or None."""
    key_id = request.match_info["key_id"]
    try:
        body = await request.json()
        state, force = State(body["state"]), body.get("force", False)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    if not _KEY_ID.fullmatch(key_id) or not isinstance(force, bool):
        return None
    return Move(int(key_id, 16), state, force)


def audit_page(request: web.Request) -> tuple[int, int] | None:
    """Return before which row, and how many: `before` and `limit` of the query, the newest 100 without them."""
    before, limit = request.query.get("before", "9" * 18), request.query.get("limit", "100")
    if not _NUMBER.fullmatch(before) or not _NUMBER.fullmatch(limit) or not 1 <= int(limit) <= _MAX_ENTRIES:
        return None
    return int(before), int(limit)


def audit_place(request: web.Request) -> Place | None:
    """Return `after` of the query, `ID:CODE`, None without; raises ValueError when it is no such thing."""
    text = request.query.get("after")
    if text is None:
        return None
    found = _PLACE.fullmatch(text)
    if found is None:
        raise ValueError("is no place in the audit log")
    return Place(int(found[1]), bytes.fromhex(found[2]))
