"""The cookie service as a process: its keys outlive an outage of the KMS, and what stops it from starting."""

import asyncio
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from edgepb.cookie.v1 import cookie_service_pb2 as pb
from hypothesis import given
from hypothesis import strategies as st

from services.cookie.config import CookieConfig
from services.cookie.subscriber import Membership, Standing, read_membership
from services.kit.config import read_config
from services.kit.process import StartError
from tests.postgres import postgres_running
from tests.processes import eventually, free_port, make_secrets, process, started
from tests.services.cookie_calls import CONFIG, Cookies, cookie_arguments, cookies_running, sealed
from tests.services.kms_calls import kms_running
from tests.services.subscriber import FORMER_MEMBER, subscribers_running
from tokens.cookie import MAX_LIFE_S


async def test_a_running_service_keeps_its_keys_while_kms_and_subscriber_service_are_down(tmp_path: Path) -> None:
    down = f"http://127.0.0.1:{free_port()}"
    async with kms_running(tmp_path) as kms, cookies_running(kms, down, tmp_path) as cookies:
        ring = await cookies.ring()
        await kms.process.kill()
        await cookies.process.said("keys_not_refreshed")
        pair = await cookies.create()
        assert (await cookies.renew(pair.insecure)).outcome == pb.UNAVAILABLE
        assert (await cookies.renew(sealed(ring)[0])).outcome == pb.UNAVAILABLE
        forged = pair.insecure[:-4] + (b"AAAA" if pair.insecure[-4:] != b"AAAA" else b"BBBB")
        assert (await cookies.renew(forged)).outcome == pb.REFUSED
        # Not known to be forged: with newer keys it might open.
        unknown = pair.insecure[:2] + (b"AAAA" if pair.insecure[2:6] != b"AAAA" else b"BBBB") + pair.insecure[6:]
        assert (await cookies.renew(unknown)).outcome == pb.UNAVAILABLE

        async def many() -> None:
            answers = await asyncio.gather(*(cookies.renew(pair.insecure) for _ in range(25)))
            assert {answer.outcome for answer in answers} == {pb.UNAVAILABLE}

        async def left_alone() -> bool:
            await many()
            async with kms.session.get(cookies.process.url + "/health") as response:
                return bool((await response.json())["subscriber_breaker"] == "open")

        await eventually(left_alone, "the subscriber service is left alone")
        await many()  # one of them may be a probe
        await cookies.process.said('"detail": "subscriber: breaker open"')
        assert '"of": "subscriber", "was": "closed", "state": "open"' in cookies.process.output()
        assert await cookies.process.stop() == 0


async def test_metrics_tell_what_became_of_calls_and_of_the_keys(tmp_path: Path) -> None:
    async with (
        kms_running(tmp_path) as kms,
        subscribers_running() as subscribers,
        cookies_running(kms, subscribers.url, tmp_path) as cookies,
    ):
        pair = await cookies.create()
        await cookies.renew(pair.insecure)
        await cookies.renew(b"forged")
        await cookies.revoke(pb.PASSWORD_CHANGED)
        async with kms.session.get(cookies.process.url + "/metrics") as response:
            assert response.content_type == "text/plain"
            lines = dict(line.rsplit(" ", 1) for line in (await response.text()).splitlines())
    for series, value in {
        'cookie_calls_total{call="create",outcome="created"}': 1,
        'cookie_calls_total{call="renew",outcome="renewed"}': 1,
        'cookie_calls_total{call="renew",outcome="refused"}': 1,
        'cookie_calls_total{call="renew",outcome="unavailable"}': 0,
        'cookie_calls_total{call="revoke",outcome="revoked"}': 1,
        'cookie_breaker_state{breaker="subscriber"}': 0,
        'cookie_breaker_state{breaker="database"}': 0,
        "cookie_key_store_lost": 0,
    }.items():
        assert float(lines[series]) == value, series
    assert 0 <= float(lines['cookie_key_ring_age_seconds{source="kms"}']) < 60


def is_there(path: Path) -> bool:
    return path.exists()


async def test_k1_with_the_kms_down_a_service_starts_from_the_snapshot_of_the_one_before(tmp_path: Path) -> None:
    async with kms_running(tmp_path) as kms, subscribers_running() as subscribers:
        async with cookies_running(kms, subscribers.url, tmp_path) as before:
            pair = await before.create()

            async def written() -> bool:
                return is_there(tmp_path / "var" / "keys.cookie.snapshot")

            await eventually(written, "the snapshot is written")
        await kms.process.kill()
        async with cookies_running(kms, subscribers.url, tmp_path) as cookies:
            assert "keys_from_snapshot" in cookies.process.output()
            assert (await cookies.renew(pair.insecure)).outcome == pb.RENEWED
            async with kms.session.get(cookies.process.url + "/health") as response:
                health = await response.json()
            assert health["keys"]["source"] == "snapshot"
            assert (health["subscriber_breaker"], health["database_breaker"]) == ("closed", "closed")
            assert 0 <= health["keys"]["age_s"] < 60


async def test_a_service_started_before_the_kms_waits_for_its_keys(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    secrets = make_secrets(tmp_path / "secrets")
    arguments = cookie_arguments(f"http://{address}", f"http://127.0.0.1:{free_port()}", secrets)
    async with started("services.cookie", *arguments) as (early, _):
        await early.said("waiting_for_keys")
        assert "listening" not in early.output()
        async with kms_running(tmp_path, listen=address) as kms:
            await early.said("listening on ")
            early.address = early.output().split("listening on ")[1].split()[0]
            assert (await Cookies(early, kms, "").create()).generation == 1


async def test_a_service_that_waits_for_its_keys_still_ends_with_0_on_ctrl_c(tmp_path: Path) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    arguments = cookie_arguments(nobody, nobody, make_secrets(tmp_path))
    async with started("services.cookie", *arguments) as (waiting, _):
        await waiting.said("waiting_for_keys")
        assert await waiting.stop(signal.SIGINT) == 0


async def test_a_process_that_does_not_become_ready_fails_its_test_with_what_it_said(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"(?s)ended with 1 before it was ready.*cannot be read"):
        async with process("services.cookie", "--secrets", str(tmp_path)):
            pass


async def test_a_database_that_is_away_signs_nobody_out_and_goes_on_when_it_is_back(
    tmp_path: Path, postgres_programs: Path
) -> None:
    async with AsyncExitStack() as stack:
        server = stack.enter_context(postgres_running(postgres_programs))
        subscribers = await stack.enter_async_context(subscribers_running())
        kms = await stack.enter_async_context(kms_running(tmp_path))
        running = cookies_running(kms, subscribers.url, tmp_path, server.new_database())
        cookies = await stack.enter_async_context(running)

        async def outcome(pair: pb.CookiePair) -> pb.RenewOutcome:
            return (await cookies.renew(pair.insecure)).outcome

        revoked, member, former = await cookies.create(), await cookies.create(), await cookies.create(FORMER_MEMBER)
        await cookies.revoke(pb.LOGOUT, session_id=(await cookies.opened(revoked)).session_id)
        start = (await cookies.feed()).cursor
        following = asyncio.create_task(cookies.follow(f"after={start}&wait_s=60"))
        server.stop()
        assert (await following)[0] == 503
        assert await outcome(revoked) == await outcome(member) == pb.UNAVAILABLE
        assert await outcome(former) == pb.NOT_A_MEMBER
        made_meanwhile = await cookies.create()
        assert "created_without_a_look_at_revocations" in cookies.process.output()
        server.start()
        assert await outcome(revoked) == pb.REVOKED
        assert await outcome(member) == await outcome(made_meanwhile) == pb.RENEWED
        assert list((await cookies.feed(start)).revocations) == []


@given(st.binary(max_size=200))
def test_an_answer_of_any_bytes_is_no_statement_about_a_membership(body: bytes) -> None:
    assert read_membership(body, 1001).standing is Standing.UNKNOWN


@pytest.mark.parametrize("member", ["null", "0", '"false"', "[]", "{}", '""'])
def test_only_a_plain_true_or_false_is_a_statement_about_a_membership(member: str) -> None:
    def body(value: str) -> bytes:
        return f'{{"customer_id": 1001, "account_owner_id": 7, "member": {value}}}'.encode()

    assert read_membership(body(member), 1001).standing is Standing.UNKNOWN
    said = body("false")
    assert read_membership(said, 1001) == Membership(Standing.NOT_A_MEMBER, 7)
    assert read_membership(said, 1002).standing is Standing.UNKNOWN


@pytest.mark.parametrize(
    ("before", "after", "place"),
    [
        ("life_s: 14400", f"life_s: {MAX_LIFE_S + 1}", "life_s: "),
        ("life_s: 14400", "life_s: 1", "life_s: "),
        ("renew_after_share: 0.5", "renew_after_share: 1.0", "renew_after_share: "),
        ("environment: local", "", "environment: "),
        ("secure: SecureEdgeId", "secure: EdgeId", "the two cookies need two names"),
        ("secure: SecureEdgeId", "secure: Secure;EdgeId", "names.secure: "),
        ("names:", "surprise: 1\nnames:", "surprise: "),
        ("auth: [revoke]", "auth: [revoke, rule]", "identities.auth"),
        ("identities:", "identities: {}\nothers:", "identities: "),
        ("life_s: 14400", "revocations: {feed_s: 90000, keep_s: 86400}", "feed_s goes back further than keep_s"),
        ("life_s: 14400", "revocations: {feed_s: 3600}", "revocations.feed_s: "),
        ("life_s: 14400", "database: {url: postgresql+psycopg://a:b@c/d}", "database.url: "),
    ],
)
def test_a_mistake_in_the_config_is_named_with_its_place(tmp_path: Path, before: str, after: str, place: str) -> None:
    config, text = tmp_path / "cookie.yaml", CONFIG.read_text()
    assert before in text
    config.write_text(text.replace(before, after, 1))
    with pytest.raises(StartError) as caught:
        read_config(config, CookieConfig)
    assert str(caught.value).startswith(str(config))
    assert place in str(caught.value)
