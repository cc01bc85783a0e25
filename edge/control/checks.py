"""What no single key can say: rules between keys and between files. Pure: models in, problems out."""

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Final

from edgepb.passport.v1 import actions_pb2

from edge.control.dial_names import UNKNOWN, type_numbers
from edge.control.dials_file import DialsFile
from edge.control.edge_file import EdgeFile
from edge.control.errors import Place
from edge.control.origins_file import OriginsFile
from edge.control.routing_files import DeviceTypesFile, GrantsFile, RouteRow, RoutesFile
from edge.control.tls import check_listener_tls, check_origin_tls, check_redis_tls, check_service_tls

Problem = tuple[Place, str]

_EDGE_KEYS: Final = {"passport-user", "passport-device"}
_ANY: Final = ("",)


def check_edge(file: EdgeFile) -> Iterator[Problem]:
    """Check edge.yaml: addresses apart, cookie prefixes with what they promise, limits that fit each other."""
    if file.listener.address.port and file.listener.address == file.admin.address:
        yield ("admin", "address"), "is also listener.address: give the admin listener a port of its own"
    if file.limits.max_target_bytes > file.limits.max_head_bytes:
        yield ("limits", "max_target_bytes"), "must not exceed limits.max_head_bytes: the target is part of the head"
    yield from _check_prefix(file)
    for place, problem in check_listener_tls(file.listener.tls):
        yield ("listener", "tls", *place), problem
    proxies = file.listener.proxy_protocol
    if not proxies.trusted_peers and proxies.model_fields_set - {"trusted_peers"}:
        place = ("listener", "proxy_protocol", "header_timeout_s")
        yield place, "means nothing without trusted_peers: name them, or remove this"
    for name, service in (("kms", file.services.kms), ("cookie", file.services.cookie)):
        for place, problem in check_service_tls(service.tls, service.url):
            yield ("services", name, "tls", *place), problem
    if file.keys.stale_after_s < file.services.kms.refresh_s:
        yield ("keys", "stale_after_s"), "must not be less than services.kms.refresh_s: keys would be stale in between"
    for place, problem in _check_sharing(file):
        yield ("services", "renewals", *place), problem
    yield from _check_plain_beside_tls(file)


def _check_sharing(file: EdgeFile) -> Iterator[Problem]:
    sharing = file.services.renewals
    if sharing.redis_url is None:
        for name in sorted(sharing.model_fields_set - {"redis_url"}):
            yield (name,), "means nothing without redis_url: name a Redis, or remove this"
        return
    if sharing.lock_s <= file.services.cookie.timeout_s:
        yield ("lock_s",), "must exceed services.cookie.timeout_s: a renewal that is still going on would be taken over"
    for place, problem in check_redis_tls(sharing.tls, sharing.redis_url):
        yield ("tls", *place), problem


def _check_plain_beside_tls(file: EdgeFile) -> Iterator[Problem]:
    listener, address = file.listener, file.listener.tls.address
    if address is not None and address.port and address in (listener.address, file.admin.address):
        yield ("listener", "tls", "address"), "is taken already: give TLS a port of its own, or leave this out"
    if listener.tls.certificates and address is None and listener.local_plain_http:
        place = ("listener", "local_plain_http")
        yield place, "must be false: listener.address speaks TLS, not plain HTTP, without listener.tls.address"


def _check_prefix(file: EdgeFile) -> Iterator[Problem]:
    name, place = file.cookies.secure_name.lower(), ("cookies", "secure_name")
    if name.startswith(("__host-", "__secure-")) and file.listener.local_plain_http:
        yield place, "must not have a __Host- or __Secure- prefix with listener.local_plain_http: it is not Secure then"
    if name.startswith("__host-") and (file.cookies.path != "/" or file.cookies.domain is not None):
        yield place, "with the prefix __Host- needs cookies.path / and no cookies.domain: browsers drop it otherwise"


def check_routes(file: RoutesFile, origins: OriginsFile | None) -> Iterator[Problem]:
    """Check routes.yaml: unique ids, origins that exist (when they could be read), no two routes for one request."""
    ids: dict[str, int] = {}
    taken: dict[tuple[str, str, str], dict[str, int]] = {}
    for index, row in enumerate(file.routes):
        if row.id in ids:
            yield ("routes", index, "id"), f"is also the id of routes[{ids[row.id]}]: give each route its own"
        ids.setdefault(row.id, index)
        if origins is not None and row.origin not in origins.origins:
            yield ("routes", index, "origin"), _unknown("origin", row.origin, origins.origins)
        yield from _check_overlap(row, index, taken)


def _check_overlap(row: RouteRow, index: int, taken: dict[tuple[str, str, str], dict[str, int]]) -> Iterator[Problem]:
    """A path may be shared by routes that name different methods, and by one exact and one prefix route."""
    methods = row.methods if row.methods is not None else _ANY
    clashes: set[int] = set()
    for host in row.hosts if row.hosts is not None else _ANY:
        held = taken.setdefault((host, row.path, row.match), {})
        if methods == _ANY or "" in held:
            clashes.update(held.values())
        clashes.update(held[method] for method in methods if method in held)
        for method in methods:
            held.setdefault(method, index)
    for other in sorted(clashes):
        yield ("routes", index, "path"), f"is already taken by routes[{other}] for the same host and method"


def check_origins(file: OriginsFile) -> Iterator[Problem]:
    """Check origins.yaml: one place that each origin's addresses come from, TLS keys that fit each other."""
    for name, row in file.origins.items():
        place = ("origins", name, "discovery")
        found = [key for key in ("dns", "file") if getattr(row.discovery, key) is not None]
        if not found and not row.addresses:
            yield ("origins", name, "addresses"), "must have at least one entry, unless discovery says where to look"
        elif found and row.addresses:
            yield (*place, found[0]), "finds the addresses: leave out addresses, or this"
        elif len(found) > 1:
            yield (*place, found[1]), f"must not stand beside {found[0]}: addresses come from one place"
        for inner, problem in check_origin_tls(row.tls):
            yield ("origins", name, "tls", *inner), problem
        if row.tls.enabled and row.discovery.dns is not None and row.tls.server_name is None:
            yield ("origins", name, "tls", "server_name"), "is missing: discovery.dns finds addresses, not names"


def check_grants(file: GrantsFile, edge: EdgeFile | None) -> Iterator[Problem]:
    """Check grants.yaml: keys this edge has, known actions on a part the key may replace, none for the edge's own keys.

    `edge` is None when edge.yaml could not be read.
    """
    purposes = None if edge is None else edge.services.kms.purposes
    if edge is not None and file.grants and edge.passport.integrity_version == 1:
        yield ("grants",), "needs passport.integrity_version 2: in 1 a change would be good on any other request, too"
    by_part = {
        "user": set(actions_pb2.UserAction.keys()) - {"USER_ACTION_UNSPECIFIED"},
        "device": set(actions_pb2.DeviceAction.keys()) - {"DEVICE_ACTION_UNSPECIFIED"},
    }
    known = sorted(by_part["user"] | by_part["device"])
    for key, grant in file.grants.items():
        if key in _EDGE_KEYS:
            yield ("grants", key), "is the edge's own key: a service that changes identities needs a key of its own"
        elif purposes is not None and key not in purposes:
            yield ("grants", key), _unknown("key", key, sorted(purposes))
        for index, action in enumerate(grant.actions):
            place = ("grants", key, "actions", index)
            if action not in known:
                yield place, _unknown("action", action, known)
            elif not any(action in by_part[part] for part in grant.parts):
                yield place, "changes a part that this key may not replace: add the part to parts"


def check_device_types(file: DeviceTypesFile) -> Iterator[Problem]:
    """Check device_types.yaml: one number for each name."""
    seen: dict[str, int] = {}
    for number, name in file.device_types.items():
        if name in seen:
            yield ("device_types", number), f"has the same name as {seen[name]}: give each type its own"
        if name == UNKNOWN:
            yield ("device_types", number), "is the name of type 0, of devices whose type is not known: take another"
        seen.setdefault(name, number)


def check_dials(
    file: DialsFile, origins: OriginsFile | None, device_types: DeviceTypesFile | None
) -> Iterator[Problem]:
    """Check dials.yaml: origins and device types that exist, where their files could be read."""
    types = None if device_types is None else type_numbers(device_types.device_types)
    for feature, row in file.dials.items():
        rows: dict[Place, Mapping[str, int]] = {(): row.device_types}
        for origin, there in row.origins.items():
            rows["origins", origin] = there.device_types
            if origins is not None and origin not in origins.origins:
                yield ("dials", feature.value, "origins", origin), _unknown("origin", origin, origins.origins)
        for place, named in rows.items():
            for name in named if types is not None else ():
                if types is not None and name not in types:
                    yield ("dials", feature.value, *place, "device_types", name), _unknown("device type", name, types)


def _unknown(what: str, name: str, known: Iterable[str]) -> str:
    known = sorted(known)
    close = get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"
    return f"there is no {what} {name!r}: {hint}"
