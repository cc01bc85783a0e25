"""All requests resolved inside the edge, beside the mix of which one in twenty asks the cookie service."""

import json
import random
import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Final

import yaml

from loadtest.bench import edge
from loadtest.bench.processes import running, wait_until_listening
from loadtest.bench.visitors import Visitor
from loadtest.chaos.ports import free_port
from loadtest.experiments.ground import NAMES, Ground, RunningEdge, python
from loadtest.experiments.latencies import Point
from loadtest.experiments.open_loop import offered
from loadtest.experiments.result import Panel, Plot, Result, Table, bars
from loadtest.experiments.slices import Slices, Variant, slice_of, warmed_up
from loadtest.experiments.spread import Spread, ratios, spread
from tokens.cookie import Claims, seal_pair

NAME = "remote"
REMOTE_SHARE: Final = 0.05
OFFERED: Final = 0.3  # of the capacity: the cookie service shares a core with the load
LIFE_S: Final = 14_400
LEVEL_HIGH: Final = 2
LOCAL, DUE, EXPIRED = "all local", "5 % due", "5 % expired"
AGES: Final = {DUE: LIFE_S * 3 // 4, EXPIRED: LIFE_S + 60}  # of the cookies that need a call, in seconds
SERVICE_S = 40.0


async def run(ground: Ground) -> Result:
    """Measure the three mixes in turn, first in a closed loop, then at an equal offered load."""
    length = ground.length
    async with _cookie_service(ground) as url, ground.edge(NAME, {"services.cookie.url": url}) as one:
        await ground.check(one)
        await warmed_up(ground, [Variant(NAME, one, ground.requests(NAME))])
        mixes = Mixes(ground)
        found = {name: Slices() for name in (LOCAL, DUE, EXPIRED)}
        shares: dict[str, list[float]] = {name: [] for name in found}
        capacity = 0.0
        for number in range(1, length.remote_rounds + 1):
            for name, into in found.items():
                requests = mixes.write(name, int((capacity * 1.2 or 20_000) * length.remote_s))
                before = await _remote(ground, one)
                sample = await slice_of(ground, Variant(name, one, requests), length.remote_s, into)
                shares[name].append(await _remote(ground, one) - before)
                shares[name][-1] /= sample.requests
                capacity = max(capacity, sample.rps)
                requests.unlink()
            said = ", ".join(f"{name} {each.samples[-1].rps:,.0f}/s" for name, each in found.items())
            ground.say(f"Round {number} of {length.remote_rounds}: {said}")
        points: dict[str, Point] = {}
        rate = OFFERED * median(found[LOCAL].rps)
        for name in found:
            requests = mixes.write(name, int(rate * length.remote_point_s * 1.2))
            points[name] = await offered(ground, one, requests, rate, length.remote_point_s)
            ground.say(f"{name} at {rate:,.0f}/s: p99 {points[name].p99_ms:.2f} ms")
        outcomes = {
            labels["outcome"]: value
            for labels, value in await ground.series(one, "edge_remote_calls_total")
            if labels["service"] == "cookie"
        }
    return result(found, points, shares, outcomes)


class Mixes:
    """Writes files of requests. A cookie that needs a call is in one of them, once: the edge remembers renewals."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._files = 0
        self._made = 0

    def write(self, name: str, count: int) -> Path:
        """Write about `count` requests of a mix."""
        ground = self._ground
        self._files += 1
        age_s = AGES.get(name)
        lines = list(ground.fields) if age_s is None else mixed(ground.fields, count, lambda: self._aged(age_s))
        return ground.requests(f"mix-{self._files}", lines)

    def _aged(self, age_s: int) -> str:
        self._made += 1
        visitor = self._ground.people[self._made % len(self._ground.people)]
        claims = aged(visitor, int(time.time()), age_s, f"{self._made:016x}{secrets.token_hex(8)}")
        nonces = (secrets.token_bytes(12), secrets.token_bytes(12))
        insecure, secure = seal_pair(self._ground.ring, NAMES, edge.ENVIRONMENT, claims, nonces)
        return f"Cookie: {NAMES.insecure}={insecure.decode()}; {NAMES.secure}={secure.decode()}"


def aged(visitor: Visitor, now: int, age_s: int, session_id: str) -> Claims:
    """Return the claims of a cookie that was issued `age_s` seconds before `now`, in a session of its own."""
    issued = now - age_s
    return Claims(
        customer_id=visitor.customer_id, account_owner_id=visitor.account_owner_id, profile_id=visitor.profile_id,
        esn=visitor.esn, device_type=visitor.device_type, session_id=session_id, issued_at=issued,
        renew_after=issued + LIFE_S // 2, expires_at=issued + LIFE_S, generation=1, level=LEVEL_HIGH,
    )  # fmt: skip


def mixed(local: Sequence[str], count: int, remote: Callable[[], str], seed: int = 1) -> list[str]:
    """Return `count` lines, of which the REMOTE_SHARE are new ones of `remote`, at places of chance."""
    chance = random.Random(seed)  # noqa: S311 - an order
    return [
        remote() if chance.random() < REMOTE_SHARE else local[number % len(local)] for number in range(count)
    ]  # fmt: skip


def result(
    found: dict[str, Slices], points: dict[str, Point], shares: dict[str, list[float]], outcomes: dict[str, float]
) -> Result:
    """Return the mixes side by side. `shares` are remote calls per request, by round."""
    rows = [
        [
            name,
            f"{median(shares[name]):.1%}",
            spread(one.rps).text(0),
            f"{median(one.idle):.0%}",
            spread(one.cpu_us).text(1),
            f"{points[name].p50_ms:.2f}",
            f"{points[name].p99_ms:.2f}{' *' if points[name].behind else ''}",
        ]
        for name, one in found.items()
    ]
    rate = points[LOCAL].offered
    headings = [
        "mix", "calls per request", "closed loop, requests/s (quartiles)", "edge's core idle",
        "CPU µs per request (quartiles)", f"p50 ms at {rate:,.0f}/s", f"p99 ms at {rate:,.0f}/s",
    ]  # fmt: skip
    added = {name: ratios(one.cpu_us, found[LOCAL].cpu_us) for name, one in found.items() if name != LOCAL}
    calls = ", ".join(f"{name} {int(count):,}" for name, count in sorted(outcomes.items()))
    notes = [
        *(f"{name}: {one.text()} times the processor time of all local, in pairs." for name, one in added.items()),
        "In the closed loop the cookie service is busy on the core of origin and load. Where the edge's core is idle, "
        "it was waiting for them: how many requests it could do is in its processor time.",
        f"Outcomes of calls to the cookie service: {calls}.",
    ]
    if any(point.behind for point in points.values()):
        notes.append("* The generator itself was late there: what is shown is more than the edge's doing.")
    names = list(found)
    panels = [
        Panel(
            "processor time of the edge", "mix", "µs per request",
            [bars([spread(one.cpu_us) for one in found.values()])], names=names,
        ),
        Panel(
            f"latency at {rate:,.0f} requests/s, open loop", "mix", "ms (log scale)",
            [
                bars([_exactly(points[name].p50_ms) for name in names], "p50"),
                bars([_exactly(points[name].p99_ms) for name in names], "p99"),
            ], log_y=True, names=names,
        ),
    ]  # fmt: skip
    figures = {
        "calls": outcomes,
        **{
            name: {**one.figures(), "calls_per_request": median(shares[name]), "open_loop": asdict(points[name])}
            for name, one in found.items()
        },
    }
    table = Table("remote", "All local, and one request in twenty with a call to the cookie service", headings, rows)
    return Result(NAME, [table], [Plot(NAME, "Requests that need a call", panels)], notes=notes, figures=figures)


def _exactly(value: float) -> Spread:
    return Spread(value, value, value)


async def _remote(ground: Ground, one: RunningEdge) -> float:
    calls = await ground.series(one, "edge_remote_calls_total")
    return sum(value for labels, value in calls if labels["service"] == "cookie")


@asynccontextmanager
async def _cookie_service(ground: Ground) -> AsyncIterator[str]:
    """Run a cookie service, and the subscriber service that it asks, where origin and load are; yield its URL."""
    home, core = ground.home / "services", ground.cores.origin
    home.mkdir()
    rows = [
        {"customer_id": one.customer_id, "account_owner_id": one.account_owner_id, "member": True}
        for one in ground.people
    ]
    seed = home / "seed.yaml"
    seed.write_text(json.dumps(rows))
    shipped = yaml.safe_load((ground.settings.config / "cookie.yaml").read_text())
    names = {"insecure": NAMES.insecure, "secure": NAMES.secure}
    config = home / "cookie.yaml"
    own = {"environment": edge.ENVIRONMENT, "names": names, "life_s": LIFE_S}
    config.write_text(yaml.safe_dump({**shipped, **own}))
    subscriber, port = free_port(), free_port()
    common = ("--secrets", str(ground.secrets), "--var", str(home))
    asked = python("origins_stub.subscriber", "--listen", f"127.0.0.1:{subscriber}", "--seed", str(seed), *common)
    service = python(
        "services.cookie", "--listen", f"127.0.0.1:{port}", "--config", str(config), *common,
        "--kms", f"http://127.0.0.1:{ground.kms_port}", "--subscriber", f"http://127.0.0.1:{subscriber}",
    )  # fmt: skip
    async with running("subscriber", core, asked, home) as program:
        await wait_until_listening(program, subscriber, SERVICE_S)
        async with running("cookie", core, service, home) as cookie:
            await wait_until_listening(cookie, port, SERVICE_S)
            yield f"http://127.0.0.1:{port}"
