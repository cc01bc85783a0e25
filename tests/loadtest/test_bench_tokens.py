"""The tokens that wrk sends are real: whoever checks them accepts them, and refuses their tampered twins."""

import json
import time
from secrets import token_bytes

import jwt
import pytest
from edgepb.kms.v1 import kms_pb2

from loadtest.bench import jwts
from loadtest.bench.cookies import cookie_field
from loadtest.bench.visitors import visitors
from tests.tokens.rings import open_secure
from tokens.cookie import Claims, CookieNames, open_insecure
from tokens.keys.ring import KeyRing

NAMES = CookieNames("EdgeId", "SecureEdgeId")


def _ring() -> KeyRing:
    version = kms_pb2.KeyVersion(key_id=7, state=kms_pb2.ACTIVE, material=token_bytes(32), created=1, primary=True)
    return KeyRing.from_key_sets([kms_pb2.KeySet(purpose="cookie", versions=[version])], 1)


def _decode(issuer: jwts.JwtIssuer, field: str) -> dict[str, object]:
    key = jwt.PyJWK(json.loads(issuer.jwks)["keys"][0])
    token = field.removeprefix("Authorization: Bearer ")
    return jwt.decode(token, key, algorithms=[issuer.algorithm], audience=jwts.AUDIENCE, issuer=jwts.ISSUER)


def test_every_visitor_is_another_user_on_another_device() -> None:
    people = visitors(1000)
    assert len({visitor.customer_id for visitor in people}) == 1000
    assert len({visitor.esn for visitor in people}) == 1000
    assert people == visitors(1000)


@pytest.mark.parametrize("issuer", [jwts.hs256(), jwts.es256()], ids=["HS256", "ES256"])
def test_a_jwt_verifies_with_the_published_key_set_and_names_the_visitor(issuer: jwts.JwtIssuer) -> None:
    visitor = visitors(3)[2]
    claims = _decode(issuer, issuer.authorization(visitor, int(time.time())))
    assert (claims["sub"], claims["esn"]) == (str(visitor.customer_id), visitor.esn)


@pytest.mark.parametrize("issuer", [jwts.hs256(), jwts.es256()], ids=["HS256", "ES256"])
def test_a_tampered_jwt_does_not_verify(issuer: jwts.JwtIssuer) -> None:
    field = jwts.tampered(issuer.authorization(visitors(1)[0], int(time.time())))
    with pytest.raises(jwt.InvalidSignatureError):
        _decode(issuer, field)


def test_the_es256_key_set_holds_no_private_key() -> None:
    assert "d" not in json.loads(jwts.es256().jwks)["keys"][0]


def test_an_issuer_shows_no_key() -> None:
    assert repr(jwts.hs256()) == "JwtIssuer(algorithm='HS256')"


def test_a_cookie_pair_opens_and_names_the_visitor() -> None:
    ring, visitor, now = _ring(), visitors(1)[0], int(time.time())
    field = cookie_field(ring, NAMES, "bench", visitor, now)
    assert field.startswith("Cookie: ")
    values = dict(pair.split("=", 1) for pair in field.removeprefix("Cookie: ").split("; "))
    insecure = open_insecure(ring, NAMES, "bench", values["EdgeId"].encode(), now)
    secure = open_secure(ring, NAMES, "bench", values["SecureEdgeId"].encode(), now)
    assert isinstance(insecure, Claims)
    assert isinstance(secure, Claims)
    assert (insecure.customer_id, insecure.session_id) == (secure.customer_id, secure.session_id)
    assert (insecure.customer_id, insecure.esn) == (visitor.customer_id, visitor.esn)
    assert not insecure.due(now + 600)


def test_a_tampered_pair_does_not_open() -> None:
    ring, now = _ring(), int(time.time())
    field = jwts.tampered(cookie_field(ring, NAMES, "bench", visitors(1)[0], now))
    value = field.rsplit("SecureEdgeId=", 1)[1].encode()
    assert not isinstance(open_secure(ring, NAMES, "bench", value, now), Claims)
