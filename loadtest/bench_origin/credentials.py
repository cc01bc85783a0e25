"""What the requests carry: Passports and cookie pairs of as many users, under keys of this run only."""

import secrets
import time
from base64 import b64encode
from dataclasses import dataclass, field
from pathlib import Path

from edgepb.kms.v1 import kms_pb2

from loadtest.bench.cookies import cookie_field
from loadtest.bench.jwts import tampered
from loadtest.bench.visitors import Visitor, visitors
from loadtest.bench_origin.settings import Reads
from passport import DEVICE_PURPOSE, USER_PURPOSE, DevicePart, Level, PassportBuilder, PassportKeys, Source, UserPart
from tokens.cookie import PURPOSE, CookieNames
from tokens.keys.ring import KeyRing

ENVIRONMENT = "bench"
TRUST_DOMAIN = "bench.test"
NAMES = CookieNames()
_PURPOSES = (USER_PURPOSE, DEVICE_PURPOSE, PURPOSE)


@dataclass(slots=True, frozen=True)
class Request:
    """One request's identity: the header line of HTTP, and of a Passport its bytes for gRPC."""

    visitor: Visitor
    line: str = field(repr=False)
    passport: bytes = field(repr=False)


def draw_keys(file: Path) -> kms_pb2.GetKeySetsResponse:
    """Draw the keys of a run, and write them to a private file as the KMS would answer."""
    sets = [
        kms_pb2.KeySet(
            purpose=purpose,
            versions=[
                kms_pb2.KeyVersion(
                    key_id=key_id, state=kms_pb2.ACTIVE, material=secrets.token_bytes(32), created=1, primary=True
                )
            ],
        )
        for key_id, purpose in enumerate(_PURPOSES, 1)
    ]
    answer = kms_pb2.GetKeySetsResponse(key_sets=sets, revision=1)
    file.touch(mode=0o600)
    file.write_bytes(answer.SerializeToString())
    return answer


class Credentials:
    """Makes requests that are good now: a Passport lasts for a minute."""

    def __init__(self, keys: kms_pb2.GetKeySetsResponse, count: int) -> None:
        passport_keys = PassportKeys.from_key_sets(keys.key_sets)
        user, device = passport_keys.signer(USER_PURPOSE), passport_keys.signer(DEVICE_PURPOSE)
        assert user is not None
        assert device is not None
        self._builder = PassportBuilder("edge-bench", TRUST_DOMAIN, user, device, 60)
        self._ring = KeyRing.from_key_sets(keys.key_sets, keys.revision)
        self._visitors = visitors(count)

    def requests(self, reads: Reads) -> list[Request]:
        """Return a request of each user, as an app that `reads` so gets it."""
        now = int(time.time())
        return [self._request(visitor, reads, now) for visitor in self._visitors]

    def _request(self, visitor: Visitor, reads: Reads, now: int) -> Request:
        if reads is Reads.COOKIES:
            return Request(visitor, cookie_field(self._ring, NAMES, ENVIRONMENT, visitor, now), b"")
        user = UserPart.of(
            Source.COOKIE,
            Level.HIGH,
            visitor.customer_id,
            visitor.account_owner_id,
            profile_id=visitor.profile_id,
            session_id=visitor.session_id,
        )
        device = DevicePart.of(Source.COOKIE, Level.HIGH, visitor.esn, visitor.device_type)
        passport = self._builder.build(secrets.token_hex(16).encode(), user, device, now)
        return Request(visitor, f"X-Passport: {b64encode(passport).decode()}", passport)


def forged(request: Request) -> Request:
    """Return the request with a character, and a bit, of its MAC or tag changed."""
    passport = request.passport[:-1] + bytes([request.passport[-1] ^ 1]) if request.passport else b""
    line = f"X-Passport: {b64encode(passport).decode()}" if passport else tampered(request.line)
    return Request(request.visitor, line, passport)
