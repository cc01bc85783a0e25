"""Who asks: as many users, each on a device of their own, as there are tokens."""

from dataclasses import dataclass

LIFE_S = 4 * 3600  # of every token here, cookie or JWT: far longer than a run


@dataclass(slots=True, frozen=True)
class Visitor:
    """One user on one device."""

    customer_id: int
    account_owner_id: int
    profile_id: str
    session_id: str
    esn: str
    device_type: int


def visitors(count: int) -> list[Visitor]:
    """Return `count` different visitors, the same ones each time."""
    return [
        Visitor(
            customer_id=1_000_000_000 + number,
            account_owner_id=1_000_000_000 + number - number % 3,
            profile_id=f"profile-{number:08x}",
            session_id=f"{number:032x}",
            esn=f"BENCH-TV-{number:016X}",
            device_type=1 + number % 3,
        )
        for number in range(count)
    ]
