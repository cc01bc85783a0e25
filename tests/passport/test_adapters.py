"""Every HTTP adapter keeps the same contract, on a real server: tests/passport/serving.py."""

from base64 import b64decode, b64encode
from collections.abc import Iterator

import aiohttp
import pytest
from multidict import CIMultiDict

from passport import HEADER, Level, PassportRefusal, Source, UserAction, UserPart
from passport.integrity import split_envelope
from tests.passport.samples import CUSTOMER_ID, KEYS, NOW, build
from tests.passport.serving import SERVERS, Service, running

RAW = build()
VALUE = b64encode(RAW).decode()
HIGHEST = b64encode(build(UserPart.of(Source.USER_CREDENTIALS, Level.HIGHEST, CUSTOMER_ID, 17))).decode()


@pytest.fixture(scope="module", params=SERVERS)
def served(request: pytest.FixtureRequest) -> Iterator[Service]:
    made = Service()
    with running(request.param, made):
        yield made


@pytest.fixture
def service(served: Service) -> Service:
    served.passport_keys = KEYS
    served.refused.clear()
    return served


@pytest.fixture(scope="module")
def talking() -> Iterator[Service]:
    made = Service()
    with running("starlette", made):
        yield made


async def ask(service: Service, *values: str, path: str = "/who", name: str = HEADER) -> tuple[int, object, list[str]]:
    headers = CIMultiDict([(name, value) for value in values])
    async with (
        aiohttp.ClientSession() as session,
        session.get(service.url + path, headers=headers, allow_redirects=False) as answer,
    ):
        body = await answer.json() if answer.content_type == "application/json" else None
        return answer.status, body, answer.headers.getall(HEADER, [])


@pytest.mark.parametrize("name", [HEADER, HEADER.lower(), HEADER.upper()])
async def test_a_handler_gets_the_verified_passport(service: Service, name: str) -> None:
    assert await ask(service, VALUE, name=name) == (200, {"customer_id": CUSTOMER_ID}, [])
    assert service.refused == []


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ((), PassportRefusal.MISSING),
        (("",), PassportRefusal.MISSING),
        ((VALUE, VALUE), PassportRefusal.REPEATED),
        ((VALUE, ""), PassportRefusal.REPEATED),
        ((f"{VALUE},{VALUE}",), None),
        ((VALUE + "=",), PassportRefusal.NOT_CANONICAL),
        (("AAAA",), PassportRefusal.MALFORMED),
        ((b64encode(RAW[:-1] + bytes([RAW[-1] ^ 1])).decode(),), PassportRefusal.BAD_MAC),
        ((b64encode(build(version=1)).decode(),), PassportRefusal.VERSION_NOT_ACCEPTED),
        ((b64encode(build(now=NOW - 1000)).decode(),), PassportRefusal.EXPIRED),
    ],
)
async def test_x1_x4_x5_every_refusal_looks_the_same_from_outside(
    service: Service, values: tuple[str, ...], reason: PassportRefusal | None
) -> None:
    assert await ask(service, *values) == (401, {"reason": "passport_refused"}, [])
    assert len(service.refused) == 1
    assert reason is None or service.refused == [reason]


async def test_without_keys_nothing_is_let_through(service: Service) -> None:
    service.passport_keys = None
    assert await ask(service, VALUE) == (503, {"reason": "keys_unavailable"}, [])


async def test_public_paths_need_no_passport(service: Service) -> None:
    assert await ask(service, path="/health") == (200, {"status": "ok"}, [])
    assert await ask(service, "nonsense", path="/health") == (200, {"status": "ok"}, [])
    assert (await ask(service, path="/health/"))[0] == 401


async def test_what_is_asked_for_in_a_handler_is_answered_for_it(service: Service) -> None:
    assert await ask(service, HIGHEST, path="/account") == (200, {"account_owner_id": 17}, [])
    assert await ask(service, VALUE, path="/account") == (403, {"reason": "level_too_low"}, [])
    nobody = b64encode(build(UserPart(b""))).decode()
    assert await ask(service, nobody, path="/account") == (401, {"reason": "no_user"}, [])
    assert service.refused == []


async def test_a_changed_passport_goes_back_on_the_response(service: Service) -> None:
    status, newest, returned = await ask(service, VALUE, path="/change")
    assert (status, newest) == (200, {"customer_id": None})
    assert len(returned) == 1
    changed = split_envelope(b64decode(returned[0]))
    assert changed.header == split_envelope(RAW).header
    assert changed.user_info.endswith(b"\x62\x01" + bytes([UserAction.USER_LOGOUT]))


async def test_a_handler_may_set_the_header_itself(service: Service) -> None:
    assert await ask(service, VALUE, path="/own") == (200, {}, ["own"])


async def test_one_request_after_another_on_one_connection_has_its_own_passport(service: Service) -> None:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session:
        for customer_id in (1, 2, None, 3):
            part = UserPart(b"") if customer_id is None else UserPart.of(Source.COOKIE, Level.LOW, customer_id, 1)
            headers = {HEADER: b64encode(build(part)).decode()}
            async with session.get(service.url + "/who", headers=headers) as answer:
                assert await answer.json() == {"customer_id": customer_id}


async def test_a_redirect_takes_a_changed_passport_along() -> None:
    made = Service()
    async with SERVERS["aiohttp"](made):
        status, _, returned = await ask(made, VALUE, path="/away")
    assert (status, len(returned)) == (302, 1)


@pytest.mark.parametrize(
    ("values", "query", "status"), [((), "", 401), ((VALUE, VALUE), "", 401), ((VALUE,), "?ask=1", 403)]
)
async def test_a_websocket_without_what_it_needs_is_not_accepted(
    talking: Service, values: tuple[str, ...], query: str, status: int
) -> None:
    headers = CIMultiDict([(HEADER, value) for value in values])
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(f"{talking.url}/talk{query}", headers=headers)
    assert refused.value.status == status


async def test_a_websocket_has_the_passport_of_its_request(talking: Service) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{talking.url}/talk", headers={HEADER: VALUE}) as websocket,
    ):
        assert await websocket.receive_json() == {"customer_id": CUSTOMER_ID}
