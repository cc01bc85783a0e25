"""JSON Web Tokens for Envoy, with the claims that the edge's cookie carries."""

import json
import secrets
from dataclasses import dataclass, field

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from jwt.algorithms import ECAlgorithm, HMACAlgorithm

from loadtest.bench.visitors import LIFE_S, Visitor

ISSUER = "https://issuer.bench.test"
AUDIENCE = "browse"


@dataclass(slots=True, frozen=True)
class JwtIssuer:
    """Signs with one key by one algorithm; `jwks` is the key set that verifies, which for HS256 is a secret."""

    algorithm: str
    key: bytes | EllipticCurvePrivateKey = field(repr=False)
    jwks: str = field(repr=False)

    def authorization(self, visitor: Visitor, now: int) -> str:
        """Return the header field that carries a token of `visitor`, issued at `now` (epoch seconds)."""
        return f"Authorization: Bearer {self._token(visitor, now)}"

    def _token(self, visitor: Visitor, now: int) -> str:
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": str(visitor.customer_id),
            "iat": now,
            "exp": now + LIFE_S,
            "sid": visitor.session_id,
            "account_owner_id": visitor.account_owner_id,
            "profile_id": visitor.profile_id,
            "esn": visitor.esn,
            "device_type": visitor.device_type,
        }
        return jwt.encode(claims, self.key, algorithm=self.algorithm, headers={"kid": "bench"})


def hs256() -> JwtIssuer:
    """Return an issuer with a new 256-bit secret."""
    key = secrets.token_bytes(32)
    return JwtIssuer("HS256", key, _key_set(HMACAlgorithm.to_jwk(key, as_dict=True), "HS256"))


def es256() -> JwtIssuer:
    """Return an issuer with a new P-256 key."""
    key = generate_private_key(SECP256R1())
    return JwtIssuer("ES256", key, _key_set(ECAlgorithm.to_jwk(key.public_key(), as_dict=True), "ES256"))


def tampered(field_line: str) -> str:
    """Return a header field whose token differs in one character near its end, within the signature or the tag."""
    place = len(field_line) - 10
    other = "A" if field_line[place] != "A" else "B"
    return field_line[:place] + other + field_line[place + 1 :]


def _key_set(key: dict[str, object], algorithm: str) -> str:
    public = {name: value for name, value in key.items() if name != "key_ops"}
    return json.dumps({"keys": [{**public, "kid": "bench", "alg": algorithm}]})
