"""Login and logout through API, auth and KMS as real processes, seen as the edge sees them."""

import os
import signal
import time

import aiohttp
import pytest

from passport import Level, PassportRefused, Source
from passport.aiohttp import HEADER
from passport.integrity import split_envelope
from passport.introspector import PassportIntrospector, decode_base64
from passport.returned import Accepted, Grant, RefusedAction, ReturnedRefusal, check_returned
from tests.origins_stub.conftest import DEVICE, TRUST_DOMAIN, Edge, Origins, user_of_level
from tests.processes import Process

GOOD = {"email": "demo@example.com", "password": "correct horse battery staple"}
GRANTS = {"passport-auth": Grant.named(["user"], ["USER_LOGIN", "USER_LOGOUT"])}


async def post(session: aiohttp.ClientSession, url: str, passport: str | None, body: object) -> aiohttp.ClientResponse:
    headers = {} if passport is None else {HEADER: passport}
    return await session.post(url, json=body, headers=headers)


async def test_a_login_answers_with_a_passport_that_the_edge_accepts(
    origins: Origins, edge: Edge, session: aiohttp.ClientSession
) -> None:
    sent = edge.passport(device=DEVICE)
    answer = await post(session, f"{origins.api.url}/login", sent, GOOD)
    assert answer.status == 200
    assert answer.headers["Cache-Control"] == "no-store"
    returned = answer.headers[HEADER]
    checked = check_returned(sent.encode(), returned.encode(), edge.keys, GRANTS, now=time.time())
    assert isinstance(checked, Accepted)
    assert [entry.name for entry in checked.actions] == ["USER_LOGIN"]
    assert (checked.passport.customer_id, checked.passport.account_owner_id) == (1001, 1001)
    assert (checked.passport.user_source, checked.passport.user_level) == (Source.USER_CREDENTIALS, Level.HIGHEST)
    assert checked.passport.esn == "ESN-1"


async def test_the_returned_passport_keeps_header_and_device_byte_for_byte(
    origins: Origins, edge: Edge, session: aiohttp.ClientSession
) -> None:
    sent = edge.passport(device=DEVICE)
    answer = await post(session, f"{origins.api.url}/login", sent, GOOD)
    before, after = (split_envelope(decode_base64(value)) for value in (sent, answer.headers[HEADER]))
    assert (after.header, after.device_info, after.device_integrity) == (
        before.header,
        before.device_info,
        before.device_integrity,
    )
    assert after.user_integrity.key_name.startswith("passport-auth:")


async def test_x7_a_login_passport_of_another_exchange_is_refused(
    origins: Origins, edge: Edge, session: aiohttp.ClientSession
) -> None:
    answer = await post(session, f"{origins.api.url}/login", edge.passport(), GOOD)
    other = edge.passport(request_id=b"f" * 32)
    checked = check_returned(other.encode(), answer.headers[HEADER].encode(), edge.keys, GRANTS, now=time.time())
    assert checked == RefusedAction(ReturnedRefusal.HEADER_CHANGED)


async def test_a_returned_passport_is_no_passport_of_the_edge(
    origins: Origins, edge: Edge, session: aiohttp.ClientSession
) -> None:
    answer = await post(session, f"{origins.api.url}/login", edge.passport(), GOOD)
    with pytest.raises(PassportRefused, match="key_purpose"):
        PassportIntrospector.from_base64(answer.headers[HEADER], edge.keys, now=time.time(), trust_domain=TRUST_DOMAIN)
    browse = await session.get(f"{origins.api.url}/browse", headers={HEADER: answer.headers[HEADER]})
    assert browse.status == 401


@pytest.mark.parametrize(
    ("email", "password"),
    [
        ("demo@example.com", "wrong"),
        ("nobody@example.com", GOOD["password"]),
        ("other@example.com", GOOD["password"]),
        ("demo@example.com", GOOD["password"].upper()),
        ("' OR 1=1 --", "x"),
    ],
)
async def test_wrong_credentials_are_a_clean_401_without_a_passport(
    origins: Origins, edge: Edge, session: aiohttp.ClientSession, email: str, password: str
) -> None:
    answer = await post(session, f"{origins.api.url}/login", edge.passport(), {"email": email, "password": password})
    assert answer.status == 401
    assert HEADER not in answer.headers
    assert await answer.json() == {
        "status": 401,
        "reason": "wrong_credentials",
        "detail": "The e-mail address or the password is wrong.",
    }


@pytest.mark.parametrize("body", [None, [], {}, {"email": "x"}, {"email": 1, "password": "x"}, GOOD | {"admin": True}])
async def test_a_body_that_is_no_login_is_a_400(
    origins: Origins, edge: Edge, session: aiohttp.ClientSession, body: object
) -> None:
    answer = await post(session, f"{origins.api.url}/login", edge.passport(), body)
    assert answer.status == 400
    assert (await answer.json())["reason"] == "bad_body"


async def test_a_login_body_over_16_kib_is_a_413(origins: Origins, edge: Edge, session: aiohttp.ClientSession) -> None:
    for url in (f"{origins.api.url}/login", f"{origins.auth.url}/v1/login"):
        answer = await post(session, url, edge.passport(), GOOD | {"password": "x" * 20_000})
        assert answer.status == 413


async def test_the_case_of_an_email_address_does_not_matter(
    origins: Origins, edge: Edge, session: aiohttp.ClientSession
) -> None:
    answer = await post(session, f"{origins.api.url}/login", edge.passport(), GOOD | {"email": " Demo@Example.COM"})
    assert answer.status == 200


async def test_the_auth_service_wants_a_passport(origins: Origins, edge: Edge, session: aiohttp.ClientSession) -> None:
    expired, foreign = edge.passport(age_s=3600), edge.passport(trust_domain="elsewhere")
    for passport in (None, "", "Zm9yZ2Vk", expired, foreign):
        for path in ("/v1/login", "/v1/logout"):
            answer = await post(session, origins.auth.url + path, passport, GOOD)
            assert answer.status == 401
            assert await answer.json() == {"reason": "passport_refused"}
            assert HEADER not in answer.headers


async def test_a_logout_answers_with_nobody(origins: Origins, edge: Edge, session: aiohttp.ClientSession) -> None:
    sent = edge.passport(user_of_level(Level.HIGH), DEVICE)
    answer = await post(session, f"{origins.api.url}/logout", sent, None)
    assert answer.status == 200
    checked = check_returned(sent.encode(), answer.headers[HEADER].encode(), edge.keys, GRANTS, now=time.time())
    assert isinstance(checked, Accepted)
    assert [entry.name for entry in checked.actions] == ["USER_LOGOUT"]
    assert checked.passport.customer_id is None
    assert checked.passport.esn == "ESN-1"


async def test_nobody_may_log_out_too(origins: Origins, edge: Edge, session: aiohttp.ClientSession) -> None:
    answer = await post(session, f"{origins.api.url}/logout", edge.passport(), None)
    assert answer.status == 200
    assert HEADER in answer.headers


async def test_a_dead_auth_service_is_a_clean_503(
    api_without_auth: Process, edge: Edge, session: aiohttp.ClientSession
) -> None:
    for path in ("/login", "/logout"):
        answer = await post(session, api_without_auth.url + path, edge.passport(), GOOD)
        assert answer.status == 503
        assert (await answer.json())["reason"] == "auth_unavailable"
        assert HEADER not in answer.headers
    browse = await session.get(
        f"{api_without_auth.url}/browse", headers={HEADER: edge.passport(user_of_level(Level.LOW))}
    )
    assert browse.status == 200


async def test_a_hanging_auth_service_is_a_clean_503(
    origins: Origins, edge: Edge, session: aiohttp.ClientSession
) -> None:
    os.kill(origins.auth.pid, signal.SIGSTOP)
    try:
        answer = await post(session, f"{origins.api.url}/login", edge.passport(), GOOD)
        assert answer.status == 503
        assert (await answer.json())["reason"] == "auth_unavailable"
    finally:
        os.kill(origins.auth.pid, signal.SIGCONT)


async def test_no_password_and_no_passport_is_ever_logged(
    origins: Origins, api_without_auth: Process, edge: Edge, session: aiohttp.ClientSession
) -> None:
    passport = edge.passport()
    secrets = [GOOD["password"], "a wrong guess", passport]
    await post(session, f"{origins.api.url}/login", passport, GOOD)
    await post(session, f"{origins.api.url}/login", passport, GOOD | {"password": "a wrong guess"})
    await post(session, f"{origins.api.url}/login", passport, {"password": "a wrong guess"})
    await post(session, f"{origins.auth.url}/v1/login", passport[:-4], GOOD)
    await post(session, f"{api_without_auth.url}/login", passport, GOOD)
    written = origins.api.output() + origins.auth.output() + api_without_auth.output()
    assert "passport_refused" in written
    assert "service_unavailable" in written
    assert not [secret for secret in secrets if secret in written]
