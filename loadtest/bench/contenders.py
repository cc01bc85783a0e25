"""What is measured: one row of the table each."""

from dataclasses import dataclass
from pathlib import Path

from loadtest.bench.processes import Program

NAMES = {
    "edge": "edge",
    "envoy_jwt_hs256_cached": "envoy jwt_authn HS256, cached",
    "envoy_jwt_es256": "envoy jwt_authn ES256",
    "nginx": "nginx proxy_pass",
    "edge_access_log": "edge, access log on",
    "edge_no_cookie": "edge, no cookie",
}  # in the order of a round: the three that use one program are kept apart


@dataclass(slots=True, frozen=True)
class Contender:
    """A running proxy and the requests it gets; `metrics_url` is where it tells how long its filters take."""

    id: str
    program: Program
    url: str
    requests: Path
    metrics_url: str | None = None

    @property
    def name(self) -> str:
        """Its name in the table."""
        return NAMES[self.id]


def in_round_order(contenders: list[Contender]) -> list[Contender]:
    """Return the contenders in the order in which each round asks them."""
    order = list(NAMES)
    return sorted(contenders, key=lambda contender: order.index(contender.id))
