"""`python -m origins_stub.subscriber`."""

import argparse
import sys
from pathlib import Path

from aiohttp import web

from origins_stub.kit.bearer import Callers, read_token
from origins_stub.kit.keys import kept, key_source
from origins_stub.kit.process import arguments, identity_arguments, run, secrets_directory, token_file
from origins_stub.subscriber.server import USER_SIGNERS, SubscriberServer
from origins_stub.subscriber.store import SEED, SubscriberStore
from passport import DEVICE_PURPOSE, USER_PURPOSE


def _parse() -> argparse.Namespace:
    parser = arguments("subscriber", "Answer who is a paying member.", default_port=8093)
    identity_arguments(parser, kms=None)
    parser.add_argument("--callers", default="cookie", metavar="LIST", help="identities that may read, by commas")
    parser.add_argument("--operators", default="operator,auth", metavar="LIST", help="identities that may also change")
    parser.add_argument("--seed", type=Path, default=SEED, metavar="FILE", help="subscribers of an empty store")
    return parser.parse_args()


def main() -> int:
    """Run the service; return the exit code."""
    options = _parse()

    def make_app() -> web.Application:
        secrets = secrets_directory(options)
        readers = Callers.from_files(secrets, filter(None, options.callers.split(",")))
        writers = Callers.from_files(secrets, filter(None, options.operators.split(",")))
        store = SubscriberStore(options.var / "subscriber.sqlite", options.seed)
        if options.kms is None:
            return SubscriberServer(store, readers, writers).app()
        token = read_token(token_file(options, "subscriber"))
        keys = key_source(options, token, [USER_PURPOSE, DEVICE_PURPOSE, *USER_SIGNERS])
        app = SubscriberServer(store, readers, writers, keys, options.trust_domain).app()
        app.cleanup_ctx.append(kept(keys))
        return app

    return run("subscriber", options.listen, options.ready_fd, make_app)


if __name__ == "__main__":
    sys.exit(main())
