"""A new configuration in a worker that serves: built beside what serves, then put in its place, or dropped.

Keys, revocations, renewals under way, sessions, counters and the access log belong to the worker and go on, under the
edge's tokens of by then. The client of the cookie service is kept, with its connections and what it knows of the
service, unless its settings or its token have changed.
"""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import aiohttp
import structlog

from edge import wiring
from edge.clients.cookie_service import CookieServiceClient
from edge.clients.kms import KeyRings
from edge.clients.revocations import RevocationFeed
from edge.clients.sign_outs import SignOuts
from edge.contract.dials import Dials
from edge.contract.filters import InboundFilter, OutboundFilter
from edge.contract.ports import SharedRenewals
from edge.control.errors import ConfigErrors
from edge.control.service_sections import CookieClient
from edge.control.snapshot import Snapshot
from edge.relay.context import Context
from edge.relay.engine import Engine
from edge.telemetry.telemetry import Telemetry

_log = structlog.get_logger("edge.worker")


class _Prepared(NamedTuple):
    revision: int
    context: Context
    kms_token: str
    cookie_token: str

    def __repr__(self) -> str:
        return f"_Prepared({self.revision})"


class Reloading:
    """Makes the first engine of a worker, and every later context in it. `load` reads config files by their texts.

    `sign_outs` are there from the first engine on.
    """

    sign_outs: SignOuts

    def __init__(
        self,
        load: Callable[[Mapping[str, str]], Snapshot | ConfigErrors],
        session: aiohttp.ClientSession,
        keys: KeyRings,
        recorder: Telemetry,
        *,
        revocations: RevocationFeed,
        shared_renewals: SharedRenewals | None,
        dials: Dials,
    ) -> None:
        self._load = load
        self._session = session
        self._keys = keys
        self._recorder = recorder
        self._revocations = revocations
        self._dials = dials
        self._renewals = wiring.renewals(shared_renewals)
        self._cookies: tuple[CookieClient, str, CookieServiceClient] | None = None
        self._engine: Engine | None = None
        self._kms_token = ""
        self._prepared: _Prepared | None = None

    def first(self, snapshot: Snapshot) -> Engine:
        """Return the engine that serves `snapshot`. Raises OSError and ValueError for a file that cannot be used."""
        loop = asyncio.get_running_loop()
        self.sign_outs = wiring.sign_outs(snapshot, self._cookie_service(snapshot), self._recorder.metrics)
        filters = self._filters(snapshot)
        self._kms_token = self._token(snapshot, snapshot.services.kms.token_file)
        self._engine = engine = wiring.build_engine(snapshot, filters, self._recorder, loop)
        return engine

    async def prepare(self, revision: int, texts: Mapping[str, str]) -> str:
        """Build what would serve `texts`; return why that cannot be served, or nothing."""
        snapshot = await asyncio.to_thread(self._load, texts)  # it takes longer than requests should wait
        if isinstance(snapshot, ConfigErrors):
            return str(snapshot)
        engine = self._engine
        if engine is None:
            return "it does not serve yet"
        self.discard(revision)
        try:
            filters = self._filters(snapshot)
            kms, cookie = snapshot.services.kms, snapshot.services.cookie
            tokens = self._token(snapshot, kms.token_file), self._token(snapshot, cookie.token_file)
            context = engine.prepare(snapshot, *wiring.chains(snapshot, filters, self._recorder.metrics))
        except Exception as error:  # noqa: BLE001 - whatever it is: what serves goes on, and the supervisor is told
            wiring.report_failure("reload", error)
            return str(error) if isinstance(error, OSError | ValueError) else type(error).__name__
        self._prepared = _Prepared(revision, context, *tokens)
        return ""

    def commit(self, revision: int) -> str:
        """Serve what was prepared as `revision`; return why not, or nothing."""
        prepared, self._prepared = self._prepared, None
        if prepared is None or prepared.revision != revision or self._engine is None:
            return "it was not prepared"
        context = prepared.context
        self._engine.adopt(context)
        settings = context.snapshot.services.cookie
        if self._cookies is not None:
            self.sign_outs.use(self._cookies[2], retry_s=settings.sign_out_retry_s, max_pending=settings.max_sign_outs)
        self._revocations.take_token(prepared.cookie_token)
        self._keys.take_token(prepared.kms_token)
        if prepared.kms_token != self._kms_token:
            self._kms_token = prepared.kms_token
            self._recorder.write_with(wiring.line_writer(prepared.kms_token))
        self._recorder.metrics.config = (revision, context.snapshot.made_of.hash)
        _log.info("config_adopted", revision=revision, hash=context.snapshot.made_of.hash)
        return ""

    def discard(self, revision: int) -> None:  # noqa: ARG002 - there is never more than one
        """Drop what was prepared."""
        prepared, self._prepared = self._prepared, None
        if prepared is not None and self._engine is not None:
            self._engine.discard(prepared.context)

    def _filters(self, snapshot: Snapshot) -> tuple[list[InboundFilter], list[OutboundFilter]]:
        cookies = self._cookie_service(snapshot)
        return wiring.build_filters(
            snapshot,
            self._keys,
            cookies,
            self._revocations.revoked,
            self._renewals,
            signing_out=self.sign_outs,
            metrics=self._recorder.metrics,
            dials=self._dials,
            rollout=wiring.rollout_recorder(snapshot, self._recorder.metrics),
        )

    def _cookie_service(self, snapshot: Snapshot) -> CookieServiceClient:
        settings = snapshot.services.cookie
        token = self._token(snapshot, settings.token_file)
        if self._cookies is None or self._cookies[:2] != (settings, token):
            self._cookies = settings, token, wiring.cookie_service(snapshot, self._session, self._recorder.metrics)
        return self._cookies[2]

    def _token(self, snapshot: Snapshot, path: Path) -> str:
        return wiring.service_token(snapshot, path, self._recorder.metrics)
