"""The edge in the ways it is measured: compiled or not, with a log or without, for requests that carry no cookie."""

import time
from dataclasses import dataclass
from pathlib import Path

from edgepb.kms.v1 import kms_pb2

from loadtest.bench import edge
from loadtest.bench.checks import check_relay, check_tokens
from loadtest.bench.cookies import cookie_field
from loadtest.bench.passport_check import PassportCheck
from loadtest.bench.processes import Program, Seat, free_port
from loadtest.bench.settings import Settings
from loadtest.bench.stage import Stage
from loadtest.bench.visitors import Visitor
from passport import DEVICE_PURPOSE, USER_PURPOSE, PassportKeys
from passport.kms import KmsClient
from tokens.cookie import PURPOSE as COOKIE_PURPOSE
from tokens.cookie import CookieNames
from tokens.keys.ring import KeyRing

SIGNED_IN_PATH, PUBLIC_PATH = "/browse", "/"
IDS = ("edge", "edge_no_cookie", "edge_access_log", "edge_interpreted")


def wants_compiled(settings: Settings) -> bool:
    """Return whether a row is wanted that the compiled edge gives."""
    return any(settings.wants(name) for name in IDS if name != "edge_interpreted")


@dataclass(slots=True, frozen=True)
class Issued:
    """The cookie of each visitor as a header field, the first one's Passport, and the KMS that has the keys to both."""

    fields: list[str]
    passport: PassportCheck
    kms_port: int
    var: Path


@dataclass(slots=True, frozen=True)
class RunningEdge:
    """One edge and where it listens."""

    program: Program
    ports: edge.EdgePorts

    def url(self, path: str) -> str:
        """Return where it serves a path."""
        return f"http://127.0.0.1:{self.ports.listen}{path}"


async def start_edges(stage: Stage, people: list[Visitor]) -> None:
    """Start the KMS and the edges that are wanted, and see that each ends cookies and sends Passports."""
    settings = stage.settings
    if not any(settings.wants(name) for name in IDS):
        return
    stage.say("Starting the KMS and the edges")
    issued = await _issue(stage, people)
    if settings.wants("edge") or settings.wants("edge_no_cookie"):
        quiet = await _start(stage, issued, "edge", stage.packages, access_log="off")
        if settings.wants("edge"):
            await _signed_in(stage, issued, "edge", quiet)
        if settings.wants("edge_no_cookie"):
            contender = stage.add("edge_no_cookie", quiet.program, quiet.url(PUBLIC_PATH), [""])
            await check_relay(contender.target, stage.session, stage.seen, None)
    if settings.wants("edge_access_log"):
        logging = await _start(stage, issued, "edge_access_log", stage.packages, access_log="access.log")
        await _signed_in(stage, issued, "edge_access_log", logging)
    if settings.wants("edge_interpreted"):
        interpreted = await _start(stage, issued, "edge_interpreted", None, access_log="off")
        await _signed_in(stage, issued, "edge_interpreted", interpreted)


async def _issue(stage: Stage, people: list[Visitor]) -> Issued:
    var, port, config = stage.home / "edge", free_port(), stage.settings.config / "kms.yaml"
    edge.make_secrets(var / "secrets", config)
    await stage.stack.enter_async_context(edge.kms(Seat(stage.cores.origin, port, var), config))
    as_edge, as_cookie = (
        KmsClient(stage.session, f"http://127.0.0.1:{port}", edge.identity_token(var / "secrets", identity))
        for identity in ("edge", "cookie")
    )
    answer = await as_edge.key_sets([USER_PURPOSE, DEVICE_PURPOSE])
    passport = PassportCheck(PassportKeys.from_key_sets(answer.key_sets), edge.TRUST_DOMAIN, people[0])
    return Issued(_cookies(await as_cookie.key_sets([COOKIE_PURPOSE]), people), passport, port, var)


def _cookies(answer: kms_pb2.GetKeySetsResponse, people: list[Visitor]) -> list[str]:
    ring = KeyRing.from_key_sets(answer.key_sets, answer.revision)
    names = CookieNames(edge.INSECURE_COOKIE, edge.SECURE_COOKIE)
    now = int(time.time())
    return [cookie_field(ring, names, edge.ENVIRONMENT, visitor, now) for visitor in people]


async def _start(stage: Stage, issued: Issued, name: str, packages: Path | None, access_log: str) -> RunningEdge:
    ports = edge.EdgePorts(free_port(), free_port(), issued.kms_port, stage.origin_port)
    values = edge.overrides(ports, stage.settings.tokens, access_log)
    command = edge.edge_command(stage.settings.config, issued.var, values)
    running = edge.edge(name, Seat(stage.cores.proxy, ports.listen, issued.var), command, packages)
    return RunningEdge(await stage.stack.enter_async_context(running), ports)


async def _signed_in(stage: Stage, issued: Issued, name: str, one: RunningEdge) -> None:
    metrics_url = f"http://127.0.0.1:{one.ports.admin}/metrics"
    contender = stage.add(name, one.program, one.url(SIGNED_IN_PATH), issued.fields, metrics_url=metrics_url)
    await check_tokens(contender.target, stage.session, stage.seen, issued.fields[0])
    issued.passport.verify(stage.seen.heads[-1], int(time.time()))
