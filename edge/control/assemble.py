"""From checked models to the snapshot: defaults that one file takes from another, and the route table."""

from pathlib import Path
from types import MappingProxyType

from edge.contract.route import AuthPolicy, Priority, Route, UpgradePolicy
from edge.control.dials_file import DialsFile
from edge.control.edge_file import EdgeFile, FilterLimits
from edge.control.origins_file import OriginRow, OriginsFile
from edge.control.routes import Entry, RouteTable
from edge.control.routing_files import LEVELS, DeviceTypesFile, GrantsFile, RouteRow, RoutesFile
from edge.control.snapshot import AccessLogTarget, FilterOverride, Grant, MadeOf, Origin, Snapshot
from edge.control.token_file import HeldTokens


def assemble(
    edge: EdgeFile,
    routes: RoutesFile,
    origins: OriginsFile,
    grants: GrantsFile,
    device_types: DeviceTypesFile,
    *,
    dials: DialsFile,
    var: Path,
    made_of: MadeOf,
    tokens: HeldTokens,
) -> Snapshot:
    """Build the snapshot of models that have passed every check."""
    return Snapshot(
        edge=edge.edge,
        listener=edge.listener,
        admin=edge.admin,
        debug=edge.debug,
        limits=edge.limits,
        timeouts=edge.timeouts,
        shedding=edge.shedding,
        cookies=edge.cookies,
        passport=edge.passport,
        renewal=edge.renewal,
        revocations=edge.revocations,
        shadow=edge.shadow,
        services=edge.services,
        keys=edge.keys,
        filters=MappingProxyType({name: _filter(limits) for name, limits in edge.filters}),
        access_log=AccessLogTarget(_log_path(edge.access_log.path, var)),
        origins=MappingProxyType({name: _origin(name, row, edge) for name, row in origins.origins.items()}),
        routes=RouteTable(_entry(row, edge, origins) for row in routes.routes),
        grants=MappingProxyType(
            {key: Grant(frozenset(row.parts), frozenset(row.actions)) for key, row in grants.grants.items()}
        ),
        device_types=MappingProxyType(dict(device_types.device_types)),
        dials=dials.named(),
        var=var,
        made_of=made_of,
        tokens=tokens,
    )


def _filter(limits: FilterLimits) -> FilterOverride:
    return FilterOverride(limits.deadline_s, limits.concurrency)


def _log_path(path: str, var: Path) -> str:
    return path if path in {"stdout", "off"} else str(var / path)


def _origin(name: str, row: OriginRow, edge: EdgeFile) -> Origin:
    return Origin(
        id=name,
        addresses=row.addresses,
        discovery=row.discovery.dns or row.discovery.file,
        health_check=row.health_check,
        max_connections=row.max_connections,
        max_waiting=row.max_waiting,
        wait_timeout_s=row.wait_timeout_s,
        max_connections_per_address=row.max_connections_per_address,
        max_connection_age_s=row.max_connection_age_s,
        max_requests_per_connection=row.max_requests_per_connection,
        warm_up_s=row.warm_up_s,
        ejection=row.ejection,
        idle_timeout_s=row.idle_timeout_s,
        connect_timeout_s=_or(row.connect_timeout_s, edge.timeouts.connect_s),
        receive_buffer_bytes=row.receive_buffer_bytes,
        accepts_legacy=row.accepts_legacy,
        tls=row.tls,
        breaker=row.breaker.settings(),
        concurrency_limit=row.concurrency_limit.settings(),
        retry_budget=row.retry_budget.settings(),
        retry_backoff_s=row.retry_backoff_s,
    )


def _entry(row: RouteRow, edge: EdgeFile, origins: OriginsFile) -> Entry:
    route = Route(
        id=row.id,
        origin=row.origin,
        auth=AuthPolicy(
            LEVELS[row.auth.user], LEVELS[row.auth.device], row.auth.on_bad_token, row.auth.max_staleness_s
        ),
        normalise_path=row.normalise_path,
        max_request_body_bytes=_size_or(row.max_request_body_bytes, edge.limits.max_request_body_bytes),
        request_timeout_s=_or(row.request_timeout_s, edge.timeouts.request_s),
        response_head_timeout_s=_or(row.response_head_timeout_s, edge.timeouts.response_head_s),
        idle_timeout_s=_or(row.idle_timeout_s, edge.timeouts.idle_s),
        priority=Priority[row.priority.upper()],
        min_request_bytes_per_s=_size_or(row.min_request_bytes_per_s, edge.limits.min_request_bytes_per_s),
        min_response_bytes_per_s=_size_or(row.min_response_bytes_per_s, edge.limits.min_response_bytes_per_s),
        upgrade=_upgrade(row, edge),
        retries=row.retries,
        long_poll=row.long_poll,
        accepts_legacy=origins.origins[row.origin].accepts_legacy,
    )
    return Entry(
        route,
        row.path.encode(),
        exact=row.match == "exact",
        hosts=None if row.hosts is None else tuple(host.encode() for host in row.hosts),
        methods=None if row.methods is None else tuple(method.encode() for method in row.methods),
    )


def _upgrade(row: RouteRow, edge: EdgeFile) -> UpgradePolicy | None:
    if not row.upgrade:
        return None
    return UpgradePolicy(
        frozenset(protocol.encode() for protocol in row.upgrade),
        idle_timeout_s=_or(row.upgrade_idle_timeout_s, edge.timeouts.upgrade_idle_s),
        life_s=_or(row.upgrade_life_s, edge.timeouts.upgrade_life_s),
    )


def _size_or(value: int | None, default: int) -> int:
    return default if value is None else value


def _or(value: float | None, default: float) -> float:
    return default if value is None else value
