"""The composition root of a worker. The only module that imports filters.

Two lives: what belongs to the worker (keys, sessions, clients, recorder, engine) goes on for as long as it does; what
follows from a snapshot (filters, chains, routes, pools) is built anew for each, and swapped by `Engine.adopt`.
"""

import asyncio
import hashlib
import random
import ssl
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import aiohttp
import structlog

from edge.clients.cookie_service import CookieServiceClient
from edge.clients.kms import KeyRings
from edge.clients.revocations import RevocationFeed
from edge.clients.sign_outs import SignOuts
from edge.contract.dials import Dials
from edge.contract.exchange import TokenKind
from edge.contract.filters import InboundFilter, OutboundFilter
from edge.contract.ports import CookiePair, CookieService, Revocations, SharedRenewals
from edge.contract.rollout import Rollout
from edge.control.guards import BreakerSection
from edge.control.snapshot import Snapshot
from edge.control.token_file import read_token
from edge.guard.revoked import RevokedTokens
from edge.guard.shedding import PARTS
from edge.net.certificate_watch import CertificateFiles, CertificateWatch
from edge.net.descriptors import raise_descriptor_limit
from edge.net.tls_listener import ListenerCertificates
from edge.relay.chain import Chain, inbound_chain, outbound_chain
from edge.relay.engine import Engine
from edge.relay.watchdog import Watchdog
from edge.telemetry.access_log import AccessLog
from edge.telemetry.events import STDOUT, event_sink
from edge.telemetry.log_line import LineWriter
from edge.telemetry.metrics import WorkerMetrics, count
from edge.telemetry.rollout import RolloutRecorder
from edge.telemetry.telemetry import Telemetry
from edge.upstream.watch import OriginWatch
from filters import order
from filters.adapters.cookie import CookieAdapter
from filters.inbound.authorise import AuthoriseFilter
from filters.inbound.cookie import CookieFilter
from filters.inbound.device import DeviceFilter
from filters.inbound.hygiene import HygieneFilter
from filters.inbound.passport import PassportFilter
from filters.inbound.renew import RenewalLimits, RenewFilter
from filters.inbound.rollout import RolloutFilter
from filters.outbound.passport_actions import PassportActionsFilter
from filters.outbound.scrub import ScrubFilter
from filters.outbound.shadow import ShadowFilter
from filters.outbound.tokens import TokensFilter
from filters.renewals import Renewals
from passport.key_snapshot import SnapshotFile, SnapshotSealer
from passport.kms import KmsClient
from passport.returned import Grant
from resilience.breaker import Breaker
from tokens.cookie import Claims, CookieNames, open_pair
from tokens.set_cookie import CookieAttributes

if TYPE_CHECKING:
    from edge.clients.renewals import RedisRenewals

_log = structlog.get_logger("edge.worker")
_IDENTITY: Final = "edge"


def _breaker(service: str, settings: BreakerSection, metrics: WorkerMetrics) -> Breaker:
    return Breaker(settings.settings(), time.monotonic, random.random, metrics.breaker(f"service:{service}"))


def service_token(snapshot: Snapshot, path: Path, metrics: WorkerMetrics) -> str:
    """Return the token in a file by now or, where the file cannot be used, the one that was there when it was checked.

    A worker that starts in the place of another must not fail for a file that went. Raises OSError and ValueError where
    nothing is known of the file either.
    """
    try:
        token = read_token(path)
    except (OSError, ValueError) as problem:
        held = snapshot.tokens.get(path)
        if held is None:
            raise
        if str(path) not in metrics.token_files_unusable:
            metrics.token_files_unusable.add(str(path))
            _log.error("token_file_unusable", problem=str(problem), hint="what it held before is used: put it back")
        return held
    metrics.token_files_unusable.discard(str(path))
    return token


def key_rings(snapshot: Snapshot, session: aiohttp.ClientSession, metrics: WorkerMetrics) -> KeyRings:
    """Return the holder of this worker's keys, not yet started."""
    kms, max_age_s = snapshot.services.kms, snapshot.keys.snapshot_max_age_s
    token = service_token(snapshot, kms.token_file, metrics)
    client = KmsClient(session, str(kms.url), token, kms.timeout_s)
    breaker = _breaker("kms", kms.breaker, metrics)
    sealer = SnapshotSealer(token, _IDENTITY, snapshot.edge.environment)
    file = SnapshotFile(snapshot.var / f"keys.{_IDENTITY}.snapshot", sealer, max_age_s) if max_age_s else None
    return KeyRings(
        client,
        kms.purposes,
        refresh_s=kms.refresh_s,
        stale_after_s=snapshot.keys.stale_after_s,
        breaker=breaker,
        metrics=metrics,
        file=file,
    )


def cookie_service(snapshot: Snapshot, session: aiohttp.ClientSession, metrics: WorkerMetrics) -> CookieServiceClient:
    """Return the adapter of the cookie service."""
    settings = snapshot.services.cookie
    return CookieServiceClient(
        session,
        str(settings.url),
        service_token(snapshot, settings.token_file, metrics),
        timeout_s=settings.timeout_s,
        create_timeout_s=settings.create_timeout_s,
        concurrency=settings.concurrency,
        breaker=_breaker("cookie", settings.breaker, metrics),
        sign_in_breaker=_breaker("cookie_sign_in", settings.breaker, metrics),
        sign_out_breaker=_breaker("cookie_sign_out", settings.breaker, metrics),
        metrics=metrics,
    )


def revocation_feed(snapshot: Snapshot, session: aiohttp.ClientSession, metrics: WorkerMetrics) -> RevocationFeed:
    """Return what keeps this worker's revocations up to date, not yet started."""
    settings, service = snapshot.revocations, snapshot.services.cookie
    revoked = RevokedTokens(settings.keep_s, settings.max_entries, time.time())

    def gauges(into: WorkerMetrics) -> None:
        into.revocations, into.revocations_forgotten = len(revoked), revoked.forgotten_early

    metrics.sources.append(gauges)
    token = service_token(snapshot, service.token_file, metrics)
    return RevocationFeed(session, str(service.url), token, revoked, wait_s=settings.wait_s, metrics=metrics)


def shared_renewals(snapshot: Snapshot, tls: ssl.SSLContext | None, metrics: WorkerMetrics) -> "RedisRenewals | None":
    """Return what shares renewals with other workers and edges, None where the config names no Redis.

    Raises OSError and ValueError for a file that cannot be used, ValueError when the client of Redis is not installed.
    """
    settings = snapshot.services.renewals
    if settings.redis_url is None:
        return None
    try:
        # Here, because it is an extra, and 6 MB of memory.
        from edge.clients.redis_pipeline import redis_pipeline  # noqa: PLC0415
        from edge.clients.renewals import RedisRenewals  # noqa: PLC0415
    except ModuleNotFoundError:
        raise ValueError("Redis needs its client: install edge-passport[redis]") from None
    file = settings.password_file
    password = None if file is None else service_token(snapshot, file, metrics)
    return RedisRenewals(
        redis_pipeline(settings, password, tls),
        snapshot.edge.environment,
        lock_s=settings.lock_s,
        breaker=_breaker("renewals", settings.breaker, metrics),
        metrics=metrics,
    )


def renewals(shared: SharedRenewals | None) -> Renewals:
    """Return what a worker knows of its renewals, for all filters that it will have."""
    return Renewals(shared)


def sign_outs(snapshot: Snapshot, cookies: CookieService, metrics: WorkerMetrics) -> SignOuts:
    """Return the sign-outs of a worker, for all filters that it will have."""
    settings = snapshot.services.cookie
    made = SignOuts(cookies, retry_s=settings.sign_out_retry_s, max_pending=settings.max_sign_outs)

    def gauges(into: WorkerMetrics) -> None:
        into.sign_outs, into.sign_outs_pending = dict(made.counts), len(made)

    metrics.sources.append(gauges)
    return made


def telemetry(snapshot: Snapshot, metrics: WorkerMetrics) -> Telemetry:
    """Return the recorder of finished exchanges, with the access log that the config asks for."""
    target = snapshot.access_log.path
    if target == "off":
        return Telemetry(metrics, None)
    token = service_token(snapshot, snapshot.services.kms.token_file, metrics)
    return Telemetry(metrics, AccessLog(STDOUT if target == "stdout" else Path(target)), line_writer(token))


def line_writer(token: str) -> LineWriter:
    """Return what formats the access log of an edge with that token.

    The hash key must agree between workers and mean nothing outside: it is derived from the edge's own token.
    """
    return LineWriter(hashlib.blake2b(token.encode(), digest_size=32, person=b"edge-access-log").digest())


def build_filters(
    snapshot: Snapshot,
    keys: KeyRings,
    cookies: CookieService,
    revocations: Revocations | None = None,
    under_way: Renewals | None = None,
    *,
    signing_out: SignOuts | None = None,
    metrics: WorkerMetrics | None = None,
    dials: Dials,
    rollout: Rollout,
) -> tuple[list[InboundFilter], list[OutboundFilter]]:
    """Return both lists, in the order of `filters/order.py`.

    `under_way` and `signing_out` go on from the filters before these; what comes back from origins is counted in
    `metrics`. Raises OSError and ValueError for a bad key file.
    """
    settings, renewal, edge = snapshot.cookies, snapshot.renewal, snapshot.edge
    names = CookieNames(settings.insecure_name, settings.secure_name)
    debug_key = _debug_key(snapshot.debug.key_file)
    grants = {purpose: Grant.named(grant.parts, grant.actions) for purpose, grant in snapshot.grants.items()}
    attributes = CookieAttributes(
        names,
        path=settings.path,
        domain=settings.domain or "",
        same_site=settings.same_site,
        secure=not snapshot.listener.local_plain_http,
    )

    def session_of(pair: CookiePair, customer_id: int, now: float) -> str | None:
        """Return the session of a pair that is made under our keys, names and environment, for that customer."""
        claims = open_pair(keys.ring, names, edge.environment, (pair.insecure, pair.secure), now)
        return claims.session_id if isinstance(claims, Claims) and claims.customer_id == customer_id else None

    remembered = Renewals() if under_way is None else under_way
    cookie = CookieAdapter(attributes, cookies, remembered, session_of, wait_s=renewal.wait_beside_s)
    authenticator = CookieFilter(
        keys,
        names,
        edge.environment,
        settings.cache_entries,
        revocations=revocations,
        on_unknown_key=keys.refresh_soon,
        keys_stale=keys.stale,
    )
    inbound: dict[type, InboundFilter] = {
        HygieneFilter: HygieneFilter(snapshot.listener.trusted_proxies, debug_key),
        RolloutFilter: RolloutFilter(dials, authenticator, snapshot.device_types, rollout, remembered),
        CookieFilter: authenticator,
        RenewFilter: RenewFilter(
            cookies,
            keys,
            names,
            edge.environment,
            RenewalLimits(
                wait_s=renewal.wait_s,
                overlap_s=renewal.overlap_s,
                reschedule_life_s=renewal.reschedule_life_s,
                max_renewals=renewal.max_renewals,
                max_waiting=renewal.max_waiting,
                remembered=renewal.remembered,
            ),
            renewals=remembered,
        ),
        DeviceFilter: DeviceFilter(snapshot.device_types),
        AuthoriseFilter: AuthoriseFilter(),
        PassportFilter: PassportFilter(
            keys,
            issuer=edge.id,
            trust_domain=edge.trust_domain,
            ttl_s=snapshot.passport.ttl_s,
            integrity_version=snapshot.passport.integrity_version,
            cache_entries=settings.cache_entries,
        ),
    }
    outbound: dict[type, OutboundFilter] = {
        PassportActionsFilter: PassportActionsFilter(
            keys, grants, None if metrics is None else metrics.passport_returned
        ),
        ShadowFilter: ShadowFilter(rollout),
        TokensFilter: TokensFilter(
            {TokenKind.NONE: cookie, TokenKind.COOKIE: cookie},
            SignOuts(cookies) if signing_out is None else signing_out,
        ),
        ScrubFilter: ScrubFilter(),
    }
    return [inbound[kind] for kind, _ in order.INBOUND], [outbound[kind] for kind, _ in order.OUTBOUND]


def rollout_recorder(snapshot: Snapshot, metrics: WorkerMetrics) -> RolloutRecorder:
    """Return what counts the dials' decisions, and logs what shadowing finds under the hashes of the access log."""
    token = service_token(snapshot, snapshot.services.kms.token_file, metrics)
    samples = snapshot.shadow.max_samples_per_s
    return RolloutRecorder(metrics, line_writer(token), snapshot.device_types, samples, time.monotonic)


def _debug_key(path: Path | None) -> bytes:
    """Return the debug key; empty, which nobody can show, without one.

    Who accepted the configuration has seen a key in the file. If it went since, no worker must fail to start for it.
    """
    if path is None:
        return b""
    try:
        return read_token(path).encode()
    except (OSError, ValueError) as problem:
        _log.warning("debug_key_unusable", problem=str(problem), hint="nobody is told why the edge answers itself")
        return b""


def chains(
    snapshot: Snapshot, filters: tuple[list[InboundFilter], list[OutboundFilter]], metrics: WorkerMetrics
) -> tuple[Chain, Chain]:
    """Return both chains over the filters of one snapshot; what filters cost goes on being counted in one place."""
    inbound, outbound = filters
    return (
        inbound_chain(inbound, snapshot.filters, metrics.filter_cost, report_failure),
        outbound_chain(outbound, snapshot.filters, metrics.filter_cost, report_failure),
    )


def build_engine(
    snapshot: Snapshot,
    filters: tuple[list[InboundFilter], list[OutboundFilter]],
    recorder: Telemetry,
    loop: asyncio.AbstractEventLoop,
) -> Engine:
    """Return the data plane of one worker, whose process is given all the file descriptors it may have."""
    metrics = recorder.metrics
    inbound, outbound = chains(snapshot, filters, metrics)
    engine = Engine(
        snapshot,
        inbound=inbound,
        outbound=outbound,
        telemetry=recorder,
        loop=loop,
        clock=time.monotonic,
        wall=time.time,
        report=report_failure,
        watch=OriginWatch(metrics),
        descriptors=raise_descriptor_limit(),
    )

    def gauges(into: WorkerMetrics) -> None:
        into.events_dropped = event_sink().dropped
        into.max_connections = engine.max_connections
        into.connections["device"] = len(engine.connections)
        into.connections["origin"] = engine.origin_connections
        shedding = engine.rejections.load.shedding
        into.load = {"overall": shedding.score, **dict(zip(PARTS, shedding.parts, strict=True))}
        engine.observe_origins(into)
        into.concurrency = {name: (guard.limit.limit, guard.limit.in_flight) for name, guard in engine.guards.items()}

    metrics.sources.append(gauges)
    return engine


def watchdog(
    snapshot: Snapshot, engine: Engine, metrics: WorkerMetrics, beat: Callable[[], None] | None = None
) -> Watchdog:
    """Return what notices a blocked event loop, not yet started; it calls `beat` as long as the loop turns."""

    def report(event: str, filter_id: str, place: str) -> None:
        if place:
            _log.error(event, filter=filter_id, place=place)
        else:
            _log.warning(event)

    made = Watchdog(
        snapshot.timeouts.loop_blocked_s,
        turn=lambda: engine.turn,
        running=lambda: engine.running_filter,
        report=report,
        beat=beat,
    )

    def counts(into: WorkerMetrics) -> None:
        into.loop_blocked = dict(made.blocked)

    metrics.sources.append(counts)
    return made


def listener_certificates(snapshot: Snapshot) -> ListenerCertificates | None:
    """Return the certificates that devices are shown, or None when the listener speaks plain HTTP.

    Raises BadCertificateError.
    """
    settings = snapshot.listener.tls.settings(snapshot.timeouts.tls_handshake_s)
    return None if settings is None else ListenerCertificates(settings)


def certificate_watch(
    snapshot: Snapshot, own: Sequence[CertificateFiles | None], engine: Engine, metrics: WorkerMetrics
) -> CertificateWatch:
    """Return what loads changed certificates, `own` and those of the origins, with its metrics and its log."""

    def watched() -> list[CertificateFiles]:
        return [*(each for each in own if each is not None), *engine.origin_certificates()]

    watch = CertificateWatch(watched, _CertificateLog(metrics), interval_s=snapshot.edge.certificate_check_s)

    def expiries(into: WorkerMetrics) -> None:
        into.certificate_expiries = {str(path): when for path, when in watch.expiries().items()}

    metrics.sources.append(expiries)
    return watch


class _CertificateLog:
    def __init__(self, metrics: WorkerMetrics) -> None:
        self._metrics = metrics

    def certificates_loaded(self, files: Sequence[Path]) -> None:
        self._count(files, "loaded")
        _log.info("certificates_loaded", files=[str(path) for path in files])

    def certificates_kept(self, files: Sequence[Path], problem: str) -> None:
        self._count(files, "kept")
        _log.error("certificates_kept", problem=problem, hint="the old ones are still used: mend the files")

    def _count(self, files: Sequence[Path], result: str) -> None:
        for path in files:
            count(self._metrics.certificate_reloads, (str(path), result))


def report_failure(where: str, error: BaseException) -> None:
    """Log that something raised: its type and place, never its text, which may hold what was sent."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace is not None else "unknown"
    _log.error("filter_failed", where=where, error=type(error).__name__, place=place)
