"""What must have come out of a run in which dials were turned. Pure: figures in, checks out."""

from collections.abc import Iterator, Mapping

from loadtest.locust.check import Check
from loadtest.locust.dialled import FEATURE, LEGACY, PASSPORT, Rollout
from loadtest.locust.edge_counters import EdgeCounters
from loadtest.locust.figures import Figures
from loadtest.locust.tally import Tally

SHARE_TOLERANCE = 5.0
"""Points that the share of devices in legacy mode may be off, beside the one device that makes no whole share."""
_ALIKE = frozenset({"same", "not_compared"})


def rollout_checks(figures: Figures, rollout: Rollout) -> Iterator[Check]:
    """Judge a run by what devices saw, and by what the edge counted until all of it was told."""
    yield _turned(figures, rollout)
    yield _as_the_dial_says(figures.tally)
    yield _shares(figures.tally, rollout)
    if figures.settled is None:
        yield Check("decisions_agree", "nothing is known of the edge's counters", met=False)
        return
    yield _decisions(figures.tally, figures.settled)
    yield _wrong_identities(figures.tally, figures.settled)


def shares(tally: Tally) -> dict[str, dict[int, tuple[int, int]]]:
    """Return by device type and percentage how many devices were served in legacy mode, and how many there were."""
    found: dict[str, dict[int, tuple[int, int]]] = {}
    for name, count in sorted(tally.modes.items()):
        device_type, _, place = name.partition(" at ")
        if place:
            percent, _, mode = place.partition(" ")
            legacy, all_ = found.setdefault(device_type, {}).get(int(percent), (0, 0))
            found[device_type][int(percent)] = (legacy + count * (mode == LEGACY), all_ + count)
    return {device_type: dict(sorted(by.items())) for device_type, by in found.items()}


def seeded(tally: Tally) -> dict[str, int]:
    """Return how often the origin reported what was wrong, by "TYPE DIFFERENCE"."""
    split = ((name.partition(" reported "), count) for name, count in tally.modes.items())
    return dict(sorted((f"{kind} {difference}", count) for (kind, _, difference), count in split if difference))


def found(settled: EdgeCounters) -> dict[str, int]:
    """Return how often shadow found a difference, by "TYPE DIFFERENCE"."""
    compared = settled.by("edge_shadow_comparisons_total", "device_type", "result")
    return dict(sorted((name, count) for name, count in compared.items() if name.split()[-1] not in _ALIKE))


def _turned(figures: Figures, rollout: Rollout) -> Check:
    failed = [one.said for one in figures.turns if not one.done]
    wanted = [
        percent for before, percent in zip((0, *rollout.course), rollout.course, strict=False) if percent != before
    ]
    course = [one.percent for one in figures.turns if one.device_type == rollout.turned]
    said = f"{rollout.turned} 0 % → " + " → ".join(f"{one} %" for one in course)
    said += "".join(f"; {name} {percent} %" for name, percent in rollout.standing.items())
    return Check("dials_turned", "; ".join([said, *failed]), not failed and course == wanted)


def _as_the_dial_says(tally: Tally) -> Check:
    against = {name.partition(" ")[0]: count for name, count in tally.modes.items() if name.endswith(" against_dial")}
    answers = sum(tally.modes[name] for name in tally.modes if name.split()[1:] in ([LEGACY], [PASSPORT]))
    said = f"{sum(against.values())} of {answers} answers came in the mode that the dial does not say for that device"
    return Check("served_as_the_dial_says", said + _listed(against), not against and answers > 0)


def _shares(tally: Tally, rollout: Rollout) -> Check:
    seen, off = shares(tally), []
    wanted = {(rollout.turned, percent) for percent in rollout.course} | set(rollout.standing.items())
    for device_type, percent in sorted(wanted):
        legacy, all_ = seen.get(device_type, {}).get(percent, (0, 0))
        if not all_ or abs(100 * legacy / all_ - (100 - percent)) > SHARE_TOLERANCE + 100 / all_:
            off.append(f"{legacy} of {all_} {device_type}s were in legacy mode at {percent} %")
    said = f"at each position within {SHARE_TOLERANCE:g} points and one device of what it says: "
    return Check("share_in_legacy", said + ("; ".join(off) or "all"), not off)


def _decisions(tally: Tally, settled: EdgeCounters) -> Check:
    decided = settled.by("edge_rollout_decisions_total", "device_type", "on", feature=FEATURE)
    decided = {name.replace(" true", f" {PASSPORT}").replace(" false", f" {LEGACY}"): n for name, n in decided.items()}
    served = {name: n for name, n in tally.modes.items() if n and name.split()[1:] in ([LEGACY], [PASSPORT])}
    said = f"the edge decided {sum(decided.values())} times, devices were answered {sum(served.values())} times"
    return Check("decisions_agree", said + _differences(decided, served), decided == served and bool(served))


def _wrong_identities(tally: Tally, settled: EdgeCounters) -> Check:
    wanted, got = seeded(tally), found(settled)
    compared = settled.total("edge_shadow_comparisons_total")
    missed = sum(max(0, count - got.get(name, 0)) for name, count in wanted.items())
    invented = sum(max(0, count - wanted.get(name, 0)) for name, count in got.items())
    said = f"{sum(got.values())} found of {sum(wanted.values())} seeded, in {compared} comparisons: "
    said += f"{missed} missed, {invented} invented" + _differences(got, wanted)
    return Check("wrong_identities_found", said, bool(wanted) and missed == invented == 0)


def _differences(edge: Mapping[str, int], devices: Mapping[str, int]) -> str:
    names = sorted(name for name in edge.keys() | devices.keys() if edge.get(name, 0) != devices.get(name, 0))
    return "".join(f"; {name}: {edge.get(name, 0)} by the edge, {devices.get(name, 0)} by devices" for name in names)


def _listed(counts: Mapping[str, int]) -> str:
    return "".join(f"; {name} {count}" for name, count in sorted(counts.items()))
