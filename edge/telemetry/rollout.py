"""What the dials decided and what shadowing found: counters, and a few samples of differences in the log.

A sample names nobody: users and devices are the keyed hashes of the access log, so that both can be read together.
"""

from collections.abc import Callable, Mapping
from typing import Final

import structlog

from edge.contract.dials import Feature
from edge.contract.exchange import Exchange
from edge.contract.identity import Level, Peeked, Reported
from edge.contract.rollout import Comparison
from edge.telemetry.log_line import LineWriter
from edge.telemetry.metrics import WorkerMetrics, count

_UNKNOWN: Final = "unknown"
_NO_DIFFERENCE: Final = frozenset((Comparison.SAME, Comparison.UNREPORTED, Comparison.NOT_COMPARED, Comparison.FAILED))
_log = structlog.get_logger("edge.shadow")


class RolloutRecorder:
    """Counts for one worker; `clock` tells monotonic seconds."""

    def __init__(
        self,
        metrics: WorkerMetrics,
        hashes: LineWriter,
        device_types: Mapping[int, str],
        max_samples_per_s: int,
        clock: Callable[[], float],
    ) -> None:
        """`hashes` are those of the access log; at most `max_samples_per_s` differences are logged in a second."""
        self._metrics = metrics.rollout
        self._hashes = hashes
        self._device_types = device_types
        self._max_samples_per_s = max_samples_per_s
        self._clock = clock
        self._second = 0
        self._samples = 0

    def decided(self, feature: Feature, device_type: int, *, on: bool) -> None:
        """Count a decision of a dial."""
        count(self._metrics.decisions, (feature.value, self._name(device_type), "true" if on else "false"))

    def compared(self, exchange: Exchange, peeked: Peeked, reported: Reported | None, result: Comparison) -> None:
        """Count a comparison, and log what differs, unless enough of that is logged."""
        device_type = _UNKNOWN if peeked.device is None else self._name(peeked.device.device_type)
        count(self._metrics.comparisons, (device_type, peeked.token, result.value))
        if result in _NO_DIFFERENCE:
            return
        if not self._may_log():
            self._metrics.samples_dropped += 1
            return
        _log.warning(
            "shadow_difference",
            id=exchange.id.decode(),
            route=exchange.route.id,
            origin=exchange.route.origin,
            result=result.value,
            device_type=device_type,
            token=peeked.token,
            edge=self._of_edge(peeked),
            legacy=None if reported is None else self._of_origin(reported),
        )

    def _name(self, device_type: int) -> str:
        return self._device_types.get(device_type, _UNKNOWN)

    def _may_log(self) -> bool:
        second = int(self._clock())
        if second != self._second:
            self._second, self._samples = second, 0
        self._samples += 1
        return self._samples <= self._max_samples_per_s

    def _of_edge(self, peeked: Peeked) -> dict[str, str]:
        user, device = peeked.user, peeked.device
        return self._who(
            None if user is None else user.customer_id,
            None if device is None else device.esn,
            None if user is None else user.level,
        )

    def _of_origin(self, reported: Reported) -> dict[str, str]:
        return self._who(reported.customer_id, reported.esn, reported.level)

    def _who(self, customer_id: int | None, esn: str | None, level: Level | None) -> dict[str, str]:
        return {
            "user": "" if customer_id is None else self._hashes.user(customer_id),
            "device": self._hashes.device(esn) if esn else "",
            "level": "" if level is None else level.name.lower(),
        }
