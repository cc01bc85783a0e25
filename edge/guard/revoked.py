"""What is revoked, in memory, for as long as a token may live. Pure: no clock of its own, no sockets.

Theory of operation: two generations, as a cache has them. New entries go into the young one; when that has lived for
`keep_s`, or is full, it becomes the old one and what the old one held is forgotten. So an entry is there for at least
`keep_s` unless there are too many, and nothing is ever searched for what to forget.
"""

from typing import Final

_SHARE: Final = 2  # generations that share the bound


class _Generation:
    __slots__ = ("count", "customers", "devices", "excepting", "sessions", "since")

    def __init__(self, since: float) -> None:
        self.since = since
        self.count = 0
        self.customers: dict[int, int] = {}  # customer → revoked up to, in epoch seconds
        self.excepting: dict[int, list[tuple[int, str]]] = {}  # customer → revoked up to, all but this session
        self.sessions: dict[str, int] = {}  # session → its customer
        self.devices: dict[tuple[int, str], int] = {}  # customer and ESN → revoked up to

    def covers(self, customer_id: int, session_id: str, esn: str, vouched_at: int) -> bool:
        if vouched_at <= self.customers.get(customer_id, -1):
            return True
        if self.sessions and self.sessions.get(session_id) == customer_id:
            return True
        if self.devices and vouched_at <= self.devices.get((customer_id, esn), -1):
            return True
        return bool(self.excepting) and any(
            vouched_at <= through and session_id != excepted
            for through, excepted in self.excepting.get(customer_id, ())
        )


class RevokedTokens:
    """Which tokens are revoked; at most `max_entries` entries, kept for `keep_s` seconds at least. For one thread.

    `revision` changes whenever something may have become revoked: what was asked under it need not be asked again.
    `forgotten_early` counts entries that were dropped before their time because there were too many.
    """

    __slots__ = ("_keep_s", "_most", "_old", "_young", "forgotten_early", "revision")

    def __init__(self, keep_s: float, max_entries: int, now: float) -> None:
        self._keep_s = keep_s
        self._most = max(max_entries // _SHARE, 1)
        self._young = _Generation(now)
        self._old = _Generation(now)
        self.revision = 0
        self.forgotten_early = 0

    def covers(self, customer_id: int, session_id: str, esn: str, vouched_at: int) -> bool:
        """Tell whether a token is revoked that a token service vouched for at `vouched_at`, epoch seconds."""
        return self._young.covers(customer_id, session_id, esn, vouched_at) or self._old.covers(
            customer_id, session_id, esn, vouched_at
        )

    def customer(self, now: float, customer_id: int, through: int, excepted_session: str = "") -> None:
        """Revoke a customer's tokens up to `through`, all but those of one session."""
        young = self._turn(now)
        if not excepted_session:
            young.customers[customer_id] = max(through, young.customers.get(customer_id, 0))
        else:
            young.excepting.setdefault(customer_id, []).append((through, excepted_session))

    def session(self, now: float, customer_id: int, session_id: str) -> None:
        """Revoke all tokens of a session."""
        self._turn(now).sessions[session_id] = customer_id

    def device(self, now: float, customer_id: int, esn: str, through: int) -> None:
        """Revoke a customer's tokens on a device up to `through`."""
        young, key = self._turn(now), (customer_id, esn)
        young.devices[key] = max(through, young.devices.get(key, 0))

    def _turn(self, now: float) -> _Generation:
        """Return where the next entry belongs."""
        young = self._young
        full = young.count >= self._most
        if full or now - young.since >= self._keep_s:
            if now - self._old.since < _SHARE * self._keep_s and full:
                self.forgotten_early += self._old.count
            self._old, self._young = young, _Generation(now)
        self._young.count += 1
        self.revision += 1
        return self._young

    def __len__(self) -> int:
        return self._young.count + self._old.count

    def __repr__(self) -> str:
        return f"RevokedTokens({len(self)} entries)"
