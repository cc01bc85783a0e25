"""The Passport keys of one stub: there before it serves, refreshed beside it; what goes wrong is said in the log."""

import argparse
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack

import structlog
from aiohttp import web

from origins_stub.kit.process import StartError
from passport.key_source import KeySource
from passport.kms import KeysLost, KmsRefused, KmsUnavailable

_log = structlog.get_logger("origins_stub.keys")


def key_source(options: argparse.Namespace, token: str, purposes: Sequence[str]) -> KeySource:
    """Return the source of a stub whose `options` are those of `identity_arguments`."""
    return KeySource(options.kms, token, purposes, refresh_s=options.key_refresh_s, on_problem=_say)


def kept(keys: KeySource) -> Callable[[web.Application], AsyncIterator[None]]:
    """Return what keeps the keys while an application runs: for `Application.cleanup_ctx`.

    It raises StartError when the KMS refuses, or is not there for 30 s.
    """

    async def running(_: web.Application) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(keys)
            except KmsRefused as refusal:
                raise StartError(f"{refusal}; see this identity's purposes in config/kms.yaml") from None
            except KmsUnavailable as outage:
                raise StartError(f"no keys: {outage}") from None
            yield

    return running


def _say(problem: Exception) -> None:
    if isinstance(problem, KeysLost):
        _log.error("kms_lost_keys", keys=problem.key_ids, hint="restore the store of the KMS")
    elif isinstance(problem, KmsRefused | KmsUnavailable | ValueError):
        _log.warning("keys_not_refreshed", problem=str(problem))
    else:
        _log.error("key_refresh_failed", problem=type(problem).__name__)
