"""Back-off of a process that keeps dying."""

from edge.supervisor.backoff import LONGEST_DELAY_S, STABLE_S, CrashLoop


def test_deaths_in_a_row_wait_longer_and_longer_up_to_a_limit() -> None:
    loop = CrashLoop()
    delays = [loop.delay_s(0.5) for _ in range(40)]
    assert delays[:4] == [0.1, 0.2, 0.4, 0.8]
    assert delays == sorted(delays)
    assert delays[-1] == LONGEST_DELAY_S


def test_a_process_that_was_well_for_a_while_is_started_again_soon() -> None:
    loop = CrashLoop()
    for _ in range(10):
        loop.delay_s(0.0)
    assert loop.delay_s(STABLE_S) == 0.1
    assert loop.delay_s(0.0) == 0.2
