"""The configuration that a scenario runs the edge with: the shipped one, with origins and routes of its own."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

FAULTY, CALM = "faulty", "calm"


@dataclass(slots=True, frozen=True)
class Setup:
    """What is particular to a scenario.

    `through_proxy` puts a gate of the fault proxy before each address of the origin `faulty`; `origin` and `calm` are
    further keys of the two origins, `routes` of every route, `more_routes` whole routes; `edge` overrides edge.yaml by
    dotted key; `workers` None means as many as the settings say.
    """

    addresses: int = 4
    through_proxy: bool = True
    workers: int | None = None
    origin: Mapping[str, object] = field(default_factory=dict)
    calm: Mapping[str, object] = field(default_factory=dict)
    routes: Mapping[str, object] = field(default_factory=dict)
    more_routes: Sequence[Mapping[str, object]] = ()
    edge: Mapping[str, object] = field(default_factory=dict)
    fd_limit: int | None = None


def route(name: str, origin: str, more: Mapping[str, object], user: str = "low") -> dict[str, object]:
    """Return a route at the path of its name."""
    return {"id": name, "path": f"/{name}", "origin": origin, "auth": {"user": user, "device": "none"}, **more}


def write_config(setup: Setup, shipped: Path, directory: Path, faulty: Sequence[str], calm: Sequence[str]) -> None:
    """Write a configuration directory; `faulty` and `calm` are the addresses of the two origins."""
    directory.mkdir(exist_ok=True)
    for file in shipped.glob("*.yaml"):
        shutil.copy(file, directory)
    origins = {
        FAULTY: {"addresses": list(faulty), **setup.origin},
        CALM: {"addresses": list(calm), **setup.calm},
    }
    routes = [route(FAULTY, FAULTY, setup.routes), route(CALM, CALM, setup.routes), *setup.more_routes]
    (directory / "origins.yaml").write_text(yaml.safe_dump({"origins": origins}, sort_keys=False))
    (directory / "routes.yaml").write_text(yaml.safe_dump({"routes": routes}, sort_keys=False))
