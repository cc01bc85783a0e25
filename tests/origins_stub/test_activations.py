"""Codes that activate a device: single-use, short-lived, bounded in number, in each client's share, and in guesses."""

import re
from ipaddress import ip_address

import pytest

from origins_stub.auth import activations as activations_module
from origins_stub.auth.activations import (
    LIFE_S,
    MAX_OF_CLIENT,
    MAX_OPEN,
    MAX_TELLINGS,
    MAX_WRONG_CODES,
    POLL_AFTER_S,
    REPEAT_S,
    Activations,
    Activator,
    Begun,
    Entered,
    NotBegun,
    Waiting,
)
from origins_stub.auth.clients import client_of
from passport import Level
from passport.testing import PassportFactory

BY, OTHER = Activator(1001, 1001), Activator(1002, 1002)
NOW = 1000.0
CLIENT, NEIGHBOUR = "address 192.0.2.1", "address 192.0.2.2"


def begun(activations: Activations, now: float = NOW, client: str = CLIENT) -> Begun:
    opened = activations.begin(client, now)
    assert isinstance(opened, Begun)
    return opened


def entered(activations: Activations, now: float = NOW, client: str = CLIENT) -> Begun:
    opened = begun(activations, now, client)
    assert activations.enter(opened.code, BY, now) is Entered.DONE
    return opened


def test_a_code_has_no_letter_that_reads_as_another() -> None:
    codes = [begun(Activations()).code for _ in range(200)]
    assert all(re.fullmatch(r"[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}", code) for code in codes)
    assert len(set(codes)) == len(codes)


def test_a_poll_token_has_128_bits_and_is_another_each_time() -> None:
    tokens = {begun(Activations()).poll_token for _ in range(200)}
    assert len(tokens) == 200
    assert all(len(token) == 22 for token in tokens)


def test_who_enters_the_code_is_who_the_device_gets() -> None:
    activations = Activations()
    opened = begun(activations)
    assert activations.poll(opened.poll_token, NOW) is Waiting.PENDING
    assert activations.enter(opened.code, BY, NOW) is Entered.DONE
    assert activations.poll(opened.poll_token, NOW) == BY


def test_a_poll_may_be_repeated_for_a_minute_after_the_first_that_was_answered() -> None:
    activations = Activations()
    opened = entered(activations)
    told = NOW + 100
    assert activations.poll(opened.poll_token, told) == BY
    assert activations.poll(opened.poll_token, told + 1) == BY
    assert activations.poll(opened.poll_token, told + REPEAT_S - 1) == BY
    assert activations.poll(opened.poll_token, told + REPEAT_S) is Waiting.NOT_OPEN


def test_a_device_is_told_so_often_and_no_more() -> None:
    activations = Activations()
    opened = entered(activations)
    polled = [activations.poll(opened.poll_token, NOW) for _ in range(MAX_TELLINGS + 2)]
    assert polled == [BY] * MAX_TELLINGS + [Waiting.NOT_OPEN] * 2
    assert MAX_TELLINGS >= 2 * REPEAT_S / POLL_AFTER_S


def test_no_poll_is_repeated_when_the_codes_ten_minutes_are_over() -> None:
    activations = Activations()
    early, late = begun(activations), entered(activations)
    activations.enter(early.code, BY, NOW)
    assert activations.poll(late.poll_token, NOW + LIFE_S - 2) == BY
    assert activations.poll(late.poll_token, NOW + LIFE_S - 1) == BY
    assert activations.poll(late.poll_token, NOW + LIFE_S) is Waiting.NOT_OPEN


def test_what_ends_out_of_turn_is_not_told_either() -> None:
    activations = Activations()
    old, young = entered(activations), entered(activations, NOW + 30)
    last = NOW + LIFE_S - 1
    assert activations.poll(young.poll_token, last) == BY
    assert activations.poll(old.poll_token, last) == BY
    assert activations.poll(old.poll_token, last + 1) is Waiting.NOT_OPEN
    assert activations.poll(young.poll_token, last + 1) == BY


def test_a_device_that_shows_the_session_is_told_so_and_the_activation_is_over() -> None:
    activations = Activations()
    opened = entered(activations)
    assert activations.poll(opened.poll_token, NOW) == BY
    assert activations.poll(opened.poll_token, NOW, signed_in=BY.customer_id) is Waiting.HAS_SESSION
    assert activations.poll(opened.poll_token, NOW, signed_in=BY.customer_id) is Waiting.NOT_OPEN


def test_a_session_from_before_or_of_another_user_ends_nothing() -> None:
    activations = Activations()
    opened = entered(activations)
    assert activations.poll(opened.poll_token, NOW, signed_in=BY.customer_id) == BY
    assert activations.poll(opened.poll_token, NOW, signed_in=OTHER.customer_id) == BY


def test_a_code_is_taken_once() -> None:
    activations = Activations()
    opened = begun(activations)
    assert activations.enter(opened.code, BY, NOW) is Entered.DONE
    assert activations.enter(opened.code, OTHER, NOW) is Entered.UNKNOWN_CODE
    assert activations.poll(opened.poll_token, NOW) == BY


def test_a_code_is_taken_however_it_is_typed() -> None:
    activations = Activations()
    opened = begun(activations)
    assert activations.enter(f" {opened.code.lower().replace('-', ' ')} ", BY, NOW) is Entered.DONE


def test_the_code_is_no_poll_token_and_the_poll_token_no_code() -> None:
    activations = Activations()
    opened = begun(activations)
    assert activations.poll(opened.code, NOW) is Waiting.NOT_OPEN
    assert activations.enter(opened.poll_token, BY, NOW) is Entered.UNKNOWN_CODE


def test_after_ten_minutes_neither_code_nor_poll_token_is_known() -> None:
    activations = Activations()
    opened, entered = begun(activations), begun(activations)
    assert activations.enter(entered.code, BY, NOW + LIFE_S - 1) is Entered.DONE
    assert activations.poll(opened.poll_token, NOW + LIFE_S - 1) is Waiting.PENDING
    assert activations.enter(opened.code, BY, NOW + LIFE_S) is Entered.UNKNOWN_CODE
    assert activations.poll(opened.poll_token, NOW + LIFE_S) is Waiting.NOT_OPEN
    assert activations.poll(entered.poll_token, NOW + LIFE_S) is Waiting.NOT_OPEN


def test_no_more_are_open_than_may_be_and_those_that_end_make_room() -> None:
    activations = Activations(max_open=2)
    begun(activations)
    last = begun(activations, NOW + 1)
    assert activations.begin(NEIGHBOUR, NOW + 1) is NotBegun.TOO_MANY
    begun(activations, NOW + LIFE_S)
    assert activations.begin(NEIGHBOUR, NOW + LIFE_S) is NotBegun.TOO_MANY
    assert activations.enter(last.code, BY, NOW + LIFE_S) is Entered.DONE


def test_where_all_is_full_neither_who_has_entered_a_code_nor_who_was_told_loses_anything() -> None:
    activations = Activations(max_open=3)
    told, waiting = entered(activations), entered(activations)
    assert activations.poll(told.poll_token, NOW) == BY
    shown = begun(activations)
    assert activations.begin(NEIGHBOUR, NOW) is NotBegun.TOO_MANY
    assert activations.poll(told.poll_token, NOW) == BY
    assert activations.poll(waiting.poll_token, NOW) == BY
    assert activations.enter(shown.code, BY, NOW) is Entered.DONE


def test_a_client_has_a_share_and_takes_nobody_elses() -> None:
    activations = Activations()
    for _ in range(MAX_OF_CLIENT):
        begun(activations)
    assert [activations.begin(CLIENT, NOW) for _ in range(MAX_OPEN)] == [NotBegun.TOO_MANY_OF_CLIENT] * MAX_OPEN
    begun(activations, NOW, NEIGHBOUR)
    begun(activations, NOW + LIFE_S)


@pytest.mark.parametrize("how", ["expired", "repeats are over", "has its session", "signed out everywhere"])
def test_each_end_of_an_activation_gives_the_client_its_place_back_once(how: str) -> None:
    activations = Activations(max_of_client=2)
    begun(activations, NOW + LIFE_S / 2)
    opened = begun(activations, NOW + LIFE_S / 2) if how == "expired" else entered(activations, NOW + LIFE_S / 2)
    now = NOW + LIFE_S / 2
    if how == "expired":
        now += LIFE_S
        begun(activations, now)
    elif how == "signed out everywhere":
        activations.drop(BY.customer_id)
    else:
        assert activations.poll(opened.poll_token, now) == BY
        assert activations.begin(CLIENT, now) is NotBegun.TOO_MANY_OF_CLIENT
        if how == "has its session":
            activations.poll(opened.poll_token, now, signed_in=BY.customer_id)
        else:
            now += REPEAT_S
    begun(activations, now)
    assert activations.begin(CLIENT, now) is NotBegun.TOO_MANY_OF_CLIENT


@pytest.mark.parametrize("how", ["expired", "has its session", "signed out everywhere"])
def test_a_code_that_was_drawn_anew_outlives_the_activation_that_had_it_before(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activations_module, "_draw_code", lambda: "BCDFGHJK")
    activations = Activations()
    first = entered(activations)
    assert activations.poll(first.poll_token, NOW) == BY
    again = begun(activations, NOW + 1)
    assert again.code == first.code
    if how == "has its session":
        assert activations.poll(first.poll_token, NOW, signed_in=BY.customer_id) is Waiting.HAS_SESSION
    elif how == "signed out everywhere":
        activations.drop(BY.customer_id)
    late = NOW + REPEAT_S
    assert activations.poll(first.poll_token, late) is Waiting.NOT_OPEN
    assert activations.enter(again.code, OTHER, late) is Entered.DONE
    assert activations.poll(again.poll_token, late) == OTHER


def test_who_is_wrong_too_often_is_heard_no_more_and_others_are() -> None:
    activations = Activations()
    opened = begun(activations)
    for _ in range(MAX_WRONG_CODES):
        assert activations.enter("BBBB-BBBB", BY, NOW) is Entered.UNKNOWN_CODE
    assert activations.enter(opened.code, BY, NOW) is Entered.TOO_MANY_GUESSES
    assert activations.enter(opened.code, OTHER, NOW) is Entered.DONE


def test_guesses_are_forgotten_ten_minutes_after_the_first() -> None:
    activations = Activations()
    for second in range(MAX_WRONG_CODES):
        activations.enter("BBBB-BBBB", BY, NOW + second)
    opened = begun(activations, NOW + LIFE_S - 1)
    assert activations.enter(opened.code, BY, NOW + LIFE_S - 1) is Entered.TOO_MANY_GUESSES
    assert activations.enter(opened.code, BY, NOW + LIFE_S) is Entered.DONE


def test_no_more_guessers_are_remembered_than_may_be_and_nobody_else_may_guess() -> None:
    activations = Activations(max_guessers=1)
    opened = begun(activations)
    assert activations.enter("BBBB-BBBB", BY, NOW) is Entered.UNKNOWN_CODE
    assert activations.enter(opened.code, OTHER, NOW) is Entered.TOO_MANY_GUESSES
    assert activations.enter(opened.code, BY, NOW) is Entered.DONE


def test_a_sign_out_everywhere_ends_what_the_user_has_entered() -> None:
    activations = Activations()
    mine, others, unentered = (begun(activations) for _ in range(3))
    activations.enter(mine.code, BY, NOW)
    activations.enter(others.code, OTHER, NOW)
    activations.drop(BY.customer_id)
    assert activations.poll(mine.poll_token, NOW) is Waiting.NOT_OPEN
    assert activations.poll(others.poll_token, NOW) == OTHER
    assert activations.poll(unentered.poll_token, NOW) is Waiting.PENDING


def test_a_sign_out_everywhere_ends_the_repeats_too_and_a_sign_out_these_alone() -> None:
    activations = Activations()
    first, second, waiting = (entered(activations) for _ in range(3))
    assert activations.poll(first.poll_token, NOW) == BY
    activations.drop_told(BY.customer_id)
    assert activations.poll(first.poll_token, NOW) is Waiting.NOT_OPEN
    assert activations.poll(second.poll_token, NOW) == BY
    activations.drop(BY.customer_id)
    assert activations.poll(second.poll_token, NOW) is Waiting.NOT_OPEN
    assert activations.poll(waiting.poll_token, NOW) is Waiting.NOT_OPEN


def test_a_sign_out_looks_at_the_users_own_activations_and_forgets_them() -> None:
    activations = Activations(max_of_client=MAX_OPEN)
    others = begun(activations)
    activations.enter(others.code, OTHER, NOW)
    mine = [entered(activations, NOW + second) for second in range(4)]
    assert activations._entered.keys() == {OTHER.customer_id, BY.customer_id}
    activations.poll(mine[0].poll_token, NOW + 4)
    activations.poll(mine[1].poll_token, NOW + 4)
    activations.poll(mine[1].poll_token, NOW + 4, signed_in=BY.customer_id)
    activations.drop_told(BY.customer_id)
    assert len(activations._entered[BY.customer_id]) == 2
    activations.drop(BY.customer_id)
    assert activations._entered.keys() == {OTHER.customer_id}
    begun(activations, NOW + LIFE_S)
    assert not activations._entered


def test_a_device_of_level_high_is_the_client_and_no_other_is() -> None:
    kit = PassportFactory()
    device = kit.passport(kit.value(None, esn="TV-1"))
    claimed = kit.passport(kit.value(None, esn="TV-1", device_level=Level.LOW))
    nobody = kit.passport(kit.anonymous())
    address = ip_address("192.0.2.1")
    assert client_of(device, address) == client_of(device, None) != client_of(claimed, address)
    assert client_of(claimed, address) == client_of(nobody, address) == "address 192.0.2.1"
    assert client_of(nobody, ip_address("192.0.2.2")) != client_of(nobody, address)


def test_a_site_of_ipv6_is_one_client() -> None:
    kit = PassportFactory()
    nobody = kit.passport(kit.anonymous())
    here, there, elsewhere = (  # what is elsewhere differs in bit 48 alone
        client_of(nobody, ip_address(f"2001:db8:{site}::{host}")) for site, host in ((2, 1), ("2:ffff", 2), (3, 1))
    )
    assert here == there != elsewhere


@pytest.mark.parametrize("prefix", ["::ffff:", "64:ff9b::"])
def test_an_ipv4_address_within_an_ipv6_one_is_a_client_of_its_own(prefix: str) -> None:
    kit = PassportFactory()
    nobody = kit.passport(kit.anonymous())
    here, there = (client_of(nobody, ip_address(f"{prefix}192.0.2.{last}")) for last in (1, 2))
    assert (here, there) == ("address 192.0.2.1", "address 192.0.2.2")


def test_neither_code_nor_poll_token_is_in_a_repr() -> None:
    activations = Activations()
    opened = begun(activations)
    shown = f"{activations!r} {opened!r}"
    assert opened.poll_token not in shown
    assert opened.code not in shown
