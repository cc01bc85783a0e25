"""Envoy with `jwt_authn`: the same job as far as it goes, one worker thread, nothing switched on that costs."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from loadtest.bench.jwts import AUDIENCE, ISSUER, JwtIssuer
from loadtest.bench.processes import Program, Seat, running, wait_until_listening

HTTP = "type.googleapis.com/envoy.extensions.filters"
CONNECTION_MANAGER = f"{HTTP}.network.http_connection_manager.v3.HttpConnectionManager"
JWT_AUTHN = f"{HTTP}.http.jwt_authn.v3.JwtAuthentication"
ROUTER = f"{HTTP}.http.router.v3.Router"


def render(port: int, origin_port: int, issuer: JwtIssuer, cached_tokens: int) -> str:
    """Return Envoy's configuration as JSON.

    With `cached_tokens` over 0, verified tokens of the issuer are cached, that many at a time; with 0 every signature
    is verified.
    """
    config = {
        "static_resources": {
            "listeners": [_listener(port, _jwt_authn(issuer, cached_tokens))],
            "clusters": [_cluster(origin_port)],
        }
    }
    return json.dumps(config, indent=1)


def _jwt_authn(issuer: JwtIssuer, cached_tokens: int) -> dict[str, object]:
    provider: dict[str, object] = {
        "issuer": ISSUER,
        "audiences": [AUDIENCE],
        "local_jwks": {"inline_string": issuer.jwks},
    }
    if cached_tokens:
        provider["jwt_cache_config"] = {"jwt_cache_size": cached_tokens}
    return {
        "@type": JWT_AUTHN,
        "providers": {"bench": provider},
        "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "bench"}}],
    }


def _listener(port: int, jwt_authn: dict[str, object]) -> dict[str, object]:
    manager = {
        "@type": CONNECTION_MANAGER,
        "stat_prefix": "bench",
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "origin"}}],
                }
            ]
        },
        "http_filters": [
            {"name": "envoy.filters.http.jwt_authn", "typed_config": jwt_authn},
            {"name": "envoy.filters.http.router", "typed_config": {"@type": ROUTER, "suppress_envoy_headers": True}},
        ],
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    return {"name": "bench", "address": _address(port), "filter_chains": [chain]}


def _cluster(origin_port: int) -> dict[str, object]:
    endpoint = {"lb_endpoints": [{"endpoint": {"address": _address(origin_port)}}]}
    return {
        "name": "origin",
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": "origin", "endpoints": [endpoint]},
    }


def _address(port: int) -> dict[str, object]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


@asynccontextmanager
async def envoy(name: str, binary: str, seat: Seat, config: str) -> AsyncIterator[Program]:
    """Run Envoy with one worker thread and `config`, made by `render` for the same seat."""
    file = seat.write("envoy.json", config)
    command = (binary, "-c", str(file), "--concurrency", "1", "--disable-hot-restart", "--log-level", "warn")
    async with running(name, seat.core, command, seat.home) as program:
        await wait_until_listening(program, seat.port)
        yield program
