"""Answers with a changed Passport: for services that may sign a user in or out. docs/passport.md, "Actions"."""

from binascii import b2a_base64
from collections.abc import Sequence

from passport.catalogue import UserAction
from passport.identity import Part
from passport.integrity import Covered, join_envelope, sign, split_envelope
from passport.keys import MacKey
from passport.parts import UserPart, encode_times


def with_user(
    received: bytes,
    user: UserPart,
    actions: Sequence[UserAction],
    signer: MacKey,
    *,
    now: int,
    ttl_s: int = 60,
) -> str:
    """Return `received` with another user and with `actions`, as an `X-Passport` value for the response.

    `received` is the serialised Passport of this request, already verified (`PassportIntrospector.received`); its
    header and device stay byte for byte. `signer` is the service's own key, `now` epoch seconds. Sign-out sends
    `NO_USER` with USER_LOGOUT. Raises PassportRefused when `received` is no Passport.
    """
    envelope = split_envelope(received)
    user_info = user.with_actions(actions).static + encode_times(now, now + ttl_s)
    covered = Covered(envelope.header, envelope.device_info, user_info)
    integrity = sign(signer, envelope.device_integrity.version, Part.USER, covered)
    changed = envelope._replace(user_info=user_info, user_integrity=integrity)
    return b2a_base64(join_envelope(changed), newline=False).decode("ascii")
