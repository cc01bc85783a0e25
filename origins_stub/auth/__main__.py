"""`python -m origins_stub.auth`."""

import argparse
import sys
from pathlib import Path

from aiohttp import web
from argon2 import PasswordHasher

from origins_stub.auth.credentials import Credentials
from origins_stub.auth.members import Members
from origins_stub.auth.server import SIGNING_PURPOSE, AuthServer
from origins_stub.auth.users import SEED, UserStore
from origins_stub.kit.bearer import Callers, read_token
from origins_stub.kit.keys import kept, key_source
from origins_stub.kit.process import arguments, identity_arguments, run, secrets_directory, token_file
from passport import DEVICE_PURPOSE, USER_PURPOSE


def _parse() -> argparse.Namespace:
    parser = arguments("auth", "Check credentials; answer with who signed in.", default_port=8092)
    identity_arguments(parser)
    parser.add_argument("--seed", type=Path, default=SEED, metavar="FILE", help="users that an empty store gets")
    parser.add_argument("--subscriber", default="http://127.0.0.1:8093", metavar="URL", help="told of new members")
    parser.add_argument("--checkers", default="", metavar="LIST", help="identities that may check passwords, by commas")
    return parser.parse_args()


def main() -> int:
    """Run the service; return the exit code."""
    options = _parse()

    def make_app() -> web.Application:
        token = read_token(token_file(options, "auth"))
        hasher = PasswordHasher()
        users = UserStore(options.var / "auth.sqlite", hasher, options.seed)
        purposes = [USER_PURPOSE, DEVICE_PURPOSE, SIGNING_PURPOSE]
        keys = key_source(options, token, purposes)
        members = Members(options.subscriber, token)
        names = [name for name in options.checkers.split(",") if name]
        checkers = Callers.from_files(secrets_directory(options), names) if names else None
        credentials = Credentials(users, hasher)
        app = AuthServer(users, credentials, members, keys, options.trust_domain, checkers=checkers).app()
        app.cleanup_ctx.append(kept(keys))
        return app

    return run("auth", options.listen, options.ready_fd, make_app)


if __name__ == "__main__":
    sys.exit(main())
