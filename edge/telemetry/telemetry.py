"""The one call that the relay makes when an exchange has ended."""

from typing import Final

from edge.contract.exchange import Exchange
from edge.contract.reasons import Reason
from edge.telemetry.access_log import AccessLog
from edge.telemetry.finished import Finished
from edge.telemetry.log_line import Ended, LineWriter
from edge.telemetry.metrics import WorkerMetrics, count

LINES_AT_ONCE: Final = 32
"""So many lines are formatted in a row: between requests, one alone finds its code and data out of the processor's
caches, and takes several times as long."""


class Telemetry:
    """Counts finished exchanges and writes their access log lines. `log` is None when the log is off."""

    def __init__(self, metrics: WorkerMetrics, log: AccessLog | None, lines: LineWriter | None = None) -> None:
        if log is not None and lines is None:
            raise ValueError("an access log needs a LineWriter")
        self.metrics = metrics
        self._finished = Finished(metrics)
        self._log = log
        self._lines = lines
        self._ended: list[Ended] = []
        self._unformatted = 0
        metrics.sources.append(self._count_log)

    def write_with(self, lines: LineWriter) -> None:
        """Format lines of the access log with another writer from now on."""
        self._format()
        self._lines = lines

    def finished(
        self,
        exchange: Exchange,
        *,
        status: int,
        outcome: str,
        edge_s: float,
        origin_s: float,
        bytes_in: int,
        bytes_out: int,
    ) -> None:
        """Record an exchange that ended, once.

        `outcome` is a short id from the relay's own list; `edge_s` and `origin_s` are seconds, `origin_s` 0 when no
        origin was asked; bytes are those of the bodies.
        """
        alike = self._finished.alike(exchange, status, outcome)
        self._finished.count(exchange, alike, edge_s, origin_s)
        if self._log is not None and self._lines is not None:
            self.metrics.log_lines += 1
            self._ended.append(
                Ended(
                    exchange,
                    alike,
                    edge_s=edge_s,
                    origin_s=origin_s,
                    bytes_in=bytes_in,
                    bytes_out=bytes_out,
                )
            )
            if len(self._ended) >= LINES_AT_ONCE:
                self._format()

    def refused_early(self, reason: Reason, *, status: int, now: float, peer: str = "", detail: str = "") -> None:
        """Record a request that was refused before it had a route: bad bytes, no route, a head that never came."""
        count(self.metrics.requests, ("", status, "refused"))
        count(self.metrics.refusals, (reason, detail))
        if self._log is not None and self._lines is not None:
            self.metrics.log_lines += 1
            self._format()
            self._log.write(self._lines.early_line(now, peer, status, reason, detail), 1)

    def shed(self, route: str, priority: str, *, noisy: bool) -> None:
        """Count a request that was shed, `noisy` if for its client's sake.

        No line is written for it: the log is not to grow with an overload.
        """
        count(self.metrics.requests, (route, 503, "shed"))
        count(self.metrics.refusals, (Reason.OVERLOADED, "noisy" if noisy else priority))

    def origin_full(self, route: str, origin: str) -> None:
        """Count a request that its origin has no place for; no line is written, as for one that is shed."""
        count(self.metrics.requests, (route, 503, "shed"))
        count(self.metrics.refusals, (Reason.ORIGIN_OVERLOADED, origin))

    def too_many_requests(self, route: str) -> None:
        """Count a request of a client that has made as many as it may; no line is written, as for one that is shed."""
        count(self.metrics.requests, (route, 429, "shed"))
        count(self.metrics.refusals, (Reason.TOO_MANY_REQUESTS, ""))

    def dropped(self, why: str) -> None:
        """Count a device connection that was refused or given up; `why` is a short id from the code's own list."""
        count(self.metrics.dropped, (why,))

    def sweep(self) -> None:
        """Hand gathered log lines to the writer; called about once a second."""
        if self._log is not None:
            self._format()
            self._log.flush()

    def close(self) -> None:
        """Write what is left of the log."""
        if self._log is not None:
            self._format()
            self._log.close()

    def _format(self) -> None:
        if self._log is not None and self._lines is not None:
            ended, self._ended = self._ended, []  # before anything can fail: a line is tried once
            lines: list[str] = []
            for one in ended:
                try:
                    lines.append(self._lines.line(one))
                except Exception:  # noqa: BLE001 - what cannot be written of one request costs no other's line
                    self._unformatted += 1
            if lines:
                self._log.write("".join(lines).encode(), len(lines))

    def _count_log(self, metrics: WorkerMetrics) -> None:
        if self._log is not None:
            metrics.log_dropped = self._log.dropped + self._unformatted
