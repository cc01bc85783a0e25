"""Answers with a changed Passport: for the few services that may change who is asking. docs/passport.md, "Actions".

Header and untouched part stay byte for byte. The actions of services that changed the Passport before stay, and the new
ones follow them: by that the newer of two is known. Who signs last answers for all of them.
"""

from binascii import b2a_base64
from collections.abc import Callable, Mapping, Sequence
from time import time
from typing import Any, Final, NamedTuple, TypedDict, Unpack

from edgepb.passport.v1 import passport_pb2

from passport.catalogue import DeviceAction, UserAction
from passport.exchange import ExchangePassport
from passport.identity import Level, Part, Source
from passport.integrity import Envelope, join_envelope, sign, split_envelope
from passport.introspector import PassportIntrospector
from passport.keys import MacKey
from passport.parts import DevicePart, UserPart, encode_times
from passport.receiving import PassportKeySource
from passport.refusals import PassportRefusal, PassportRefused
from passport.strict import MAX_REPEATED

TTL_S: Final = 60
"""How long a changed part is valid, in seconds."""


class UserChanges(TypedDict, total=False):
    """What may change of a user who stays the same, as docs/actions.md says; what is not named stays."""

    customer_id: int
    account_owner_id: int
    profile_id: str | None
    level: Level
    source: Source


class DeviceChanges(TypedDict, total=False):
    """What may change of a device; what is not named stays."""

    esn: str
    device_type: int | None
    level: Level
    source: Source


class SignerUnavailable(Exception):  # noqa: N818 - named for what callers do about it: answer 503
    """There is no active key of the service's purpose to sign with."""


def with_user(
    received: bytes,
    user: UserPart,
    actions: Sequence[UserAction],
    signer: MacKey,
    *,
    now: int,
    ttl_s: int = TTL_S,
) -> str:
    """Return `received` with another user and with `actions`, as an `X-Passport` value for the response.

    `received` is the serialised Passport of this request, already verified (`PassportIntrospector.received`).
    `signer` is the service's own key, `now` epoch seconds. Sign-out sends `NO_USER` with USER_LOGOUT. What the received
    user part says is gone, fields of newer schemas too, but for its actions. Raises PassportRefused when `received` is
    no Passport, or one of integrity 1, which binds no change to its request. Whether an edge will take the actions is
    not asked here: PassportMutator does.
    """
    envelope, before = _taken_apart(received)
    part = user.with_actions([*before.action_numbers(Part.USER), *actions])
    return _text(_with_user_info(envelope, part.info(encode_times(now, now + ttl_s)), signer))


def with_device(
    received: bytes,
    device: DevicePart,
    actions: Sequence[DeviceAction],
    signer: MacKey,
    *,
    now: int,
    ttl_s: int = TTL_S,
) -> str:
    """Return `received` with another device and with `actions`: see `with_user`.

    The MAC of the user covers the device, so that both parts are signed: the key needs both grants.
    """
    envelope, before = _taken_apart(received)
    part = device.with_actions([*before.action_numbers(Part.DEVICE), *actions])
    return _text(_with_device_info(envelope, part.info(encode_times(now, now + ttl_s)), signer))


class PassportMutator:
    """Changes the Passport of an exchange in the name of one service, signed with its own key.

    Every method goes on from the newest Passport of the exchange, makes its result the newest, and returns it as an
    `X-Passport` value; the server adapters put it on the response. Each raises SignerUnavailable, ValueError for no
    action, for more than 16 and for one that comes twice, and PassportRefused where the newest Passport is of integrity
    1, or was adopted without being verified: who signs it answers for all that it says.
    """

    def __init__(
        self, source: PassportKeySource, purpose: str, *, ttl_s: int = TTL_S, clock: Callable[[], float] = time
    ) -> None:
        """Sign with the key of `purpose`, as `passport-auth`, that `source` has; `clock` returns epoch seconds."""
        self._source = source
        self._purpose = purpose
        self._ttl_s = ttl_s
        self._clock = clock

    def replace_user(self, exchange: ExchangePassport, user: UserPart, *actions: UserAction) -> str:
        """Let another user, or `NO_USER`, take the place of the user, of whom nothing stays."""
        envelope, before = _taken_apart(exchange.verified)
        part = user.with_actions(_appended(before.action_numbers(Part.USER), actions))
        return self._user(exchange, envelope, part.info(encode_times(*self._times())))

    def change_user(self, exchange: ExchangePassport, *actions: UserAction, **changes: Unpack[UserChanges]) -> str:
        """Change some of what is said of the user, who stays; fields of newer schemas stay too.

        `profile_id=None` takes the profile off. Raises ValueError when there is no user.
        """
        envelope, before = _taken_apart(exchange.verified)
        if before.customer_id is None:
            raise ValueError("there is no user to change")
        info = passport_pb2.UserInfo.FromString(envelope.user_info)
        _change(info, self._times(), _appended(before.action_numbers(Part.USER), actions), changes)
        return self._user(exchange, envelope, info.SerializeToString())

    def replace_device(self, exchange: ExchangePassport, device: DevicePart, *actions: DeviceAction) -> str:
        """Let another device, or `NO_DEVICE`, take the place of the device, of which nothing stays."""
        envelope, before = _taken_apart(exchange.verified)
        part = device.with_actions(_appended(before.action_numbers(Part.DEVICE), actions))
        return self._device(exchange, envelope, part.info(encode_times(*self._times())))

    def change_device(
        self, exchange: ExchangePassport, *actions: DeviceAction, **changes: Unpack[DeviceChanges]
    ) -> str:
        """Change some of what is said of the device; fields of newer schemas stay.

        `device_type=None` takes the type off. Raises ValueError when there is no device.
        """
        envelope, before = _taken_apart(exchange.verified)
        if before.esn is None:
            raise ValueError("there is no device to change")
        info = passport_pb2.DeviceInfo.FromString(envelope.device_info)
        _change(info, self._times(), _appended(before.action_numbers(Part.DEVICE), actions), changes)
        return self._device(exchange, envelope, info.SerializeToString())

    def _user(self, exchange: ExchangePassport, envelope: Envelope, user_info: bytes) -> str:
        return _adopted(exchange, _with_user_info(envelope, user_info, self._signer()))

    def _device(self, exchange: ExchangePassport, envelope: Envelope, device_info: bytes) -> str:
        return _adopted(exchange, _with_device_info(envelope, device_info, self._signer()))

    def _times(self) -> "_Times":
        now = int(self._clock())
        return _Times(now, now + self._ttl_s)

    def _signer(self) -> MacKey:
        keys = self._source.passport_keys
        signer = keys.signer(self._purpose) if keys is not None else None
        if signer is None:
            raise SignerUnavailable(f"no active key of purpose {self._purpose}")
        return signer

    def __repr__(self) -> str:
        return f"PassportMutator({self._purpose})"


class _Times(NamedTuple):
    created: int
    expires: int


def _taken_apart(received: bytes) -> tuple[Envelope, PassportIntrospector]:
    envelope = split_envelope(received)
    if not envelope.is_bound:  # then no edge takes a change
        raise PassportRefused(PassportRefusal.VERSION_NOT_ACCEPTED)
    return envelope, PassportIntrospector.from_verified(received, envelope)


def _appended(before: Sequence[int], actions: Sequence[int]) -> list[int]:
    """Return all actions of a part; the edge would refuse what is refused here, and nobody would hear of it."""
    if not actions:
        raise ValueError("a change needs an action that says why")
    both = [*before, *actions]
    if len(both) > MAX_REPEATED:
        raise ValueError(f"a part carries no more than {MAX_REPEATED} actions")
    if len(set(both)) < len(both):
        raise ValueError("an action stands on a Passport once")
    return both


def _change(
    info: passport_pb2.UserInfo | passport_pb2.DeviceInfo,
    times: _Times,
    actions: Sequence[Any],
    changes: Mapping[str, Any],
) -> None:
    del info.actions[:]
    info.actions.extend(actions)
    info.created, info.expires = times
    for name, value in changes.items():
        if name == "level":
            info.authentication_level = value
        elif name == "source":
            info.source = value
        elif value is None:
            info.ClearField(name)
        else:
            getattr(info, name).value = value


def _with_user_info(envelope: Envelope, user_info: bytes, signer: MacKey) -> bytes:
    return join_envelope(_signed_user(envelope._replace(user_info=user_info), signer))


def _with_device_info(envelope: Envelope, device_info: bytes, signer: MacKey) -> bytes:
    envelope = envelope._replace(device_info=device_info)
    device = sign(signer, envelope.device_integrity.version, Part.DEVICE, envelope.covered)
    return join_envelope(_signed_user(envelope._replace(device_integrity=device), signer))


def _signed_user(envelope: Envelope, signer: MacKey) -> Envelope:
    version = envelope.device_integrity.version
    return envelope._replace(user_integrity=sign(signer, version, Part.USER, envelope.covered))


def _adopted(exchange: ExchangePassport, raw: bytes) -> str:
    exchange.replace(raw)
    return exchange.header_value


def _text(raw: bytes) -> str:
    return b2a_base64(raw, newline=False).decode("ascii")
