"""Signing in and out over the wire: the action of a returned Passport becomes cookies, and no Passport gets out."""

import base64
import time
from collections.abc import Awaitable, Callable

import pytest

from edge.contract.ports import CookiePair
from passport import NO_USER, Level, Source, UserAction, UserPart, with_user
from tests.edge.raw import OriginConnection, RawResponse, connected, ok, raw_origin, request, response
from tests.edge.running import Keys, RunningEdge, running_edge

LOGIN = request(b"POST", b"/login", b"Content-Length: 2", body=b"{}")


class AuthOrigin:
    """An origin that answers every request with a Passport that carries an action; `keys` are those of the edge."""

    def __init__(
        self,
        action: UserAction,
        purpose: str = "passport-auth",
        answer: Callable[[bytes], bytes] = lambda line: ok(b"{}", line),
    ) -> None:
        self.action = action
        self.purpose = purpose
        self.answer = answer
        self.keys: Keys | None = None

    async def __call__(self, connection: OriginConnection) -> None:
        """Answer."""
        while (seen := await connection.request()) is not None:
            assert self.keys is not None
            signer = self.keys.passport_keys.signer(self.purpose)
            assert signer is not None
            signed_in = UserPart.of(Source.USER_CREDENTIALS, Level.HIGH, 42, 42)
            user = signed_in if self.action is UserAction.USER_LOGIN else NO_USER
            received = base64.b64decode(seen.get(b"x-passport") or b"")
            returned = with_user(received, user, [self.action], signer, now=int(time.time()))
            await connection.send(self.answer(b"X-Passport: " + returned.encode()))


def pair_for(edge: RunningEdge, customer_id: int) -> CookiePair:
    """Return a pair as the cookie service would make it."""
    halves = [piece.partition("=")[2].encode() for piece in edge.keys.cookies(customer_id).split("; ")]
    return CookiePair(halves[0], halves[1], int(time.time()) + 14400, 1)


async def answer_of(
    origin: AuthOrigin, prepare: Callable[[RunningEdge], Awaitable[None] | None], asked: bytes = LOGIN
) -> RawResponse:
    """Send a request through an edge and return what the device gets."""
    async with raw_origin(origin) as listening, running_edge(listening.address) as edge, connected(edge.port) as client:
        origin.keys = edge.keys
        prepare(edge)
        answer = await client.ask(asked)
        assert answer.get(b"x-passport") is None
        return answer


async def test_a_sign_in_sets_both_cookies_and_forbids_caches() -> None:
    def prepare(edge: RunningEdge) -> None:
        edge.service.pair = pair_for(edge, 42)

    answer = await answer_of(AuthOrigin(UserAction.USER_LOGIN), prepare)
    assert [value.partition(b"=")[0] for value in answer.all(b"set-cookie")] == [b"EdgeId", b"SecureEdgeId"]
    assert answer.get(b"cache-control") == b"no-store"


@pytest.mark.parametrize("made_for", [43, None])
async def test_r7_cookies_that_are_not_this_users_or_not_ours_are_never_set(made_for: int | None) -> None:
    def prepare(edge: RunningEdge) -> None:
        foreign = CookiePair(b"AAAA", b"BBBB", int(time.time()) + 14400, 1)
        edge.service.pair = foreign if made_for is None else pair_for(edge, made_for)

    answer = await answer_of(AuthOrigin(UserAction.USER_LOGIN), prepare)
    assert (answer.status, answer.all(b"set-cookie")) == (503, [])
    assert b"token_service_unavailable" in answer.body


async def test_a_sign_in_while_the_cookie_service_is_down_is_a_clean_503() -> None:
    answer = await answer_of(AuthOrigin(UserAction.USER_LOGIN), lambda _: None)
    assert (answer.status, answer.all(b"set-cookie")) == (503, [])


async def test_a_sign_out_clears_both_cookies() -> None:
    answer = await answer_of(AuthOrigin(UserAction.USER_LOGOUT), lambda _: None)
    assert answer.status == 200
    assert [value.partition(b";")[0] for value in answer.all(b"set-cookie")] == [b"EdgeId=", b"SecureEdgeId="]


@pytest.mark.parametrize("purpose", ["passport-user", "passport-device"])
async def test_x7_an_action_under_a_key_without_a_grant_changes_nothing(purpose: str) -> None:
    def prepare(edge: RunningEdge) -> None:
        edge.service.pair = pair_for(edge, 42)

    answer = await answer_of(AuthOrigin(UserAction.USER_LOGIN, purpose), prepare)
    assert (answer.status, answer.all(b"set-cookie")) == (200, [])


async def test_x9_an_action_on_a_streamed_answer_sets_its_cookies_before_the_body() -> None:
    def streamed(line: bytes) -> bytes:
        return response(b"200 OK", b"Transfer-Encoding: chunked", line) + b"3\r\nabc\r\n0\r\n\r\n"

    def prepare(edge: RunningEdge) -> None:
        edge.service.pair = pair_for(edge, 42)

    answer = await answer_of(AuthOrigin(UserAction.USER_LOGIN, answer=streamed), prepare)
    assert (answer.body, len(answer.all(b"set-cookie"))) == (b"abc", 2)


async def test_x9_an_action_on_the_answer_to_head_sets_its_cookies() -> None:
    def bodiless(line: bytes) -> bytes:
        return response(b"200 OK", b"Content-Length: 5", line)

    answer = await answer_of(
        AuthOrigin(UserAction.USER_LOGOUT, answer=bodiless), lambda _: None, request(b"HEAD", b"/echo")
    )
    assert (answer.status, answer.body, len(answer.all(b"set-cookie"))) == (200, b"", 2)


@pytest.mark.parametrize("status", [b"304 Not Modified", b"500 Internal Server Error", b"503 Service Unavailable"])
async def test_x7_x9_an_action_on_an_answer_that_did_nothing_is_refused(status: bytes) -> None:
    def failed(line: bytes) -> bytes:
        lines = [line] if status.startswith(b"304") else [b"Content-Length: 0", line]
        return response(status, *lines)

    answer = await answer_of(
        AuthOrigin(UserAction.USER_LOGOUT, answer=failed), lambda _: None, request(b"GET", b"/echo")
    )
    assert (answer.status, answer.all(b"set-cookie")) == (int(status[:3]), [])


async def test_x9_an_action_on_an_interim_answer_is_not_heard() -> None:
    def hinted(line: bytes) -> bytes:
        return b"HTTP/1.1 103 Early Hints\r\n" + line + b"\r\n\r\n" + ok(b"{}")

    answer = await answer_of(AuthOrigin(UserAction.USER_LOGOUT, answer=hinted), lambda _: None)
    assert (answer.status, answer.all(b"set-cookie")) == (200, [])
    assert all(name != b"x-passport" for _, fields in answer.interim for name, _ in fields)
