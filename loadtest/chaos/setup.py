"""The configuration that a scenario runs the edge with: the shipped one, with origins and routes of its own."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

FAULTY, CALM = "faulty", "calm"
OPEN, OPEN_FAULTY = "open", "open_faulty"  # the same origins, for anybody
HOST = "faulty.chaos.test"


@dataclass(slots=True, frozen=True)
class Setup:
    """What is particular to a scenario.

    `through_proxy` puts a gate of the fault proxy before each address of the origin `faulty`; `origin` and `calm` are
    further keys of the two origins, `routes` of every route, `more_routes` whole routes; `edge` overrides edge.yaml by
    dotted key, with `{home}` for the directory of the scenario; `workers` None means as many as the settings say.
    `pipe` is a named pipe to make in that directory. With `dns`, the addresses of `faulty` are those of a name. `names`
    makes an origin and a route of each address instead, which all speak TLS with the certificate of that name. With
    `bugs`, the workers have the filters of `inside/`.
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
    pipe: str | None = None
    dns: bool = False
    names: Sequence[str] = ()
    bugs: bool = False


def route(name: str, origin: str, more: Mapping[str, object], user: str = "low") -> dict[str, object]:
    """Return a route at the path of its name."""
    return {"id": name, "path": f"/{name}", "origin": origin, "auth": {"user": user, "device": "none"}, **more}


def write_config(
    setup: Setup, shipped: Path, home: Path, faulty: Sequence[str], calm: str, *, name_server: int | None
) -> None:
    """Write the directory `config` into `home`; `faulty` and `calm` are addresses, `name_server` a port."""
    directory = home / "config"
    directory.mkdir()
    for file in shipped.glob("*.yaml"):
        shutil.copy(file, directory)
    origins: dict[str, object] = {CALM: {"addresses": [calm], **setup.calm}}
    if setup.names:
        pairs = zip(setup.names, faulty, strict=True)
        origins.update({name: {"addresses": [address], **setup.origin} for name, address in pairs})
    elif name_server is not None:
        origins[FAULTY] = {"discovery": _by_name(faulty[0], name_server), **setup.origin}
    else:
        origins[FAULTY] = {"addresses": list(faulty), **setup.origin}
    routes = [
        *(route(name, name, setup.routes) for name in setup.names or [FAULTY]),
        route(CALM, CALM, setup.routes),
        route(OPEN, CALM, setup.routes, user="none"),
        *([] if setup.names else [route(OPEN_FAULTY, FAULTY, setup.routes, user="none")]),
        *setup.more_routes,
    ]
    _write(directory / "origins.yaml", {"origins": origins}, home)
    _write(directory / "routes.yaml", {"routes": routes}, home)


def _by_name(address: str, name_server: int) -> dict[str, object]:
    servers = [f"127.0.0.1:{name_server}"]
    refresh = {"timeout_s": 0.5, "min_refresh_s": 0.3, "max_refresh_s": 0.6}
    return {"dns": {"name": f"{HOST}:{address.rpartition(':')[2]}", "servers": servers, **refresh}}


def _write(file: Path, values: object, home: Path) -> None:
    # By way of JSON, so that a value used twice becomes two: the edge reads no YAML aliases.
    placed = json.loads(json.dumps(values).replace("{home}", str(home)))
    file.write_text(yaml.safe_dump(placed, sort_keys=False))
