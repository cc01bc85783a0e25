"""Rule 11: every kind of token in every place where a token is taken. Only the diagonal passes.

Each row also comes from another deployment, whose keys and tokens differ and whose key ids are the same.
"""

import os
from base64 import b64decode, b64encode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from edgepb.kms.v1 import kms_pb2

from edge.contract.filters import CONTINUE
from edge.contract.identity import Level as EdgeLevel
from filters.inbound.cookie import CookieFilter
from filters.inbound.hygiene import HygieneFilter
from passport import (
    NO_DEVICE,
    NO_USER,
    Level,
    MacKey,
    PassportBuilder,
    PassportIntrospector,
    PassportKeys,
    PassportRefused,
    Source,
    UserAction,
    UserPart,
    with_user,
)
from passport.returned import Accepted, Grant, check_returned
from services.kit.callers import Callers
from services.kms.access import Outcome, may_fetch, may_operate
from services.kms.config import Identity, KmsConfig, Use
from tests.filters.exchanges import an_exchange
from tests.tokens.rings import ENVIRONMENT, NAMES, NOW, claims
from tokens.cookie import seal_pair
from tokens.keys.ring import KeyRing

PURPOSES = ("cookie", "cookie-rescheduled", "passport-user", "passport-device", "passport-auth")
GRANTS = {"passport-auth": Grant.named(["user"], ["USER_LOGIN", "USER_LOGOUT"])}
CONFIG = KmsConfig(
    key_sets=PURPOSES,
    identities={
        "edge": Identity(grants=dict.fromkeys(PURPOSES, frozenset(Use))),
        "operator": Identity(operator=True),
    },
)
SIGNED_IN = UserPart.of(Source.USER_CREDENTIALS, Level.HIGH, 4711, 4711)
REQUEST_ID = b"0123456789abcdef0123456789abcdef"


class Deployment:
    """Keys of one deployment. All purposes have the same material, and all deployments the same ids: the worst case."""

    def __init__(self) -> None:
        material = os.urandom(32)
        sets = [
            kms_pb2.KeySet(
                purpose=purpose,
                versions=[kms_pb2.KeyVersion(key_id=number, state=kms_pb2.ACTIVE, material=material, primary=True)],
            )
            for number, purpose in enumerate(PURPOSES, start=1)
        ]
        self.ring = KeyRing.from_key_sets(sets, 1)
        self.keys = PassportKeys.from_key_sets(sets)
        self.tokens = {identity: urlsafe_b64encode(os.urandom(32)).decode() for identity in CONFIG.identities}
        self.callers = Callers(self.tokens)
        self.sent = self.passport(NO_USER)  # the Passport of the exchange whose answer is judged

    def signer(self, purpose: str) -> MacKey:
        key = self.keys.signer(purpose)
        assert key is not None
        return key

    def passport(self, user: UserPart) -> bytes:
        builder = PassportBuilder("edge", ENVIRONMENT, self.signer("passport-user"), self.signer("passport-device"), 60)
        return builder.header_value(REQUEST_ID, user, NO_DEVICE, NOW)

    def pair(self) -> tuple[bytes, bytes]:
        return seal_pair(self.ring, NAMES, ENVIRONMENT, claims(), (os.urandom(12), os.urandom(12)))


HERE, ELSEWHERE = Deployment(), Deployment()
PAIR = HERE.pair()


@dataclass(frozen=True)
class Kind:
    """A kind of token: how a deployment makes one, and how the place that is its own takes it."""

    make: Callable[[Deployment], bytes]
    taken: Callable[[bytes], bool]


def returned_passport(of: Deployment) -> bytes:
    sent = b64decode(HERE.sent)
    return with_user(sent, SIGNED_IN, [UserAction.USER_LOGIN], of.signer("passport-auth"), now=NOW).encode()


def user_level(insecure: bytes, secure: bytes | None) -> EdgeLevel:
    """Return the level that these cookies give; UNSPECIFIED when they are refused or nobody's."""
    cookie = b"EdgeId=" + insecure + (b"" if secure is None else b"; SecureEdgeId=" + secure)
    exchange = an_exchange((b"Host", b"edge.example"), (b"Cookie", cookie), secure=True)
    exchange.now = NOW
    verdict = CookieFilter(HERE, NAMES, ENVIRONMENT, 10).inbound(exchange)
    return exchange.user.level if verdict is CONTINUE and exchange.user is not None else EdgeLevel.UNSPECIFIED


def taken_as_passport(value: bytes) -> bool:
    try:
        PassportIntrospector.from_base64(value, HERE.keys, now=NOW, trust_domain=ENVIRONMENT)
    except PassportRefused:
        return False
    return True


def taken_as_answer(value: bytes) -> bool:
    return isinstance(check_returned(HERE.sent, value, HERE.keys, GRANTS, now=NOW), Accepted)


def identity(value: bytes) -> str | None:
    return HERE.callers.identify("Bearer " + value.decode())


def may_fetch_keys(value: bytes) -> bool:
    caller = identity(value)
    return caller is not None and may_fetch(CONFIG, caller, ["cookie"]) is Outcome.GRANTED


def may_move_keys(value: bytes) -> bool:
    caller = identity(value)
    return caller is not None and may_operate(CONFIG, caller) is Outcome.GRANTED


KINDS = {
    "EdgeId": Kind(lambda of: PAIR[0] if of is HERE else of.pair()[0], lambda value: user_level(value, None) > 0),
    "SecureEdgeId": Kind(
        lambda of: PAIR[1] if of is HERE else of.pair()[1],
        lambda value: user_level(PAIR[0], value) == EdgeLevel.HIGH,
    ),
    "Passport": Kind(lambda of: of.passport(SIGNED_IN), taken_as_passport),
    "returned Passport": Kind(returned_passport, taken_as_answer),
    "token of the edge": Kind(lambda of: of.tokens["edge"].encode(), may_fetch_keys),
    "token of an operator": Kind(lambda of: of.tokens["operator"].encode(), may_move_keys),
}


def spellings(token: bytes) -> set[bytes]:
    """Return the token as it is, its bytes in both base64 alphabets with and without padding, and once more encoded."""
    text = token.rstrip(b"=").translate(bytes.maketrans(b"-_", b"+/"))
    raw = b64decode(text + b"=" * (-len(text) % 4), validate=True)
    encoded = {spelling for each in (raw, token) for spelling in (b64encode(each), urlsafe_b64encode(each))}
    return {token} | encoded | {spelling.rstrip(b"=") for spelling in encoded}


@pytest.mark.parametrize("kind", KINDS)
def test_rule_11_a_token_passes_in_its_own_place_only(kind: str) -> None:
    token = KINDS[kind].make(HERE)
    assert [place for place in KINDS if KINDS[place].taken(token)] == [kind]


@pytest.mark.parametrize("kind", KINDS)
def test_rule_11_no_spelling_helps_a_token_into_another_place(kind: str) -> None:
    for text in spellings(KINDS[kind].make(HERE)):
        assert {place for place in KINDS if KINDS[place].taken(text)} <= {kind}


@pytest.mark.parametrize("kind", KINDS)
def test_rule_11_a_token_of_another_deployment_passes_nowhere(kind: str) -> None:
    token = KINDS[kind].make(ELSEWHERE)
    assert [place for place in KINDS if KINDS[place].taken(token)] == []


@pytest.mark.parametrize("kind", KINDS)
def test_rule_10_no_token_is_taken_from_a_devices_own_passport_header(kind: str) -> None:
    exchange = an_exchange((b"Host", b"edge.example"), (b"X-Passport", KINDS[kind].make(HERE)))
    HygieneFilter(()).inbound(exchange)
    CookieFilter(HERE, NAMES, ENVIRONMENT, 10).inbound(exchange)
    assert exchange.user is None
    assert exchange.request.headers.get_all(b"x-passport") == []
