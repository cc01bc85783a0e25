"""One run of the bench from start to end."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import aiohttp

from loadtest.bench import jwts, machine, nginx
from loadtest.bench.check_origin import check_origin
from loadtest.bench.contenders import round_position
from loadtest.bench.edges import start_edges
from loadtest.bench.peers import start_envoy, start_nginx
from loadtest.bench.processes import Seat, free_port
from loadtest.bench.report import Report, report
from loadtest.bench.rounds import Bench
from loadtest.bench.settings import Settings, assign_cores
from loadtest.bench.stage import Stage
from loadtest.bench.tools import Tools
from loadtest.bench.visitors import visitors


async def measure(
    settings: Settings, tools: Tools, packages: Path | None, say: Callable[[str], None]
) -> tuple[Report, dict[str, object]]:
    """Start, check, measure and stop everything; return what was found and what it was found on.

    Raises `BenchError` when something does not start, does not do its job, or refuses good requests.
    """
    cores = assign_cores()
    async with AsyncExitStack() as stack:
        home = stack.enter_context(_home(settings.var))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        port = free_port()
        async with check_origin(port) as seen:
            stage = Stage(settings, tools, cores, home, session, stack, seen, port, packages, say)
            await _start_all(stage)
        # The same port as the origin that looked: the proxies measured are the very ones checked.
        seat = Seat(cores.origin, port, home / "origin")
        origin = nginx.nginx("origin", tools.nginx, seat, nginx.render_origin(seat))
        await stack.enter_async_context(origin)
        contenders = sorted(stage.contenders, key=lambda contender: round_position(contender.id))
        results = await Bench(tools.wrk, cores, settings, session, say).run(contenders)
        return report(results), machine.context(settings, cores, tools)


async def _start_all(stage: Stage) -> None:
    people, cached = visitors(stage.settings.tokens), stage.settings.tokens * 2
    await start_edges(stage, people)
    if stage.settings.wants("envoy_jwt_hs256_cached"):
        await start_envoy(stage, "envoy_jwt_hs256_cached", jwts.hs256(), people, cached)
    if stage.settings.wants("envoy_jwt_es256"):
        await start_envoy(stage, "envoy_jwt_es256", jwts.es256(), people, 0)
    if stage.settings.wants("nginx"):
        await start_nginx(stage, people)


@contextmanager
def _home(var: Path) -> Iterator[Path]:
    """Yield a new private directory that is gone afterwards: it holds keys and tokens."""
    var.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="run-", dir=var.resolve(), ignore_cleanup_errors=True) as home:
        yield Path(home)
