"""Passports for the tests of services: any identity, and every Passport that must be refused. Needs no KMS and no edge.

The keys are drawn for each factory, so that its Passports are worth nothing anywhere else.
"""

import os
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from time import time
from typing import Final

from edgepb.kms.v1 import kms_pb2

from passport.builder import PassportBuilder
from passport.exchange import ExchangePassport
from passport.identity import Level, Part, Source
from passport.integrity import Integrity, join_envelope, sign, split_envelope
from passport.introspector import MAX_AGE_S, SKEW_S, PassportIntrospector
from passport.keys import DEVICE_PURPOSE, USER_PURPOSE, MacKey, PassportKeys
from passport.parts import NO_DEVICE, NO_USER, DevicePart, UserPart
from passport.receiving import HEADER
from passport.refusals import PassportRefusal

TRUST_DOMAIN: Final = "test"
_TTL_S: Final = 60
_USER_ID, _DEVICE_ID, _FIRST_SIGNER_ID = range(1, 4)


class PassportFactory:
    """Makes Passports as an edge would, with keys of its own, and holds these as a service does: it is a key source.

    `signers` are purposes of keys beside the edge's: that of the service under test, if it changes Passports, and those
    of services whose changes it accepts.
    """

    def __init__(
        self,
        trust_domain: str = TRUST_DOMAIN,
        *,
        signers: Iterable[str] = (),
        issuer: str = "edge-test",
        clock: Callable[[], float] = time,
    ) -> None:
        """Draw keys; `clock` returns epoch seconds, and should be that of the service under test."""
        purposes = dict(enumerate(signers, _FIRST_SIGNER_ID)) | {_USER_ID: USER_PURPOSE, _DEVICE_ID: DEVICE_PURPOSE}
        self.trust_domain = trust_domain
        self.passport_keys = _draw(purposes)
        self._issuer = issuer
        self._clock = clock

    def signer(self, purpose: str) -> MacKey:
        """Return the key that signs for `purpose`; KeyError for one that the factory was not told of."""
        return _signer(self.passport_keys, purpose)

    def value(
        self,
        customer_id: int | None = 1001,
        *,
        level: Level = Level.HIGH,
        source: Source = Source.COOKIE,
        account_owner_id: int | None = None,
        profile_id: str = "",
        session_id: str = "5e55" * 8,
        rescheduled: bool = False,
        esn: str | None = "TEST-DEVICE-0001",
        device_type: int = 0,
        device_level: Level = Level.HIGH,
        device_source: Source = Source.COOKIE,
        request_id: str | None = None,
        at: float | None = None,
    ) -> str:
        """Return an `X-Passport` value.

        `customer_id=None` is an anonymous request, `esn=None` one of no known device. `request_id` is 32 lower-case hex
        digits, another each time by default; `at` epoch seconds, now by default.
        """
        user = (
            NO_USER
            if customer_id is None
            else UserPart.of(
                source,
                level,
                customer_id,
                customer_id if account_owner_id is None else account_owner_id,
                profile_id=profile_id,
                session_id=session_id,
                rescheduled=rescheduled,
            )
        )
        device = NO_DEVICE if esn is None else DevicePart.of(device_source, device_level, esn, device_type)
        return self.value_of(user, device, request_id=request_id, at=at)

    def value_of(
        self, user: UserPart, device: DevicePart, *, request_id: str | None = None, at: float | None = None
    ) -> str:
        """Return an `X-Passport` value of these parts: see `value`."""
        return b64encode(self._build(user, device, request_id=request_id, at=at)).decode()

    def anonymous(self) -> str:
        """Return the `X-Passport` value of a request of nobody, from no known device."""
        return self.value(None, esn=None)

    def headers(self, value: str | None = None) -> dict[str, str]:
        """Return the headers of a request with a Passport, `value()` by default."""
        return {HEADER: self.value() if value is None else value}

    def passport(self, value: str | None = None) -> PassportIntrospector:
        """Return a verified Passport for tests below the server, of `value` or of `value()`."""
        return PassportIntrospector.from_base64(
            self.value() if value is None else value,
            self.passport_keys,
            now=self._clock(),
            trust_domain=self.trust_domain,
        )

    def exchange(self, value: str | None = None) -> ExchangePassport:
        """Return the exchange of `passport(value)`, for what changes Passports or calls other services."""
        return ExchangePassport(self.passport(value))

    def bad_values(self) -> Mapping[PassportRefusal, str]:
        """Return an `X-Passport` value for each reason to refuse one that a single value can have."""
        user, device = UserPart.of(Source.COOKIE, Level.HIGH, 1001, 1001), NO_DEVICE
        good = self._build(user, device)
        envelope = split_envelope(good)
        by_device = sign(self.signer(DEVICE_PURPOSE), 2, Part.USER, envelope.covered)
        integrity, of_device = (_of_version_3(each) for each in (envelope.user_integrity, envelope.device_integrity))
        twice = UserPart(user.static + b"\x08\x01")
        nowhere = UserPart(user.static.removeprefix(b"\x08\x01"))
        now = self._clock()
        raw = {
            PassportRefusal.MALFORMED: good[:-1],
            PassportRefusal.TOO_LONG: good.ljust(17_000, b"\0"),
            PassportRefusal.BAD_MAC: good[:-1] + bytes([good[-1] ^ 1]),
            PassportRefusal.KEY_PURPOSE: join_envelope(envelope._replace(user_integrity=by_device)),
            PassportRefusal.UNKNOWN_VERSION: join_envelope(
                envelope._replace(user_integrity=integrity, device_integrity=of_device)
            ),
            PassportRefusal.UNKNOWN_KEY: self._build(user, device, keys=_draw({9: USER_PURPOSE, 10: DEVICE_PURPOSE})),
            PassportRefusal.VERSION_NOT_ACCEPTED: self._build(user, device, integrity_version=1),
            PassportRefusal.TRUST_DOMAIN: self._build(user, device, trust_domain=f"not-{self.trust_domain}"),
            PassportRefusal.EXPIRED: self._build(user, device, at=now - _TTL_S - SKEW_S - 5),
            PassportRefusal.TOO_OLD: self._build(user, device, at=now - MAX_AGE_S - 5, ttl_s=24 * 3600),
            PassportRefusal.NOT_YET_VALID: self._build(user, device, at=now + SKEW_S + 5),
            PassportRefusal.MALFORMED_PART: self._build(twice, device),
            PassportRefusal.INCONSISTENT_PART: self._build(nowhere, device),
        }
        values = {reason: b64encode(each).decode() for reason, each in raw.items()}
        return values | {PassportRefusal.MISSING: "", PassportRefusal.NOT_CANONICAL: b64encode(good).decode() + "="}

    def _build(
        self,
        user: UserPart,
        device: DevicePart,
        *,
        request_id: str | None = None,
        at: float | None = None,
        keys: PassportKeys | None = None,
        trust_domain: str | None = None,
        ttl_s: int = _TTL_S,
        integrity_version: int = 2,
    ) -> bytes:
        of = self.passport_keys if keys is None else keys
        builder = PassportBuilder(
            self._issuer,
            self.trust_domain if trust_domain is None else trust_domain,
            _signer(of, USER_PURPOSE),
            _signer(of, DEVICE_PURPOSE),
            ttl_s,
            integrity_version=integrity_version,
        )
        of_request = os.urandom(16).hex() if request_id is None else request_id
        return builder.build(of_request.encode(), user, device, int(self._clock() if at is None else at))

    def __repr__(self) -> str:
        return f"PassportFactory({self.trust_domain})"


def _of_version_3(integrity: Integrity) -> Integrity:
    return integrity._replace(version=3, field=b"\x08\x03" + integrity.field[2:])


def _signer(keys: PassportKeys, purpose: str) -> MacKey:
    key = keys.signer(purpose)
    if key is None:
        raise KeyError(purpose)
    return key


def _draw(purposes: Mapping[int, str]) -> PassportKeys:
    """Return keys of fresh material, each the primary of its purpose."""
    return PassportKeys.from_key_sets(
        kms_pb2.KeySet(
            purpose=purpose,
            versions=[
                kms_pb2.KeyVersion(
                    key_id=key_id, state=kms_pb2.ACTIVE, material=os.urandom(32), created=1, primary=True
                )
            ],
        )
        for key_id, purpose in purposes.items()
    )
