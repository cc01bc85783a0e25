"""The addresses of one origin and which of them take requests: ejection, return by probe, warm-up, health marks.

Pure: told the time, holds no socket. An address is *active* until its errors eject it; when its time is over it is
*returning*, and one probe decides: active again, with a warm-up, or ejected for longer. When nobody would be left,
all take requests: failing open beats failing.
"""

from collections.abc import Callable, Sequence

from edge.control.origins_file import Ejection
from edge.control.values import Address
from edge.upstream import warm_up
from edge.upstream.ejection import Standing, may_eject
from edge.upstream.endpoint import Endpoint


class Rotation:
    """The addresses of one origin; `active` are those to choose from, empty only when the origin has none."""

    __slots__ = ("_ejection", "_random", "_swept_at", "_warm_up_s", "active", "endpoints", "ready")

    def __init__(self, ejection: Ejection, warm_up_s: float, random: Callable[[], float]) -> None:
        self._ejection = ejection
        self._warm_up_s = warm_up_s
        self._random = random
        self._swept_at = 0.0
        self.endpoints: list[Endpoint] = []
        self.active: list[Endpoint] = []
        self.ready: list[Endpoint] = []  # returning, connected, and waiting for a request as their probe

    def replace(self, addresses: Sequence[Address], now: float) -> list[Endpoint]:
        """Make `addresses` the origin's: keep what stays, warm up what is new. Return what went."""
        self._swept_at = self._swept_at or now
        known = {endpoint.address: endpoint for endpoint in self.endpoints}
        first = warm_up.weight(0.0, self._warm_up_s) if known else 1.0
        since = now if known else now - self._warm_up_s
        self.endpoints = [
            known.pop(address) if address in known else Endpoint(address, since, first)
            for address in dict.fromkeys(addresses)
        ]
        gone = list(known.values())
        for endpoint in gone:
            endpoint.known = False
        self.ready = [endpoint for endpoint in self.ready if endpoint.known]
        self._choose_active()
        return gone

    def mark(self, address: Address, healthy: bool, now: float) -> Endpoint | None:
        """Take the word of an active health check. Return the address if that took it out of rotation."""
        endpoint = next((each for each in self.endpoints if each.address == address), None)
        if endpoint is None or endpoint.healthy == healthy:
            return None
        endpoint.healthy = healthy
        if healthy and endpoint.standing is Standing.EJECTED:
            endpoint.until = now
        elif healthy:
            self._warm(endpoint, now)
        self._choose_active()
        return None if healthy or endpoint in self.active else endpoint

    def returned(self, endpoint: Endpoint, now: float) -> None:
        """Take an address back whose probe went well."""
        if endpoint.standing is Standing.RETURNING:
            endpoint.probe = None
            endpoint.standing = Standing.ACTIVE
            endpoint.record.forget()
            self._warm(endpoint, now)
            self._choose_active()

    def failed(self, endpoint: Endpoint, *, probe: bool, connecting: bool, now: float) -> bool:
        """Count an error; return whether it ejects the address. `connecting`: no connection could be had."""
        if not endpoint.known or endpoint.standing is Standing.EJECTED:
            return False
        if endpoint.standing is Standing.RETURNING:
            if probe:
                self._eject(endpoint, now)
            return probe
        record = endpoint.record
        record.failed()
        endpoint.share = min(endpoint.share, endpoint.weight * record.share(1.0))
        if not may_eject(len(self.endpoints), len(self.active), self._ejection.max_share):
            return False
        if not connecting and not record.is_outlier(self._ejection, self._others_error_rate(endpoint)):
            return False
        self._eject(endpoint, now)
        return True

    def postpone(self, endpoint: Endpoint, seconds: float, now: float) -> None:
        """Try a returning address again `seconds` from now, without a verdict on it."""
        if endpoint.standing is Standing.RETURNING:
            endpoint.standing = Standing.EJECTED
            endpoint.probe = None
            endpoint.until = now + seconds

    def unreachable(self, endpoint: Endpoint, now: float) -> None:
        """Leave a returning address out for another `base_s`: trying to connect costs no request."""
        self.postpone(endpoint, self._ejection.base_s * (1.0 - 0.2 * self._random()), now)

    def sweep(self, now: float) -> list[Endpoint]:
        """Let time pass: scores decay, ramps rise, doublings are excused. Return those now returning, to connect to."""
        elapsed, self._swept_at = now - self._swept_at, now
        due: list[Endpoint] = []
        all_s = sum(each.record.mean_s for each in self.active)
        others = max(len(self.active) - 1, 1)
        for endpoint in self.endpoints:
            record = endpoint.record
            record.decay(elapsed, self._ejection.half_life_s)
            if endpoint.weight < 1.0:
                endpoint.weight = warm_up.weight(now - endpoint.since, self._warm_up_s)
            endpoint.share = endpoint.weight * record.share(max(all_s - record.mean_s, 0.0) / others)
            if endpoint.standing is Standing.EJECTED and endpoint.healthy and now >= endpoint.until:
                endpoint.standing = Standing.RETURNING
                due.append(endpoint)
            elif endpoint.standing is Standing.ACTIVE and record.level and now >= endpoint.until:
                record.level -= 1
                endpoint.until = now + record.excused_after(self._ejection)
        return due

    def _eject(self, endpoint: Endpoint, now: float) -> None:
        endpoint.standing = Standing.EJECTED
        endpoint.probe = None
        endpoint.until = now + endpoint.record.ejected_for(self._ejection, self._random())
        self._choose_active()

    def _warm(self, endpoint: Endpoint, now: float) -> None:
        endpoint.since = now
        endpoint.weight = endpoint.share = warm_up.weight(0.0, self._warm_up_s)
        endpoint.until = now + endpoint.record.excused_after(self._ejection)

    def _others_error_rate(self, endpoint: Endpoint) -> float:
        others = [each.record.error_rate for each in self.active if each is not endpoint and each.record.answers > 0.0]
        return sum(others) / len(others) if others else 0.0

    def _choose_active(self) -> None:
        active = [each for each in self.endpoints if each.healthy and each.standing is Standing.ACTIVE]
        self.active = active or list(self.endpoints)
