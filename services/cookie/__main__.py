"""`python -m services.cookie`: the cookie service as a process."""

import sys
import time
from argparse import Namespace
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

from aiohttp import web

from passport.kms import KmsClient
from services.cookie.config import CookieConfig
from services.cookie.renewal import Renewer
from services.cookie.server import CookieServer
from services.cookie.subscriber import SubscriberClient
from services.kit.callers import Callers, read_token
from services.kit.config import check_config, read_config
from services.kit.keys import fresh_ring
from services.kit.process import MAX_BODY_BYTES, arguments, run, secrets_directory
from services.kit.tls import calling_session
from tokens.cookie import PURPOSE


async def build(options: Namespace, stack: AsyncExitStack) -> web.Application:
    """Wait for the first keys and return the application."""
    config = read_config(options.config, CookieConfig)
    secrets = secrets_directory(options)
    callers = Callers.from_directory(secrets, options.callers.split(","))
    token = read_token(options.token_file or secrets / "cookie.token")
    session = await stack.enter_async_context(calling_session(options))
    kms = KmsClient(session, options.kms, token, config.kms_timeout_s)
    keys = await stack.enter_async_context(fresh_ring(kms, [PURPOSE], config.kms_refresh_s))
    subscribers = SubscriberClient(session, options.subscriber, token, config.subscriber_timeout_s)
    issuer = config.issuer()
    renewer = Renewer(issuer, keys, subscribers, time.time)
    return CookieServer(issuer, keys, renewer, callers, time.time).application(MAX_BODY_BYTES)


def main() -> int:
    """Read the arguments and serve; return the exit code."""
    parser = arguments("cookie", "127.0.0.1:8091")
    parser.add_argument("--kms", default="http://127.0.0.1:8090", metavar="URL")
    parser.add_argument("--subscriber", default="http://127.0.0.1:8093", metavar="URL")
    parser.add_argument("--callers", default="edge", metavar="LIST", help="who may call, by commas (default: edge)")
    parser.add_argument("--token-file", type=Path, metavar="FILE", help="default: cookie.token of the secrets")
    options = parser.parse_args()
    if options.check_config:
        return check_config(options.config, CookieConfig)
    return run("cookie", partial(build, options), options)


if __name__ == "__main__":
    sys.exit(main())
