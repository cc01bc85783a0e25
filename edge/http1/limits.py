"""How much of a message head is read before it is refused."""

from dataclasses import dataclass


@dataclass(slots=True, frozen=True)
class HeadLimits:
    """Bounds of one head; `max_head_bytes` counts the start line, and bounds trailer sections too."""

    max_target_bytes: int = 8192
    max_head_bytes: int = 32768
    max_headers: int = 100
