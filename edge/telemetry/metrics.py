"""The counters of one worker: plain dicts and lists, because a Prometheus object costs a microsecond a touch.

Whoever counts on the hot path holds a reference to its own series (`filter_cost`) or calls one method. Values that
another object keeps anyway (open connections, key ring), or has not told yet (finished exchanges), are asked of
`sources` when a snapshot is taken.
"""

from collections.abc import Callable
from typing import Final, TypeAlias

from edge.telemetry.catalogue import BUCKET_BOUNDS_S
from edge.telemetry.snapshot import Labels, Snapshot
from resilience.breaker import State

MAX_SERIES: Final = 500
"""Label sets per metric and worker; what comes after is counted as `other`. Details are named by code, so this is a
bound on mistakes, not on clients."""

_BREAKER_STATES: Final = (State.CLOSED, State.HALF_OPEN, State.OPEN)
_LEVELS: Final = ("none", "low", "high", "highest")
_BOUNDS_S: Final[list[float]] = list(BUCKET_BOUNDS_S)

Key: TypeAlias = tuple[str | int, ...]
"""Label values in the catalogue's order."""

Series: TypeAlias = dict[Key, int]
"""Label values → count."""


def count(series: Series, key: Key, amount: int = 1) -> None:
    """Add `amount` to one series, or to `other` when there are too many."""
    try:
        series[key] += amount
    except KeyError:
        if len(series) >= MAX_SERIES:
            key = ("other",) * len(key)
        series[key] = series.get(key, 0) + amount


class Histogram:
    """One series: the count of every bucket, and the sum of what was observed."""

    __slots__ = ("counts", "sum_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(_BOUNDS_S) + 1)
        self.sum_s = 0.0

    def observe(self, seconds: float) -> None:
        """Count one observation."""
        bucket = 0
        for bound in _BOUNDS_S:  # most are found at once, and compiled this is cheaper than a call of bisect
            if seconds <= bound:
                break
            bucket += 1
        self.counts[bucket] += 1
        self.sum_s += seconds


class Histograms:
    """Seconds by one label."""

    __slots__ = ("_series",)

    def __init__(self) -> None:
        self._series: dict[str, Histogram] = {}

    def of(self, label: str) -> Histogram:
        """Return the histogram of one label, or that of `other` when there are too many."""
        one = self._series.get(label)
        if one is None:
            label = label if len(self._series) < MAX_SERIES else "other"
            one = self._series.setdefault(label, Histogram())
        return one

    def rows(self) -> list[tuple[Labels, list[float]]]:
        """Return every series as its label and a list: the count of every bucket, and the sum at the end."""
        return [((label,), [*one.counts, one.sum_s]) for label, one in self._series.items()]


class UpgradeMetrics:
    """Upgraded connections by route: each may last for hours, so its bytes are counted while it does."""

    __slots__ = ("bytes", "ended", "open")

    def __init__(self) -> None:
        self.open: dict[str, int] = {}  # route → open now
        self.ended: Series = {}  # route, cause
        self.bytes: Series = {}  # route, in or out

    def opened(self, route: str) -> None:
        """Count a connection that device and origin have agreed to upgrade."""
        self.open[route] = self.open.get(route, 0) + 1

    def relayed(self, route: str, bytes_in: int, bytes_out: int) -> None:
        """Count bytes from the device, and to it."""
        if bytes_in:
            count(self.bytes, (route, "in"), bytes_in)
        if bytes_out:
            count(self.bytes, (route, "out"), bytes_out)

    def closed(self, route: str, cause: str) -> None:
        """Count the end of a connection; `cause` is `closed`, or a reason id."""
        self.open[route] -= 1
        count(self.ended, (route, cause))


class KeyMetrics:
    """The keys that a worker holds."""

    __slots__ = ("made", "ring_fetched_at", "ring_revision", "ring_source", "snapshots", "store_lost", "uses")

    def __init__(self) -> None:
        self.ring_revision: int | None = None
        self.ring_fetched_at = 0.0  # epoch seconds
        self.ring_source = ""
        self.store_lost = False
        self.made: dict[tuple[str, str, str], int] = {}  # purpose, key id, state → epoch seconds
        self.uses: Series = {}  # purpose, key id
        self.snapshots: Series = {}  # result

    def ring(self, revision: int, fetched_at: float, source: str) -> None:
        """Note which key ring is in use: from `kms` or `snapshot`, and fetched when, in epoch seconds."""
        self.ring_revision = revision
        self.ring_fetched_at = fetched_at
        self.ring_source = source


class RolloutMetrics:
    """What the dials decided, and what came of comparing identities."""

    __slots__ = ("comparisons", "decisions", "samples_dropped")

    def __init__(self) -> None:
        self.decisions: Series = {}  # feature, device type, on
        self.comparisons: Series = {}  # device type, token, result
        self.samples_dropped = 0


class WorkerMetrics:
    """Everything one worker counts. Not for use by more than one thread."""

    def __init__(self) -> None:
        self.requests: Series = {}  # route, status, outcome
        self.resolutions: Series = {}  # source, result, local or remote
        self.levels = [0] * len(_LEVELS)  # by level, 0 without a user
        self.refusals: Series = {}  # reason, private detail
        self.actions: Series = {}  # action
        self.returned_passports: Series = {}  # result
        self.renewals: Series = {}  # outcome
        self.reauth_errors: Series = {}  # cause
        self.rollout = RolloutMetrics()
        self.revocations = 0  # entries known
        self.revocations_forgotten = 0
        self.revocations_heard_at: float | None = None  # epoch seconds
        self.remote_calls: Series = {}  # service, outcome
        self.edge_seconds = Histograms()
        self.origin_seconds = Histograms()
        self.filter_costs: dict[str, list[float]] = {}  # filter → [calls, seconds]
        self.tls_handshakes: Series = {}  # side, result
        self.certificate_reloads: Series = {}  # file, result
        self.certificate_expiries: dict[str, float] = {}  # file → epoch seconds
        self.max_connections = 0
        self.connections: dict[str, int] = {}  # side → open now
        self.load: dict[str, float] = {}  # part of the load's score → 0 to 1
        self.upgrades = UpgradeMetrics()
        self.discovery_refreshes: Series = {}  # origin, result
        self.discovered: dict[str, tuple[int, float]] = {}  # origin → addresses known, age in seconds
        self.health_checks: Series = {}  # origin, result
        self.health: dict[tuple[str, str], bool] = {}  # origin, address → healthy
        self.ejections: Series = {}  # origin, address, cause
        self.origin_addresses: dict[tuple[str, str], int] = {}  # origin, state → addresses now
        self.origin_connections: dict[str, int] = {}  # origin → open now
        self.origin_waiting: dict[str, int] = {}  # origin → requests that wait now
        self.dropped: Series = {}  # why a device's connection was refused or given up
        self.breaker_states: dict[str, int] = {}  # breaker → 0 closed, 1 half-open, 2 open
        self.breaker_transitions: Series = {}  # breaker, new state
        self.concurrency: dict[str, tuple[int, int]] = {}  # origin → limit, in flight
        self.retries: Series = {}  # origin, outcome
        self.stripped_headers = 0
        self.log_lines = 0
        self.log_dropped = 0
        self.events_dropped = 0
        self.sign_outs: dict[str, int] = {}  # result → how many
        self.sign_outs_pending = 0
        self.token_files_unusable: set[str] = set()  # paths
        self.loop_blocked: dict[str, int] = {}  # filter, or "" → how often it has blocked the event loop
        self.config: tuple[int, str] | None = None  # revision, hash
        self.dial_revision: int | None = None
        self.keys = KeyMetrics()
        self.sources: list[Callable[[WorkerMetrics], None]] = []  # asked for what they know before values are read

    def filter_cost(self, filter_id: str) -> list[float]:
        """Return the list `[calls, seconds]` of one filter, for its caller to add to."""
        return self.filter_costs.setdefault(filter_id, [0, 0.0])

    def remote_call(self, service: str, outcome: str) -> None:
        """Count one call that left the process."""
        count(self.remote_calls, (service, outcome))

    def renewed(self, outcome: str) -> None:
        """Count one renewal that the cookie service was asked for."""
        count(self.renewals, (outcome,))

    def passport_returned(self, result: str) -> None:
        """Count a Passport that an origin returned."""
        count(self.returned_passports, (result,))

    def breaker(self, name: str) -> Callable[[State, State], None]:
        """Return what a new circuit breaker, closed, tells its changes to."""
        self.breaker_states[name] = _BREAKER_STATES.index(State.CLOSED)

        def changed(_: State, state: State) -> None:
            self.breaker_states[name] = _BREAKER_STATES.index(state)
            count(self.breaker_transitions, (name, state.value))

        return changed

    def retried(self, origin: str, outcome: str) -> None:
        """Count what came of a retry, or why none was made."""
        count(self.retries, (origin, outcome))

    def forget_origins(self) -> None:
        """Empty the gauges of origins, so that one that was removed is not told for ever."""
        self.origin_addresses.clear()
        self.origin_connections.clear()
        self.origin_waiting.clear()

    def refresh(self) -> None:
        """Ask all sources, so that every value is as of now."""
        for source in self.sources:
            source(self)

    def snapshot(self, now: float) -> Snapshot:
        """Return all values as they are; `now` in epoch seconds, for ages."""
        self.refresh()
        values: dict[str, list[tuple[Labels, float]]] = {
            "edge_requests_total": _rows(self.requests),
            "edge_identity_resolutions_total": _rows(self.resolutions),
            "edge_user_levels_total": [((name,), self.levels[level]) for level, name in enumerate(_LEVELS)],
            "edge_refusals_total": _rows(self.refusals),
            "edge_actions_total": _rows(self.actions),
            "edge_returned_passports_total": _rows(self.returned_passports),
            "edge_renewals_total": _rows(self.renewals),
            "edge_user_reauth_errors_total": _rows(self.reauth_errors),
            "edge_rollout_decisions_total": _rows(self.rollout.decisions),
            "edge_shadow_comparisons_total": _rows(self.rollout.comparisons),
            "edge_shadow_samples_dropped_total": [((), self.rollout.samples_dropped)],
            "edge_revocations": [((), self.revocations)],
            "edge_revocations_forgotten_total": [((), self.revocations_forgotten)],
            "edge_remote_calls_total": _rows(self.remote_calls),
            "edge_filter_calls_total": [((name,), cost[0]) for name, cost in self.filter_costs.items()],
            "edge_filter_seconds_total": [((name,), cost[1]) for name, cost in self.filter_costs.items()],
            "edge_connections": [((side,), number) for side, number in self.connections.items()],
            "edge_connections_max": [((), self.max_connections)],
            "edge_connections_dropped_total": _rows(self.dropped),
            "edge_load_score": [((part,), value) for part, value in self.load.items()],
            "edge_upgrades_open": [((route,), number) for route, number in self.upgrades.open.items()],
            "edge_upgrades_total": _rows(self.upgrades.ended),
            "edge_upgrade_bytes_total": _rows(self.upgrades.bytes),
            "edge_tls_handshakes_total": _rows(self.tls_handshakes),
            "edge_certificate_reloads_total": _rows(self.certificate_reloads),
            "edge_certificate_expires_seconds": [
                ((file,), when - now) for file, when in self.certificate_expiries.items()
            ],
            "edge_discovery_addresses": [((name,), known) for name, (known, _) in self.discovered.items()],
            "edge_discovery_age_seconds": [((name,), age) for name, (_, age) in self.discovered.items()],
            "edge_discovery_refreshes_total": _rows(self.discovery_refreshes),
            "edge_origin_healthy": [(key, int(healthy)) for key, healthy in self.health.items()],
            "edge_health_checks_total": _rows(self.health_checks),
            "edge_origin_addresses": [(key, number) for key, number in self.origin_addresses.items()],
            "edge_origin_ejections_total": _rows(self.ejections),
            "edge_origin_connections": [((name,), number) for name, number in self.origin_connections.items()],
            "edge_origin_waiting": [((name,), number) for name, number in self.origin_waiting.items()],
            "edge_breaker_state": [((name,), state) for name, state in self.breaker_states.items()],
            "edge_breaker_transitions_total": _rows(self.breaker_transitions),
            "edge_concurrency_limit": [((name,), both[0]) for name, both in self.concurrency.items()],
            "edge_concurrency_in_flight": [((name,), both[1]) for name, both in self.concurrency.items()],
            "edge_retries_total": _rows(self.retries),
            "edge_stripped_headers_total": [((), self.stripped_headers)],
            "edge_access_log_lines_total": [((), self.log_lines)],
            "edge_access_log_dropped_total": [((), self.log_dropped)],
            "edge_loop_blocked_total": [((name,), number) for name, number in self.loop_blocked.items()],
            "edge_events_dropped_total": [((), self.events_dropped)],
            "edge_sign_outs_total": [((result,), number) for result, number in self.sign_outs.items()],
            "edge_sign_outs_pending": [((), self.sign_outs_pending)],
            "edge_token_files_unusable": [((), len(self.token_files_unusable))],
            "edge_key_store_lost": [((), int(self.keys.store_lost))],
            "edge_key_age_seconds": [(key, max(0.0, now - made)) for key, made in self.keys.made.items()],
            "edge_key_uses_total": _rows(self.keys.uses),
            "edge_key_snapshots_total": _rows(self.keys.snapshots),
        }
        if self.config is not None:
            values["edge_config_revision"] = [((), self.config[0])]
            values["edge_config_workers"] = [((self.config[1],), 1)]
        if self.dial_revision is not None:
            values["edge_dial_revision"] = [((), self.dial_revision)]
        if self.keys.ring_revision is not None:
            values["edge_key_ring_revision"] = [((), self.keys.ring_revision)]
            age_s = max(0.0, now - self.keys.ring_fetched_at)
            values["edge_key_ring_age_seconds"] = [((self.keys.ring_source,), age_s)]
        if self.revocations_heard_at is not None:
            values["edge_revocations_age_seconds"] = [((), max(0.0, now - self.revocations_heard_at))]
        return Snapshot(
            values=values,
            histograms={
                "edge_request_edge_seconds": self.edge_seconds.rows(),
                "edge_request_origin_seconds": self.origin_seconds.rows(),
            },
        )


def _rows(series: Series) -> list[tuple[Labels, float]]:
    return [(tuple(str(label) for label in key), value) for key, value in series.items()]
