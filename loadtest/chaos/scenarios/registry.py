"""All scenarios in their order."""

from loadtest.chaos.scenarios import Scenario, origins, workers
from loadtest.chaos.setup import Setup

DIRECT = Setup(through_proxy=False)
SHORT_TIMEOUTS = Setup(
    origin={"max_connections": 64, "max_waiting": 32}, routes={"response_head_timeout_s": origins.HEAD_TIMEOUT_S}
)

SCENARIOS = (
    Scenario("worker_killed", "W1", "one worker SIGKILL", workers.worker_killed, DIRECT),
    Scenario("worker_stopped", "W1", "one worker SIGSTOP", workers.worker_stopped, DIRECT),
    Scenario(
        "sigterm_drain", "W2", "SIGTERM with long polls and uploads under way", workers.sigterm_drain,
        Setup(through_proxy=False, edge={"timeouts.drain_s": workers.DRAIN_S}),
    ),
    Scenario("origin_killed", "B1", "one of 4 addresses SIGKILL", origins.origin_killed, DIRECT),
    Scenario("origins_down", "B2", "all addresses refuse", origins.origins_down),
    Scenario("black_hole", "B3", "one of 4 drops every connect", origins.black_hole),
    Scenario("accept_hang", "B4", "all 4 accept and never answer", origins.accept_hang, SHORT_TIMEOUTS),
    Scenario("slow_origin", "B5", "one of 4 takes 2 s longer", origins.slow_origin),
    Scenario("slow_drip", "B6", "all 4 answer a byte every 20 ms", origins.slow_drip),
    Scenario("flapping", "B14", "one of 4 refuses every other second", origins.flapping),
)  # fmt: skip
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
