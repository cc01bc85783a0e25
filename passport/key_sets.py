"""The key sets of one process: from the KMS, or from the sealed snapshot of what it said last.

For holders of keys, who make their keys of what `fetch` or `load` returns and then call `taken`. Key material passes
through and is not kept.
"""

import asyncio
import os
import socket
import time
from collections.abc import Callable, Sequence
from typing import Final

from edgepb.kms.v1 import kms_pb2

from passport.key_snapshot import KeySnapshot, SnapshotFile, Unusable
from passport.key_uses import KeyUses
from passport.kms import KeysLost, KmsClient

_LAST_SAVE_S: Final = 1.0


def holder() -> str:
    """Return what names a holder among those of its identity: host, process id, and a number drawn for it.

    Containers may have host name and process ids in common, and one's word must not count for the other.
    """
    return f"{socket.gethostname()[:40]}:{os.getpid()}:{os.urandom(4).hex()}"


class KeySets:
    """Fetches the key sets of `purposes` in the name of one process, and remembers them in `file`.

    A key that was once said to be destroyed stays so, whatever is said of it later: a KMS that was restored from a
    backup does not bring it back. `came_back` holds the ids of those for which that was so at the last fetch.

    The KMS lists each version for ever, destroyed ones too. An answer that lacks one that is held is therefore that of
    a lost or another store, and no reason to forget keys: it is not taken.
    """

    def __init__(
        self,
        client: KmsClient,
        purposes: Sequence[str],
        file: SnapshotFile | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._purposes = tuple(purposes)
        self._file = file
        self._clock = clock
        self._holder = holder()
        self._revision_held = 0
        self._held: set[int] = set()
        self._destroyed: set[int] = set()
        self._saving: asyncio.Task[None] | None = None
        self.uses = KeyUses()
        self.came_back: list[int] = []
        self.on_saved: Callable[[str, str], None] = _say_nothing
        """Told how each save went: `saved`, `kept` when the file was as good, or `failed` and why."""

    def __repr__(self) -> str:
        return f"KeySets({', '.join(self._purposes)})"

    def take_token(self, token: str) -> bool:
        """Go on under a new token of the identity; tell whether it is another one."""
        if not self._client.take_token(token):
            return False
        if self._file is not None:
            self._file.take_token(token)
        return True

    async def fetch(self) -> KeySnapshot:
        """Ask the KMS, and tell it what this process holds and used.

        Raises KmsRefused, KmsUnavailable, and KeysLost when the answer lacks keys that were loaded or taken.
        """
        asked_at, uses = self._clock(), self.uses.unreported()
        answer = await self._client.key_sets(
            self._purposes, holder=self._holder, revision_held=self._revision_held, uses=uses
        )
        if lost := self._held.difference(each.key_id for each in _versions(answer)):
            raise KeysLost(sorted(lost))
        self.uses.reported(uses)
        self._keep_destroyed(answer)
        return KeySnapshot(answer, asked_at)

    async def load(self) -> KeySnapshot | Unusable:
        """Return the snapshot if it is good and has all purposes, or why there is none to use."""
        if self._file is None:
            return Unusable.MISSING
        found = await asyncio.to_thread(self._file.load, self._clock())
        if isinstance(found, Unusable):
            return found
        self._keep_destroyed(found.answer)
        wanted = [each for each in found.answer.key_sets if each.purpose in self._purposes]
        if len(wanted) < len(self._purposes):
            return Unusable.INCOMPLETE
        answer = kms_pb2.GetKeySetsResponse(key_sets=wanted, revision=found.answer.revision)
        self._hold(answer)
        return KeySnapshot(answer, found.fetched_at)

    def taken(self, snapshot: KeySnapshot, *, save: bool) -> None:
        """Note that keys were made of it; with `save`, write it to the file beside the caller."""
        self._revision_held = snapshot.answer.revision
        self._hold(snapshot.answer)
        if save and self._file is not None and (self._saving is None or self._saving.done()):
            self._saving = asyncio.create_task(self._save(self._file, snapshot), name="key-snapshot")

    async def close(self) -> None:
        """Let a save under way come to its end, for a moment."""
        if self._saving is not None:
            await asyncio.wait({self._saving}, timeout=_LAST_SAVE_S)

    async def _save(self, file: SnapshotFile, snapshot: KeySnapshot) -> None:
        try:
            replaced = await asyncio.to_thread(file.save, snapshot)
        except OSError as error:
            self.on_saved("failed", error.strerror or type(error).__name__)
        else:
            self.on_saved("saved" if replaced else "kept", "")

    def _hold(self, answer: kms_pb2.GetKeySetsResponse) -> None:
        self._held = {each.key_id for each in _versions(answer) if each.state != kms_pb2.DESTROYED}

    def _keep_destroyed(self, answer: kms_pb2.GetKeySetsResponse) -> None:
        versions = _versions(answer)
        back = [each for each in versions if each.key_id in self._destroyed and each.state != kms_pb2.DESTROYED]
        for version in back:
            version.state = kms_pb2.DESTROYED
            version.primary = False
            version.ClearField("material")
        self.came_back = [version.key_id for version in back]
        self._destroyed.update(each.key_id for each in versions if each.state == kms_pb2.DESTROYED)


def _versions(answer: kms_pb2.GetKeySetsResponse) -> list[kms_pb2.KeyVersion]:
    return [version for key_set in answer.key_sets for version in key_set.versions]


def _say_nothing(result: str, problem: str) -> None:
    del result, problem
