"""What can be run by name: the reference mix, and shapes that are harder than any usual day."""

from dataclasses import dataclass
from typing import Final

from loadtest.locust.dialled import Rollout
from loadtest.locust.visits import USUAL, Habits, Step

BEAT_LIVES = 1.5  # between two renewal storms: every cookie has expired by the next


@dataclass(slots=True, frozen=True)
class Scenario:
    """One way to put load on.

    Attributes:
        name: as it is called.
        says: what happens, for `--help`.
        users: how many devices, unless told.
        sign_ins: how many sign in at a time, in each process of Locust; None: whoever comes.
        habits: how they differ from the table.
        from_start: whether all of it is measured, signing in included, for as long as that takes.
        beats: whether all visits begin together, each time after all cookies have expired.
        reference: whether the share of local resolutions is that of the reference mix.
        shows: steps that must have been taken, or the run has not shown what it is for.
        rollout: what is done with dials, in front of origins that accept legacy traffic, with shadow; None: nothing.
    """

    name: str
    says: str
    users: int
    sign_ins: int | None = 1
    habits: Habits = USUAL
    from_start: bool = False
    beats: bool = False
    reference: bool = False
    shows: tuple[Step, ...] = (Step.SIGN_IN, Step.BROWSE)
    rollout: Rollout | None = None


SCENARIOS: Final = {
    one.name: one
    for one in (
        Scenario("reference", "all types of devices with the habits of the table", 80, reference=True),
        Scenario(
            "login_storm",
            "all devices sign in at one moment, and ask again later where they are told to wait",
            40,
            sign_ins=None,
            from_start=True,
        ),
        Scenario(
            "renewal_storm",
            "all cookies expire while nobody asks, then all devices come back at one moment",
            80,
            beats=True,
        ),
        Scenario(
            "profile_switches",
            "every visit begins with another profile, and every fifth request switches again",
            80,
            habits=Habits(switch=1.0, switch_each=0.2),
            shows=(Step.PROFILES, Step.SWITCH),
        ),
        Scenario(
            "sign_outs",
            "every visit ends with a sign-out, every next one begins with a sign-in",
            24,
            habits=Habits(sign_out=1.0),
            shows=(Step.SIGN_IN, Step.SIGN_OUT, Step.SIGNED_OUT),
        ),
        Scenario(
            "rollout",
            "the dial of televisions is turned up and back, that of phones stands at half; shadow is on",
            60,
            # Everybody is there often enough to be seen at each position. A legacy origin knows no profiles.
            habits=Habits(switch=0.0, away_h=(1.0, 4.0)),
            rollout=Rollout("television", (0, 5, 50, 100, 50, 5, 0), {"phone": 50}),
        ),
    )
}


def to_next_beat(now: float, life_s: float) -> float:
    """Return the seconds from `now` (epoch seconds) to the next storm: the same moment in all processes."""
    period_s = BEAT_LIVES * life_s
    return period_s - now % period_s
