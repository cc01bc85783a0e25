"""`python -m services.cookie`: the cookie service as a process."""

import sys
import time
from argparse import Namespace
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Final

from aiohttp import web

from passport.kms import KmsClient
from services.cookie.config import CookieConfig
from services.cookie.feed import feed
from services.cookie.pruning import pruning
from services.cookie.renewal import Renewer
from services.cookie.server import CookieServer
from services.cookie.store import MIGRATIONS, Store
from services.cookie.subscriber import SubscriberClient
from services.cookie.updating import Updater
from services.kit.callers import Callers, read_token
from services.kit.config import check_config, read_config
from services.kit.database import Database, usable
from services.kit.database_calls import DatabaseCalls
from services.kit.keys import fresh_ring
from services.kit.process import MAX_BODY_BYTES, arguments, run, secrets_directory
from services.kit.tls import calling_session
from tokens.cookie import PURPOSE, RESCHEDULED

_IDENTITY: Final = "cookie"


async def build(options: Namespace, stack: AsyncExitStack) -> web.Application:
    """Open the database, wait for the first keys and return the application."""
    config = read_config(options.config, CookieConfig)
    secrets = secrets_directory(options)
    callers = Callers.from_directory(secrets, config.identities)
    store = await _store(config, options, stack)
    token = read_token(options.token_file or secrets / "cookie.token")
    session = await stack.enter_async_context(calling_session(options))
    kms = KmsClient(session, options.kms, token, config.kms_timeout_s)
    file = config.keys.file(options.var, token, _IDENTITY, config.environment)
    keys = await stack.enter_async_context(fresh_ring(kms, [PURPOSE, RESCHEDULED], config.kms_refresh_s, file))
    breaker = config.subscriber_breaker.breaker("subscriber")
    subscribers = SubscriberClient(session, options.subscriber, token, config.subscriber_timeout_s, breaker)
    following = await stack.enter_async_context(feed(store))
    await stack.enter_async_context(pruning(store, config.rescheduled_renewals.keep_s, config.session_updates.keep_s))
    issuer = config.issuer()
    overlap_s = config.rescheduled_renewals.overlap_s
    server = CookieServer(
        config=config,
        callers=callers,
        issuer=issuer,
        keys=keys,
        subscribers=subscribers,
        renewer=Renewer(issuer, keys, store, subscribers, time.time, overlap_s=overlap_s),
        updater=Updater(issuer, keys, store, time.time, overlap_s=overlap_s),
        store=store,
        feed=following,
        clock=time.time,
    )
    return server.application(MAX_BODY_BYTES)


async def _store(config: CookieConfig, options: Namespace, stack: AsyncExitStack) -> Store:
    database = Database(config.database, options.var / "cookie.sqlite")
    calls = DatabaseCalls(database, config.database)
    stack.callback(calls.close)
    with usable(database):
        database.upgrade(MIGRATIONS)
    return Store(calls, time.time, config.revocations, config.database_breaker.breaker("database"))


def main() -> int:
    """Read the arguments and serve; return the exit code."""
    parser = arguments("cookie", "127.0.0.1:8091")
    parser.add_argument("--kms", default="http://127.0.0.1:8090", metavar="URL")
    parser.add_argument("--subscriber", default="http://127.0.0.1:8093", metavar="URL")
    parser.add_argument("--token-file", type=Path, metavar="FILE", help="default: cookie.token of the secrets")
    options = parser.parse_args()
    if options.check_config:
        return check_config(options.config, CookieConfig)
    return run("cookie", partial(build, options), options)


if __name__ == "__main__":
    sys.exit(main())
