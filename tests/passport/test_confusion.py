"""Rule 11: a Passport is no cookie, a cookie is no Passport, and no part stands in another's place."""

from base64 import b64encode, urlsafe_b64encode

import pytest
from edgepb.kms.v1 import kms_pb2

from passport import PassportIntrospector, PassportKeys, PassportRefused
from passport.integrity import join_envelope, split_envelope
from tests.passport.samples import DOMAIN, KEYS, NOW, build, key_sets, key_version
from tests.tokens.rings import open_secure
from tokens.cookie import Claims, CookieNames, open_insecure, seal_pair
from tokens.envelope import Refusal
from tokens.keys.ring import KeyRing

NAMES = CookieNames()
# The worst case: both kinds of key come from the same material and bear the same key id.
COOKIE_SETS = [kms_pb2.KeySet(purpose="cookie", versions=[key_version(0xA001, "user")])]
RING = KeyRing.from_key_sets(COOKIE_SETS, 1)
CLAIMS = Claims(7, 7, "p", "esn", 1, "00" * 16, NOW, NOW + 100, NOW + 200, 1, 2)


def refuse_as_passport(value: bytes, keys: PassportKeys = KEYS) -> None:
    with pytest.raises(PassportRefused):
        PassportIntrospector.from_base64(value, keys, now=NOW, trust_domain=DOMAIN, accept_v1=True)


def test_rule_11_a_cookie_is_no_passport() -> None:
    for cookie in seal_pair(RING, NAMES, DOMAIN, CLAIMS, (bytes(12), bytes(range(12)))):
        refuse_as_passport(cookie)
        refuse_as_passport(b64encode(cookie))


def test_rule_10_a_passport_is_no_cookie() -> None:
    raw = build()
    for text in (b64encode(raw), urlsafe_b64encode(raw), urlsafe_b64encode(raw).rstrip(b"=")):
        for opened in (open_insecure, open_secure):
            assert isinstance(opened(RING, NAMES, DOMAIN, text, NOW), Refusal)


def test_rule_11_a_device_does_not_stand_in_the_users_place() -> None:
    envelope = split_envelope(build())
    swapped = envelope._replace(
        user_info=envelope.device_info,
        device_info=envelope.user_info,
        user_integrity=envelope.device_integrity,
        device_integrity=envelope.user_integrity,
    )
    refuse_as_passport(b64encode(join_envelope(swapped)))
    doubled = envelope._replace(user_info=envelope.device_info, user_integrity=envelope.device_integrity)
    refuse_as_passport(b64encode(join_envelope(doubled)))


def test_rule_11_a_test_key_is_no_live_key() -> None:
    sets = key_sets()
    for key_set in sets:
        key_set.versions[0].material = bytes(32)
    refuse_as_passport(b64encode(build()), PassportKeys.from_key_sets(sets))
