"""The edge's peers: Envoy by two algorithms, and nginx."""

import time

from loadtest.bench import envoy, nginx
from loadtest.bench.checks import check_relay, check_tokens
from loadtest.bench.edges import SIGNED_IN_PATH
from loadtest.bench.jwts import JwtIssuer
from loadtest.bench.processes import Seat, free_port
from loadtest.bench.stage import Stage
from loadtest.bench.visitors import Visitor


async def start_envoy(stage: Stage, name: str, issuer: JwtIssuer, people: list[Visitor], cached_tokens: int) -> None:
    """Start Envoy with the issuer's key, and see that it lets its tokens in and no other."""
    stage.say(f"Starting Envoy for {issuer.algorithm}")
    seat = Seat(stage.cores.proxy, free_port(), stage.home / name)
    config = envoy.render(seat.port, stage.origin_port, issuer, cached_tokens)
    running = envoy.envoy(name, stage.tools.envoy, seat, config)
    program = await stage.stack.enter_async_context(running)
    now = int(time.time())
    fields = [issuer.authorization(visitor, now) for visitor in people]
    contender = stage.add(name, program, f"http://127.0.0.1:{seat.port}{SIGNED_IN_PATH}", fields)
    await check_tokens(contender.target, stage.session, stage.seen, fields[0])


async def start_nginx(stage: Stage, people: list[Visitor]) -> None:
    """Start nginx as the plain relay. Its requests carry a cookie as long as the edge's, which it passes on unread."""
    stage.say("Starting nginx as the plain relay")
    seat = Seat(stage.cores.proxy, free_port(), stage.home / "nginx")
    config = nginx.render_relay(seat, stage.origin_port, stage.settings.connections)
    running = nginx.nginx("nginx", stage.tools.nginx, seat, config)
    program = await stage.stack.enter_async_context(running)
    fields = [f"Cookie: EdgeId={visitor.session_id * 8}; SecureEdgeId={visitor.session_id * 4}" for visitor in people]
    contender = stage.add("nginx", program, f"http://127.0.0.1:{seat.port}{SIGNED_IN_PATH}", fields)
    await check_relay(contender.target, stage.session, stage.seen, fields[0])
