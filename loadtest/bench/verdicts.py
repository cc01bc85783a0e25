"""What the figures mean, in sentences."""

from dataclasses import dataclass

from loadtest.bench.report import Report

MUCH = 0.1  # of a core: idle, a proxy waited for the load; used by others, they slowed it down


@dataclass(slots=True, frozen=True)
class Goal:
    """What a ratio should reach, and what it must not fall below."""

    ratio: str
    goal: float
    floor: float


GOALS = (Goal("edge_vs_envoy_jwt_hs256_cached", 1.3, 1.0), Goal("edge_vs_nginx", 0.45, 1 / 3))


def verdicts(found: Report) -> list[str]:
    """Return a sentence for each goal that this run can speak of, and one for each figure to be careful with."""
    return [*_goal_sentences(found), *_latency_sentence(found), *_doubts(found)]


def _goal_sentences(found: Report) -> list[str]:
    sentences = []
    for goal in GOALS:
        if goal.ratio in found.ratios:
            ratio = found.ratios[goal.ratio]
            sentences.append(f"{goal.ratio} is {ratio:.2f}: {_compare(ratio, goal)}")
    return sentences


def _compare(ratio: float, goal: Goal) -> str:
    if ratio >= goal.goal:
        return f"the goal of {goal.goal:.2f} is met"
    if ratio >= goal.floor:
        return f"the floor of {goal.floor:.2f} is met, the goal of {goal.goal:.2f} is not"
    return f"neither the floor of {goal.floor:.2f} nor the goal of {goal.goal:.2f} is met"


def _latency_sentence(found: Report) -> list[str]:
    if "edge" not in found.rows or "envoy_jwt_hs256_cached" not in found.rows:
        return []
    ours, theirs = found.rows["edge"].p99_ms, found.rows["envoy_jwt_hs256_cached"].p99_ms
    met = "no worse than" if ours <= theirs else "worse than"
    return [f"The edge's p99 is {ours:.2f} ms, {met} that of Envoy with a warm JWT cache, {theirs:.2f} ms"]


def _doubts(found: Report) -> list[str]:
    rows = found.rows.values()
    doubts = {
        "Waited for wrk or the origin, so faster than shown": [one.name for one in rows if one.idle > MUCH],
        "Shared its core with other programs": [one.name for one in rows if 1 - one.cpu - one.idle > MUCH],
        "Had broken connections or timeouts": [one.name for one in rows if one.broken],
    }
    return [f"{doubt}: {'; '.join(names)}" for doubt, names in doubts.items() if names]
