"""The subscriber stub over a real socket."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.web import Application, Request

from origins_stub.kit.bearer import Callers
from origins_stub.kit.process import StartError
from origins_stub.subscriber.server import SubscriberServer
from origins_stub.subscriber.store import Membership, SubscriberStore, read_seed
from passport import Level, PassportMutator, Source, UserAction, UserPart
from passport.testing import PassportFactory

Client = TestClient[Request, Application]
COOKIE = {"Authorization": "Bearer token-of-cookie"}
OPERATOR = {"Authorization": "Bearer token-of-operator"}


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    for identity in ("cookie", "operator"):
        (tmp_path / f"{identity}.token").write_text(f"token-of-{identity}\n")
    readers = Callers.from_files(tmp_path, ["cookie"])
    writers = Callers.from_files(tmp_path, ["operator"])
    server = SubscriberServer(SubscriberStore(tmp_path / "subscriber.sqlite"), readers, writers)
    async with TestClient(TestServer(server.app())) as client:
        yield client


async def test_a_seeded_subscriber_is_a_member(client: Client) -> None:
    answer = await client.get("/v1/subscribers/1001", headers=COOKIE)
    assert answer.status == 200
    assert await answer.json() == {"customer_id": 1001, "account_owner_id": 1001, "member": True}


async def test_a_membership_that_ended_is_seen_by_the_next_reader(client: Client) -> None:
    changed = await client.put(
        "/v1/subscribers/1001", headers=OPERATOR, json={"account_owner_id": 1001, "member": False}
    )
    assert changed.status == 200
    answer = await client.get("/v1/subscribers/1001", headers=COOKIE)
    assert (await answer.json())["member"] is False


async def test_a_new_subscriber_can_be_made(client: Client) -> None:
    await client.put("/v1/subscribers/77", headers=OPERATOR, json={"account_owner_id": 5, "member": True})
    answer = await client.get("/v1/subscribers/77", headers=OPERATOR)
    assert await answer.json() == {"customer_id": 77, "account_owner_id": 5, "member": True}


@pytest.mark.parametrize("customer_id", ["9", "9223372036854775807", "9999999999999999999"])
async def test_an_unknown_subscriber_is_a_404_with_a_reason(client: Client, customer_id: str) -> None:
    answer = await client.get(f"/v1/subscribers/{customer_id}", headers=COOKIE)
    assert answer.status == 404
    assert (await answer.json())["reason"] == "no_such_subscriber"


@pytest.mark.parametrize("authorization", [None, "Bearer ", "Bearer nonsense", "Basic token-of-cookie", "Bearer tökén"])
async def test_an_unknown_caller_is_refused(client: Client, authorization: str | None) -> None:
    headers = {"Authorization": authorization} if authorization else {}
    answer = await client.get("/v1/subscribers/1001", headers=headers)
    assert answer.status == 401
    assert (await answer.json())["reason"] == "unknown_caller"


async def test_a_reader_may_not_change_a_membership(client: Client) -> None:
    body = {"account_owner_id": 1001, "member": False}
    assert (await client.put("/v1/subscribers/1001", headers=COOKIE, json=body)).status == 403
    assert (await client.put("/v1/subscribers/1001", json=body)).status == 401


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"member": true}',
        b'{"member": 1, "account_owner_id": 1}',
        b'{"member": true, "account_owner_id": "1"}',
        b'{"member": true, "account_owner_id": 0}',
        b'{"member": true, "account_owner_id": 9223372036854775808}',
        b'{"member": true, "account_owner_id": 1, "plan": "x"}',
    ],
)
async def test_a_body_that_is_not_a_membership_is_a_400(client: Client, body: bytes) -> None:
    answer = await client.put("/v1/subscribers/1001", headers=OPERATOR, data=body)
    assert answer.status == 400
    assert (await answer.json())["reason"] == "bad_body"


async def test_a_body_over_16_kib_is_a_413(client: Client) -> None:
    answer = await client.put("/v1/subscribers/1001", headers=OPERATOR, data=b" " * 20_000)
    assert answer.status == 413


async def test_health_needs_no_token(client: Client) -> None:
    assert await (await client.get("/health")).json() == {"status": "ok"}


def test_changes_survive_a_restart_and_the_seed_does_not_undo_them(tmp_path: Path) -> None:
    store = SubscriberStore(tmp_path / "s.sqlite")
    seeded = store.get(1001)
    assert seeded is not None
    store.put(seeded.model_copy(update={"member": False}))
    store.close()
    again = SubscriberStore(tmp_path / "s.sqlite")
    kept = again.get(1001)
    again.close()
    assert kept is not None
    assert Membership(account_owner_id=1001, member=False).member == kept.member


def test_a_seed_that_is_no_list_of_subscribers_is_said_plainly(tmp_path: Path) -> None:
    seed = tmp_path / "seed.yaml"
    seed.write_text("- {customer_id: x}")
    with pytest.raises(StartError, match="not a list of subscribers"):
        read_seed(seed)


def test_tokens_of_callers_are_not_in_their_repr(tmp_path: Path) -> None:
    (tmp_path / "cookie.token").write_text("very-secret")
    assert "very-secret" not in repr(Callers.from_files(tmp_path, ["cookie"]))


def test_a_missing_token_file_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="cannot be read"):
        Callers.from_files(tmp_path, ["cookie"])


async def test_without_keys_nobody_is_told_of_themselves(client: Client) -> None:
    assert (await client.get("/v1/me")).status == 404


@pytest.fixture
async def me(tmp_path: Path, factory: PassportFactory) -> AsyncIterator[Client]:
    store = SubscriberStore(tmp_path / "subscriber.sqlite")
    server = SubscriberServer(store, Callers({}), Callers({}), factory, factory.trust_domain)
    async with TestClient(TestServer(server.app())) as client:
        yield client


@pytest.fixture
def factory() -> PassportFactory:
    return PassportFactory(signers=["passport-auth", "passport-other"])


async def test_a_user_is_told_of_themselves_by_their_passport(me: Client, factory: PassportFactory) -> None:
    answer = await me.get("/v1/me", headers=factory.headers())
    assert (answer.status, await answer.json()) == (200, {"customer_id": 1001, "member": True})
    answer = await me.get("/v1/me", headers=factory.headers(factory.value(77)))
    assert (answer.status, await answer.json()) == (200, {"customer_id": 77, "member": False})


@pytest.mark.parametrize(("purpose", "status"), [("passport-auth", 200), ("passport-other", 401)])
async def test_a_passport_that_the_auth_service_has_changed_is_believed_and_no_other(
    me: Client, factory: PassportFactory, purpose: str, status: int
) -> None:
    exchange = factory.exchange(factory.anonymous())
    user = UserPart.of(Source.USER_CREDENTIALS, Level.HIGHEST, 1002, 1002)
    value = PassportMutator(factory, purpose).replace_user(exchange, user, UserAction.USER_LOGIN)
    answer = await me.get("/v1/me", headers=factory.headers(value))
    assert answer.status == status
    if status == 200:
        assert await answer.json() == {"customer_id": 1002, "member": True}


async def test_nobody_has_no_membership(me: Client, factory: PassportFactory) -> None:
    answer = await me.get("/v1/me", headers=factory.headers(factory.anonymous()))
    assert (answer.status, (await answer.json())["reason"]) == (401, "no_user")


async def test_every_bad_passport_is_refused_alike(me: Client, factory: PassportFactory) -> None:
    # A header that long is aiohttp's to refuse.
    values = {reason: value for reason, value in factory.bad_values().items() if len(value) < 8000}
    for reason, value in values.items():
        answer = await me.get("/v1/me", headers=factory.headers(value))
        assert (answer.status, await answer.json()) == (401, {"reason": "passport_refused"}), reason
