"""What is measured: one row of the table each."""

from dataclasses import dataclass
from pathlib import Path

from loadtest.bench.checks import Target
from loadtest.bench.processes import Program

NAMES = {
    "edge": "edge",
    "envoy_jwt_hs256_cached": "envoy jwt_authn HS256, cached",
    "envoy_jwt_es256": "envoy jwt_authn ES256",
    "nginx": "nginx proxy_pass",
    "edge_access_log": "edge, access log on",
    "edge_no_cookie": "edge, no cookie",
    "edge_interpreted": "edge, not compiled",
}  # in the order of a round: edges are kept apart


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

    @property
    def target(self) -> Target:
        """What the checks ask."""
        return Target(self.name, self.url)


def round_position(contender_id: str) -> int:
    """Return a contender's place in each round."""
    return list(NAMES).index(contender_id)
