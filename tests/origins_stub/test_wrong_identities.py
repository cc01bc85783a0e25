"""Identities that the stub reports wrongly on purpose: what it says of each is what shadow finds."""

import pytest

from edge.contract.identity import DeviceIdentity, Peeked, Source, UserIdentity
from edge.contract.identity import Level as EdgeLevel
from filters.origin_identity import compare, read_origin_identity
from origins_stub.api.asker import NOBODY, Asker
from origins_stub.api.legacy.mode import report
from origins_stub.api.legacy.wrong import TRUE, WrongIdentities
from passport import Level

USER = Asker(7, 7, "", Level.HIGH)
ON_A_DEVICE = Asker(7, 7, "NFCDCH-02-A", Level.LOW)


def peeked(asker: Asker) -> Peeked:
    """Return what the edge knows of the same one."""
    level = EdgeLevel(int(asker.level))
    user = None if asker.customer_id is None else UserIdentity(Source.COOKIE, level, asker.customer_id, 7)
    device = DeviceIdentity(Source.COOKIE, level, asker.esn, 4) if asker.esn else None
    return Peeked(user, device, "cookie", settled=True)


@pytest.mark.parametrize(
    ("asker", "differences"),
    [
        (NOBODY, {"only_old"}),
        (USER, {"only_new", "other_level", "other_user"}),
        (ON_A_DEVICE, {"only_new", "other_device", "other_level", "other_user"}),
    ],
)
def test_shadow_finds_of_each_wrong_report_what_the_stub_says_it_is(asker: Asker, differences: set[str]) -> None:
    wrong = WrongIdentities(1.0, 1)
    chosen = [wrong.choose(asker, comparable=True) for _ in range(100)]
    assert {difference for difference, _ in chosen} == differences
    for difference, reported in chosen:
        read = read_origin_identity([report(reported).encode()])
        assert read is not None
        assert compare(peeked(asker), read).value == difference


def test_a_share_is_wrong_the_same_for_each_seed_and_nothing_that_cannot_be_compared() -> None:
    def chosen(seed: int) -> list[str]:
        wrong = WrongIdentities(0.02, seed)
        return [wrong.choose(ON_A_DEVICE, comparable=True)[0] for _ in range(10_000)]

    assert chosen(1) == chosen(1) != chosen(2)
    assert 150 < sum(one != TRUE for one in chosen(1)) < 250
    assert WrongIdentities(1.0, 1).choose(USER, comparable=False) == (TRUE, USER)
    assert WrongIdentities(0.0, 1).choose(USER, comparable=True) == (TRUE, USER)
