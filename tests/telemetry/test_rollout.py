"""What the dials decided is counted by device type; differences are logged under hashes, a few in a second."""

from structlog.testing import capture_logs

from edge.contract.dials import Feature
from edge.contract.identity import DeviceIdentity, Level, Peeked, Reported, Source, UserIdentity
from edge.contract.rollout import Comparison
from edge.telemetry.log_line import LineWriter
from edge.telemetry.metrics import WorkerMetrics
from edge.telemetry.rollout import RolloutRecorder
from tests.telemetry.exchanges import exchange

PEEKED = Peeked(
    UserIdentity(Source.COOKIE, Level.HIGH, 7001, 7001),
    DeviceIdentity(Source.COOKIE, Level.HIGH, "NFTV-1", 4),
    "cookie",
    settled=True,
)
REPORTED = Reported(7002, "NFTV-1", Level.LOW)


class Clock:
    """Seconds, as a test sets them."""

    now = 10.0

    def __call__(self) -> float:
        """Tell them."""
        return self.now


def recorder(samples: int = 2) -> tuple[RolloutRecorder, WorkerMetrics, Clock]:
    """Return a recorder, what it counts in, and its clock."""
    metrics, clock = WorkerMetrics(), Clock()
    return RolloutRecorder(metrics, LineWriter(b"k" * 32), {4: "television"}, samples, clock), metrics, clock


def test_no_more_than_so_many_differences_are_logged_in_a_second_and_all_are_counted() -> None:
    recording, metrics, clock = recorder()
    with capture_logs() as logs:
        for clock.now in (10.0, 10.1, 10.9, 11.0, 11.1, 11.2, 11.3):
            recording.compared(exchange(), PEEKED, REPORTED, Comparison.OTHER_USER)
    assert len(logs) == 4
    assert metrics.rollout.samples_dropped == 3
    assert metrics.rollout.comparisons == {("television", "cookie", "other_user"): 7}


def test_what_is_no_difference_is_counted_only() -> None:
    recording, metrics, _ = recorder()
    with capture_logs() as logs:
        for result in (Comparison.SAME, Comparison.UNREPORTED, Comparison.NOT_COMPARED, Comparison.FAILED):
            recording.compared(exchange(), PEEKED, None, result)
    assert logs == []
    assert sum(metrics.rollout.comparisons.values()) == 4


def test_a_sample_names_nobody_and_has_the_hashes_of_the_access_log() -> None:
    recording, _, _ = recorder()
    with capture_logs() as logs:
        recording.compared(exchange(), PEEKED, REPORTED, Comparison.OTHER_USER)
        recording.compared(exchange(), PEEKED, None, Comparison.UNREADABLE)
    hashes = LineWriter(b"k" * 32)
    device = hashes.device("NFTV-1")
    assert logs[0]["edge"] == {"user": hashes.user(7001), "device": device, "level": "high"}
    assert logs[0]["legacy"] == {"user": hashes.user(7002), "device": device, "level": "low"}
    assert logs[1]["legacy"] is None
    assert not any(text in repr(logs) for text in ("7001", "7002", "NFTV"))


def test_decisions_are_counted_by_the_name_of_the_device_type() -> None:
    recording, metrics, _ = recorder()
    recording.decided(Feature.TERMINATE_COOKIE, 4, on=True)
    recording.decided(Feature.TERMINATE_COOKIE, 0, on=False)
    recording.decided(Feature.TERMINATE_COOKIE, 99, on=False)
    assert metrics.rollout.decisions == {
        ("terminate-cookie", "television", "true"): 1,
        ("terminate-cookie", "unknown", "false"): 2,
    }
