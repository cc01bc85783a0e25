"""What must have come out of a run. Pure: figures in, checks out."""

from collections.abc import Iterable, Iterator

from loadtest.locust.check import Check
from loadtest.locust.edge_counters import RESOLUTIONS, EdgeCounters
from loadtest.locust.expectations import Sign
from loadtest.locust.figures import Figures
from loadtest.locust.rollout_checks import rollout_checks
from loadtest.locust.scenarios import Scenario

LOCAL_PERCENT = 95.0
TOLERANCE = 1.0
_SHOWN = 5


def check(figures: Figures, scenario: Scenario, types: Iterable[str], tolerance: float = TOLERANCE) -> list[Check]:
    """Judge a run; `tolerance` is in points of the local share."""
    return list(_checks(figures, scenario, types, tolerance))


def _checks(figures: Figures, scenario: Scenario, types: Iterable[str], tolerance: float) -> Iterator[Check]:
    tally = figures.tally
    yield Check("measured", f"{figures.window_s:.0f} s were measured", figures.window_s > 0)
    yield _no_unexpected_answers(figures)
    yield _nobody_signed_out(figures)
    strangers = tally.events[Sign.SOMEBODY_ELSE.value]
    yield Check("nobody_mistaken", f"{strangers} answers were for somebody else", strangers == 0)
    devices, signed_in = tally.events["devices"], tally.events["signed_in"]
    yield Check(
        "everybody_signed_in",
        f"{signed_in} of {devices} devices signed in, of {figures.users} wanted",
        signed_in == devices >= figures.users,
    )
    silent = [name for name in types if tally.events[f"devices {name}"] and not tally.of_type(name)]
    yield Check("all_types_asked", f"types that had no answer: {', '.join(silent) or 'none'}", not silent)
    missing = [step for step in scenario.shows if not tally.of_step(step)]
    yield Check("scenario_shown", f"steps that nobody took: {', '.join(missing) or 'none'}", not missing)
    if scenario.reference:
        yield _local_share(figures.window, tolerance)
    if scenario.beats:
        yield _storm(figures)
    if scenario.rollout is not None:
        yield from rollout_checks(figures, scenario.rollout)


def _no_unexpected_answers(figures: Figures) -> Check:
    unexpected = figures.tally.unexpected
    examples = "; ".join(f"{count} times {what}" for what, count in unexpected.most_common(_SHOWN))
    count, asked = unexpected.total(), figures.tally.answers.total()
    said = f"{count} of {asked} answers were unexpected" + (f": {examples}" if examples else "")
    return Check("no_unexpected_answers", said, count == 0 < asked)


def _nobody_signed_out(figures: Figures) -> Check:
    """By what devices saw, and by what the edge counted: it cleared no more cookies than were asked for."""
    unasked = figures.tally.events[Sign.SIGNED_OUT.value]
    said = f"{unasked} devices were signed out unasked"
    if figures.run is None:
        return Check("nobody_signed_out", f"{said}; nothing is known of the edge's counters", unasked == 0)
    reauth = figures.run.total("edge_user_reauth_errors_total")
    cleared = figures.run.total("edge_actions_total", action="cookie:cleared")
    asked = figures.tally.events["sign_outs_asked"]
    said += f"; the edge counted {reauth} re-auth errors, and {cleared} cleared pairs for {asked} sign-outs"
    return Check("nobody_signed_out", said, unasked == reauth == 0 and cleared <= asked)


def _local_share(window: EdgeCounters | None, tolerance: float) -> Check:
    percent = None if window is None else window.local_percent
    if window is None or percent is None:
        return Check("local_share", "nothing is known of it: the edge's counters were not read", met=False)
    local, remote = (window.total(RESOLUTIONS, where=where) for where in ("local", "remote"))
    said = f"{percent:.2f} % of identities were resolved locally ({local} local, {remote} remote)"
    wanted = f"wanted: {LOCAL_PERCENT:g} ± {tolerance:g}"
    return Check("local_share", f"{said}; {wanted}", abs(percent - LOCAL_PERCENT) <= tolerance)


def _storm(figures: Figures) -> Check:
    remote = 0 if figures.window is None else figures.window.total(RESOLUTIONS, where="remote")
    return Check(
        "storm_came",
        f"{remote} expired cookies were shown by {figures.users} devices",
        remote >= figures.users,
    )
