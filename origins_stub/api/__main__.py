"""`python -m origins_stub.api`."""

import argparse
import sys
from ipaddress import ip_network

from aiohttp import web

from origins_stub.api.client_address import Network
from origins_stub.api.legacy.cookies import Names
from origins_stub.api.legacy.keys import CookieKeySource
from origins_stub.api.legacy.mode import LegacyMode
from origins_stub.api.legacy.services import LegacyServices
from origins_stub.api.legacy.wrong import WrongIdentities
from origins_stub.api.server import ApiServer
from origins_stub.kit.bearer import read_token
from origins_stub.kit.keys import kept, key_source
from origins_stub.kit.process import arguments, identity_arguments, run, token_file
from passport import DEVICE_PURPOSE, USER_PURPOSE


def _parse() -> argparse.Namespace:
    parser = arguments("api", "Serve what stands behind the edge.", default_port=8094)
    identity_arguments(parser)
    parser.add_argument("--auth", default="http://127.0.0.1:8092", metavar="URL", help="where the auth service is")
    parser.add_argument(
        "--subscriber", default="http://127.0.0.1:8093", metavar="URL", help="where the subscriber service is"
    )
    parser.add_argument(
        "--trusted-proxies",
        type=_networks,
        default=(),
        metavar="LIST",
        help="networks of the edge's listener.trusted_proxies, by commas",
    )
    legacy = parser.add_argument_group("without a Passport", "as identity `legacy`, which may open cookies")
    legacy.add_argument("--legacy", action="store_true", help="serve requests without a Passport by their cookies")
    legacy.add_argument("--cookie", default="http://127.0.0.1:8091", metavar="URL", help="where the cookie service is")
    legacy.add_argument("--environment", default="local", metavar="NAME", help="of the cookies to open")
    legacy.add_argument(
        "--cookie-names", nargs=2, default=["EdgeId", "SecureEdgeId"], metavar="NAME", help="of the pair"
    )
    legacy.add_argument(
        "--wrong-identities", type=_wrong, metavar="SHARE[:SEED]", help="report somebody else in this share of answers"
    )
    return parser.parse_args()


def _wrong(text: str) -> WrongIdentities:
    share, _, seed = text.partition(":")
    chosen = float(share)
    if not 0 <= chosen <= 1:
        raise argparse.ArgumentTypeError(f"{share!r} is not a share from 0 to 1")
    return WrongIdentities(chosen, int(seed or 1))


def _networks(text: str) -> tuple[Network, ...]:
    return tuple(ip_network(network) for network in filter(None, text.split(",")))


def _legacy(options: argparse.Namespace, token: str) -> LegacyMode:
    return LegacyMode(
        CookieKeySource(options.kms, token, options.key_refresh_s),
        Names(options.cookie_names[0], options.cookie_names[1], options.environment),
        LegacyServices(options.cookie, options.auth, token),
        options.wrong_identities,
    )


def main() -> int:
    """Run the origin; return the exit code."""
    options = _parse()

    def make_app() -> web.Application:
        token = read_token(token_file(options, "legacy" if options.legacy else "api"))
        keys = key_source(options, token, [USER_PURPOSE, DEVICE_PURPOSE])
        legacy = _legacy(options, token) if options.legacy else None
        server = ApiServer(
            options.auth,
            options.subscriber,
            keys,
            options.trust_domain,
            trusted_proxies=options.trusted_proxies,
            legacy=legacy,
        )
        app = server.app()
        app.cleanup_ctx.append(kept(keys))
        return app

    return run("api", options.listen, options.ready_fd, make_app)


if __name__ == "__main__":
    sys.exit(main())
