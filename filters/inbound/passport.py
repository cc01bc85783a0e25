"""passport: builds and signs the Passport of this request, and gives it to the origin as `X-Passport`.

Runs for every request, also when nobody is known: an absent identity is signed too. Without keys no request goes on.
"""

from binascii import b2a_base64
from typing import ClassVar, Protocol, TypeAlias

from edge.contract.exchange import Exchange
from edge.contract.filters import CONTINUE, Continue, OnError, Refuse
from edge.contract.identity import DeviceIdentity, UserIdentity
from edge.contract.reasons import Reason
from filters.recent import Recent
from passport import (
    DEVICE_PURPOSE,
    NO_DEVICE,
    NO_USER,
    USER_PURPOSE,
    DevicePart,
    Level,
    PassportBuilder,
    PassportKeys,
    Source,
    UserPart,
)


class PassportKeySource(Protocol):
    """Whoever keeps the keys up to date; None until there are any."""

    @property
    def passport_keys(self) -> PassportKeys | None:
        """The keys of this moment."""
        ...


class PassportFilter:
    """Signs with the primary keys of this moment; keeps the encoded parts of identities that come again."""

    id: ClassVar[str] = "passport"
    on_error: ClassVar[OnError] = OnError.CLOSED
    deadline_s: ClassVar[float] = 1.0
    concurrency: ClassVar[int] = 1

    def __init__(
        self,
        source: PassportKeySource,
        *,
        issuer: str,
        trust_domain: str,
        ttl_s: int = 60,
        integrity_version: int = 2,
        cache_entries: int = 10_000,
    ) -> None:
        """Sign as `issuer` (the edge's id) for `trust_domain`; a Passport is valid for `ttl_s` seconds.

        `cache_entries` bounds the encoded users and devices that are kept, each by itself.
        """
        self._source = source
        self._issuer = issuer
        self._trust_domain = trust_domain
        self._ttl_s = ttl_s
        self._integrity_version = integrity_version
        self._keys: PassportKeys | None = None
        self._builder: PassportBuilder | None = None
        # By identity of the object: the token cache hands out the same one each time. The value keeps it alive,
        # so that its id is not given to another.
        self._encoded: Recent[int, _Encoded] = Recent(cache_entries)

    def inbound(self, exchange: Exchange) -> Continue | Refuse:
        """Set `exchange.passport` and the request's only `X-Passport`."""
        keys = self._source.passport_keys
        if keys is not self._keys:
            self._builder = self._builder_for(keys)
            self._keys = keys
        if self._builder is None:
            return Refuse(503, Reason.KEYS_UNAVAILABLE)
        user, device = exchange.user, exchange.device
        parts = self._encoded.young.get(id(device if user is None else user))
        if parts is None or parts[0] is not user or parts[1] is not device:
            parts = self._encode(user, device)
        passport = self._builder.build(exchange.id, parts[2], parts[3], int(exchange.now))
        value = b2a_base64(passport, newline=False)
        headers = exchange.request.headers
        if not exchange.identity_stripped:
            headers.remove(b"x-passport")
        headers.fields.append((b"x-passport", b"X-Passport: %b\r\n" % value, value))
        exchange.passport = value
        return CONTINUE

    def _builder_for(self, keys: PassportKeys | None) -> PassportBuilder | None:
        user_key = keys.signer(USER_PURPOSE) if keys is not None else None
        device_key = keys.signer(DEVICE_PURPOSE) if keys is not None else None
        if user_key is None or device_key is None:
            return None
        return PassportBuilder(
            self._issuer,
            self._trust_domain,
            user_key,
            device_key,
            self._ttl_s,
            integrity_version=self._integrity_version,
        )

    def _encode(self, user: UserIdentity | None, device: DeviceIdentity | None) -> "_Encoded":
        """Return both identities with their parts, and keep them."""
        parts = (user, device, _user_part(user), _device_part(device))
        self._encoded.put(id(device if user is None else user), parts)
        return parts


_Encoded: TypeAlias = tuple[UserIdentity | None, DeviceIdentity | None, UserPart, DevicePart]


def _user_part(user: UserIdentity | None) -> UserPart:
    if user is None:
        return NO_USER
    return UserPart.of(
        Source(user.source),
        Level(user.level),
        user.customer_id,
        user.account_owner_id,
        profile_id=user.profile_id,
        session_id=user.session_id,
        rescheduled=user.rescheduled,
    )


def _device_part(device: DeviceIdentity | None) -> DevicePart:
    if device is None:
        return NO_DEVICE
    return DevicePart.of(Source(device.source), Level(device.level), device.esn, device.device_type)
