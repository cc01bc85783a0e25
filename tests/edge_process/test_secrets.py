"""THREATS A2 and X6, rule 24: whatever happens, no secret leaves in a log, a metric, an error page or an argument list.

One worker is taken through sign-in, sign-out, every kind of bad token and every kind of failure, with the access log
on. Then everything it let out is searched for everything it knew.
"""

import contextlib
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import pytest
import pytest_asyncio

from passport.keys import PassportKeys
from tests.edge_process.canaries import Canaries
from tests.edge_process.cookies import cookie_pair
from tests.edge_process.hostile_origin import PROFILE_ID, SESSION_ID, HostileOrigin, hostile_origin
from tests.edge_process.worker import Worker, running_worker
from tests.processes import IDENTITIES, dialled, free_port
from tests.services.cookie_calls import cookies_running
from tests.services.kms_calls import Kms, kms_running

pytestmark = pytest.mark.asyncio(loop_scope="module")

CUSTOMER_ID = 8_070_605_040_302_010
PASSWORD = "correct-horse-battery-staple"
SPOOFED = "U3Bvb2ZlZFBhc3Nwb3J0T2ZBbkF0dGFja2Vy" * 4
SET_COOKIE = re.compile(rb"(?im)^set-cookie: (?:Secure)?EdgeId=([A-Za-z0-9_-]*);.*\r\n")


@dataclass
class Told:
    """All that came out, by where it came out, and the secrets that went in."""

    canaries: Canaries
    origin: HostileOrigin
    cookies: set[str] = field(default_factory=set)
    answers: list[bytes] = field(default_factory=list)
    output: bytes = b""
    metrics: bytes = b""
    services: bytes = b""
    process: bytes = b""
    snapshots: bytes = b""

    def lines(self) -> list[dict[str, object]]:
        """Return the access log."""
        return [orjson.loads(line) for line in self.output.splitlines() if line.startswith(b'{"time":')]

    def pages(self) -> list[bytes]:
        """Return the answers without the cookies that were set on purpose."""
        return [SET_COOKIE.sub(b"", answer) for answer in self.answers]


async def ask(worker: Worker, told: Told, request: str, *fields: str, body: str = "") -> bytes:
    """Send one request, `METHOD TARGET`; keep and return the whole answer."""
    lines = [f"{request} HTTP/1.1", "Host: edge.test", "Connection: close", *fields]
    if body and not any(line.startswith("Transfer-Encoding") for line in fields):
        lines.append(f"Content-Length: {len(body)}")
    answer = b""
    async with dialled(worker.address) as (reader, writer):
        writer.write("".join(f"{line}\r\n" for line in [*lines, ""]).encode() + body.encode())
        with contextlib.suppress(ConnectionError):
            while more := await reader.read(65536):
                answer += more
    told.answers.append(answer)
    told.cookies.update(value.decode() for value in SET_COOKIE.findall(answer) if value)
    return answer


async def good_and_bad_requests(worker: Worker, told: Told, kms: Kms) -> None:
    """Everything that a token can be, on routes that ask for one and on those that don't."""
    insecure, secure = await cookie_pair(kms, CUSTOMER_ID)
    old, old_secure = await cookie_pair(kms, CUSTOMER_ID, age_s=20_000)
    tampered = insecure[:40] + ("A" if insecure[40] != "A" else "B") + insecure[41:]
    stranger = "AQ" + insecure[2:]
    told.cookies |= {insecure, secure, old, old_secure, tampered, stranger}
    for cookies in (
        f"EdgeId={insecure}; SecureEdgeId={secure}",
        f"EdgeId={insecure}",
        f"SecureEdgeId={secure}",
        f"EdgeId={old}; SecureEdgeId={old_secure}",
        f"EdgeId={tampered}; SecureEdgeId={secure}",
        f"EdgeId={stranger}",
        f"EdgeId={secure}; SecureEdgeId={insecure}",
        f"EdgeId={insecure}; EdgeId={old}",
        f"theme=dark; EdgeId={insecure}{'A' * 5000}",
    ):
        for path in ("/", "/browse", "/account", "/echo", "/nowhere/%2e%2e/browse", f"/echo?EdgeId={insecure}"):
            await ask(worker, told, f"GET {path}", f"Cookie: {cookies}", f"X-Passport: {SPOOFED}")
    good = f"Cookie: EdgeId={insecure}; SecureEdgeId={secure}"
    for path in ("/slow", "/stream", "/download"):
        await ask(worker, told, f"GET {path}", good)
    token = f"Authorization: Bearer {kms.token('edge')}"
    await ask(worker, told, "DELETE /login", good, token)
    await ask(worker, told, "GET /echo", good, f"x_passport: {SPOOFED}", f"Passport-Bin: {SPOOFED}", token)
    await ask(worker, told, "GET /echo", f"Cookie : EdgeId={insecure}")
    await ask(worker, told, "GET /echo", good, f"Host: {SPOOFED}")
    await ask(worker, told, "GET /echo", f"{insecure}{SPOOFED}")
    await ask(worker, told, f"GET /echo#{insecure}", good)
    await ask(worker, told, "GET /echo", *(f"Cookie: a{number}={insecure}" for number in range(300)))
    trailers = f"0\r\nX-Passport: {SPOOFED}\r\nCookie: EdgeId={insecure}\r\n\r\n"
    await ask(worker, told, "POST /upload", good, "Transfer-Encoding: chunked", body=trailers)
    await ask(worker, told, "POST /upload", good, "Transfer-Encoding: chunked", body=insecure)


async def sign_in_and_out(worker: Worker, told: Told) -> None:
    """The story that makes new cookies, in both endings."""
    body = f'{{"email": "nobody@example.com", "password": "{PASSWORD}"}}'
    answer = await ask(worker, told, "POST /login", body=body)
    assert answer.startswith(b"HTTP/1.1 200 ")
    insecure, secure = SET_COOKIE.findall(answer)
    fresh = f"Cookie: EdgeId={insecure.decode()}; SecureEdgeId={secure.decode()}"
    await ask(worker, told, "GET /account", fresh)
    await ask(worker, told, "POST /logout", fresh)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def told(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Told]:
    directory = tmp_path_factory.mktemp("secrets")
    nobody = f"http://127.0.0.1:{free_port()}"
    async with kms_running(directory) as kms, cookies_running(kms, nobody, directory) as cookies:
        key_sets = (await kms.client("auth").key_sets(["passport-auth"])).key_sets
        signer = PassportKeys.from_key_sets(key_sets).signer("passport-auth")
        assert signer is not None
        settings = (f"services.cookie.url={cookies.process.url}", "services.kms.refresh_s=0.3")
        async with (
            hostile_origin(signer, CUSTOMER_ID) as origin,
            running_worker(kms, origin.address, *settings, "access_log.path=stdout") as worker,
        ):
            all_told = Told(Canaries(), origin)
            await good_and_bad_requests(worker, all_told, kms)
            await sign_in_and_out(worker, all_told)
            await cookies.process.kill()
            await kms.process.kill()
            await worker.process.said("keys_not_refreshed")
            answer = await ask(worker, all_told, "POST /login", body=PASSWORD)
            assert b"token_service_unavailable" in answer
            process = Path(f"/proc/{worker.process.pid}")
            all_told.process = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
            await worker.control.metrics()
            assert await worker.process.stop() == 0
            all_told.output = worker.process.output().encode()
            all_told.metrics = orjson.dumps(worker.control.messages)
            all_told.snapshots = b"".join(map(Path.read_bytes, sorted(kms.secrets.parent.rglob("keys.*.snapshot"))))
            all_told.services = (kms.process.output() + cookies.process.output()).encode()
        add_secrets(all_told, kms.secrets)
        for key_set in key_sets:
            for version in key_set.versions:
                all_told.canaries.add_bytes(f"key material of {key_set.purpose}", version.material)
        yield all_told


def add_secrets(told: Told, secrets: Path) -> None:
    """Name everything that must not come out."""
    canaries = told.canaries
    for value in told.cookies:
        canaries.add("a cookie", value)
    for passport in told.origin.passports:
        canaries.add("a Passport", passport)
    canaries.add("a spoofed Passport", SPOOFED)
    for identity in IDENTITIES:
        canaries.add(f"the token of {identity}", (secrets / f"{identity}.token").read_text().strip())
    canaries.add("the master key", (secrets / "master.key").read_text().strip())
    canaries.add("a password", PASSWORD)
    for name, fact in (("the customer", str(CUSTOMER_ID)), ("the session", SESSION_ID), ("the profile", PROFILE_ID)):
        canaries.add(name, fact)
    canaries.add("the device", "ESN-EDGE-PROCESS")


async def test_the_run_went_where_secrets_could_leak(told: Told) -> None:
    reasons = {line["reason"] for line in told.lines()}
    assert reasons >= {
        "",
        "token_refused",
        "level_too_low",
        "authentication_required",
        "ambiguous_framing",
        "ambiguous_path",
        "malformed_request",
        "bad_host",
        "head_too_large",
        "method_not_allowed",
        "origin_closed",
        "origin_protocol_error",
        "token_service_unavailable",
    }
    actions = {action for line in told.lines() for action in line.get("actions", [])}  # type: ignore[attr-defined]
    assert actions >= {"USER_LOGIN", "USER_LOGOUT"}
    assert any(action.startswith("refused:") for action in actions)
    assert len(told.lines()) == len(told.answers)


async def test_the_search_finds_what_is_there(told: Told) -> None:
    assert "a cookie" in told.canaries.found_in(told.answers), "sign-in sets cookies on purpose"
    assert "a Passport" in told.canaries.found_in(told.origin.received), "an origin gets its Passport"


async def test_a2_rule_24_output_and_access_log_hold_no_secret(told: Told) -> None:
    assert told.canaries.found_in([told.output]) == set()


async def test_a2_metrics_messages_hold_no_secret(told: Told) -> None:
    assert b"edge_refusals_total" in told.metrics
    assert told.canaries.found_in([told.metrics]) == set()


async def test_x6_no_answer_or_error_page_holds_a_secret(told: Told) -> None:
    assert told.canaries.found_in(told.pages()) == set()


async def test_rule_24_the_arguments_and_environment_hold_no_secret(told: Told) -> None:
    assert told.canaries.found_in([told.process]) == set()


async def test_rule_24_the_key_and_cookie_services_say_no_secret(told: Told) -> None:
    assert told.canaries.found_in([told.services]) == set()


async def test_rule_24_the_snapshots_of_the_keys_hold_no_secret_in_the_clear(told: Told) -> None:
    assert told.snapshots.count(b"EPKS") == 2, "the worker and the cookie service have written theirs"
    assert told.canaries.found_in([told.snapshots]) == set()


async def test_the_origin_gets_no_cookie_of_ours_and_no_spoofed_passport(told: Told) -> None:
    at_origin = told.canaries.found_in(re.sub(rb"(?m)^GET .*$", b"", head) for head in told.origin.received)
    assert not at_origin & {"a cookie", "a spoofed Passport"}
