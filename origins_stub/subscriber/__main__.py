"""`python -m origins_stub.subscriber`."""

import argparse
import sys
from pathlib import Path

from aiohttp import web

from origins_stub.kit.bearer import Callers
from origins_stub.kit.process import arguments, run, secrets_directory
from origins_stub.subscriber.server import SubscriberServer
from origins_stub.subscriber.store import SEED, SubscriberStore


def _parse() -> argparse.Namespace:
    parser = arguments("subscriber", "Answer who is a paying member.", default_port=8093)
    parser.add_argument("--callers", default="cookie", metavar="LIST", help="identities that may read, by commas")
    parser.add_argument("--operators", default="operator", metavar="LIST", help="identities that may also change")
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
        return SubscriberServer(store, readers, writers).app()

    return run("subscriber", options.listen, options.ready_fd, make_app)


if __name__ == "__main__":
    sys.exit(main())
