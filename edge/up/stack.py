"""What `edge up` starts, in which order, with which command line. Pure: addresses in, argument vectors out."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from edge.control.snapshot import Snapshot
from edge.control.values import Address

AUTH_PORT: Final = 8092
SUBSCRIBER_PORT: Final = 8093
_LOOPBACK: Final = "127.0.0.1"
_UI: Final = Path(__file__).parents[2] / "origins_stub" / "ui" / "main.js"

Addresses = Mapping[str, Address]


@dataclass(slots=True, frozen=True)
class Settings:
    """What every child is told. `overrides` are the KEY=VALUE texts of --set.

    `wrong_identities`: SHARE[:SEED] of the answers in which the API, in legacy mode, reports somebody else.
    """

    config: Path
    var: Path
    overrides: tuple[str, ...]
    snapshot: Snapshot
    ephemeral: bool = False
    wrong_identities: str = ""


@dataclass(slots=True, frozen=True)
class Part:
    """One process. `wave`: parts of one wave start together, once those of the wave before are ready.

    `command` returns the argument vector for the real addresses of all parts that are ready, and for this part the
    address that it is to listen on.
    """

    name: str
    what: str
    wave: int
    listen: Address
    command: Callable[[Settings, Addresses], list[str]]


def stack(settings: Settings, node: str | None) -> list[Part]:
    """Return the parts in the order of their waves; each listens where the config looks for it.

    `node` is the path of Node. Without it, or without an origin `ui`, the part `ui` is left out.
    """
    services, snapshot = settings.snapshot.services, settings.snapshot
    origin = next((origin for name, origin in snapshot.origins.items() if name == "api"), None)
    api = origin.addresses[0] if origin is not None and origin.addresses else Address(_LOOPBACK, 8094)
    parts = [
        Part("kms", "keys", 0, _of_url(services.kms.url), _kms),
        Part("subscriber", "who is a member", 1, Address(_LOOPBACK, SUBSCRIBER_PORT), _subscriber),
        Part("cookie", "creates and renews cookies", 2, _of_url(services.cookie.url), _cookie),
        Part("auth", "checks passwords", 2, Address(_LOOPBACK, AUTH_PORT), _auth),
        Part("api", "the origin behind the edge", 3, api, _api),
        Part("edge", "what devices talk to", 4, snapshot.listener.address, _edge),
    ]
    ui = snapshot.origins.get("ui")
    if node is not None and ui is not None and ui.addresses:
        parts.insert(-1, Part("ui", "the origin of pages, in Node", 2, ui.addresses[0], partial(_ui, node)))
    return [_on_free_port(part) for part in parts] if settings.ephemeral else parts


def _on_free_port(part: Part) -> Part:
    return Part(part.name, part.what, part.wave, Address(_LOOPBACK, 0), part.command)


def _kms(settings: Settings, at: Addresses) -> list[str]:
    line = [*_module("services.kms", "kms", settings, at), "--config", str(settings.config / "kms.yaml")]
    # A line for each key fetch would hide the others; the store's access log has them all.
    return [*line, "--log-level", "warning", *_secrets(settings)]


def _subscriber(settings: Settings, at: Addresses) -> list[str]:
    line = [*_module("origins_stub.subscriber", "subscriber", settings, at), *_origin(settings, at, "subscriber")]
    return [*line, *_secrets(settings)]


def _cookie(settings: Settings, at: Addresses) -> list[str]:
    line = _module("services.cookie", "cookie", settings, at)
    line += ["--config", str(settings.config / "cookie.yaml"), "--kms", _url(at["kms"])]
    return [*line, "--subscriber", _url(at["subscriber"]), *_token(settings, "cookie"), *_secrets(settings)]


def _auth(settings: Settings, at: Addresses) -> list[str]:
    line = [*_module("origins_stub.auth", "auth", settings, at), *_origin(settings, at, "auth")]
    checkers = [*_secrets(settings), "--checkers", "legacy"] if _is_legacy(settings) else []
    return [*line, "--subscriber", _url(at["subscriber"]), *checkers]


def _api(settings: Settings, at: Addresses) -> list[str]:
    identity = "legacy" if _is_legacy(settings) else "api"
    line = [*_module("origins_stub.api", "api", settings, at), *_origin(settings, at, identity)]
    # The API tells clients apart by address, and so has to know what the edge believes.
    proxies = ",".join(str(network) for network in settings.snapshot.listener.trusted_proxies)
    line += ["--trusted-proxies", proxies] if proxies else []
    line += ["--auth", _url(at["auth"]), "--subscriber", _url(at["subscriber"])]
    return [*line, *_legacy_mode(settings, at)] if _is_legacy(settings) else line


def _is_legacy(settings: Settings) -> bool:
    """Tell whether the API is to serve without a Passport, too: where the edge may send it cookies."""
    api = settings.snapshot.origins.get("api")
    return api is not None and api.accepts_legacy


def _legacy_mode(settings: Settings, at: Addresses) -> list[str]:
    cookies, environment = settings.snapshot.cookies, settings.snapshot.edge.environment
    names = ["--cookie-names", cookies.insecure_name, cookies.secure_name]
    wrong = ["--wrong-identities", settings.wrong_identities] if settings.wrong_identities else []
    return ["--legacy", "--cookie", _url(at["cookie"]), "--environment", environment, *names, *wrong]


def _ui(node: str, settings: Settings, at: Addresses) -> list[str]:
    line = [node, str(_UI), "--listen", str(at["ui"]), "--var", str(settings.var)]
    return [*line, *_origin(settings, at, "ui")]


def _edge(settings: Settings, at: Addresses) -> list[str]:
    found = list(settings.overrides)
    if settings.ephemeral:
        found += [
            f"services.kms.url={_url(at['kms'])}",
            f"services.cookie.url={_url(at['cookie'])}",
            f"admin.address={at.get('admin', Address(_LOOPBACK, 0))}",
        ]
        # A route may have an origin of its own at the same service, with a breaker and limits of its own.
        origins = settings.snapshot.origins
        api = next((origin.addresses for name, origin in origins.items() if name == "api"), ())
        same = [name for name, origin in origins.items() if name == "api" or (api and origin.addresses == api)]
        found += [f'origins.{name}.addresses=["{at["api"]}"]' for name in same]
        if "ui" in at:
            found.append(f'origins.ui.addresses=["{at["ui"]}"]')
    found.append(f'listener.address="{at["edge"]}"')
    sets = [word for text in found for word in ("--set", text)]
    return [
        sys.executable,
        "-m",
        "edge.cli",
        "run",
        "--config",
        str(settings.config),
        "--var",
        str(settings.var),
        *sets,
    ]


def _module(module: str, name: str, settings: Settings, at: Addresses) -> list[str]:
    return [sys.executable, "-m", module, "--listen", str(at[name]), "--var", str(settings.var)]


def _origin(settings: Settings, at: Addresses, identity: str) -> list[str]:
    domain = settings.snapshot.edge.trust_domain
    return ["--kms", _url(at["kms"]), "--trust-domain", domain, *_token(settings, identity)]


def _token(settings: Settings, identity: str) -> list[str]:
    return ["--token-file", str(settings.var / "secrets" / f"{identity}.token")]


def _secrets(settings: Settings) -> list[str]:
    return ["--secrets", str(settings.var / "secrets")]


def _url(address: Address) -> str:
    return f"http://{address}"


def _of_url(url: str) -> Address:
    parts = urlsplit(url)
    return Address(parts.hostname or _LOOPBACK, parts.port or 80)
