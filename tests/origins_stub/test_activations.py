"""Codes that activate a device: single-use, short-lived, bounded in number and in guesses."""

import re

from origins_stub.auth.activations import (
    LIFE_S,
    MAX_WRONG_CODES,
    Activations,
    Activator,
    Begun,
    Entered,
    Waiting,
)

BY, OTHER = Activator(1001, 1001), Activator(1002, 1002)
NOW = 1000.0


def begun(activations: Activations, now: float = NOW) -> Begun:
    opened = activations.begin(now)
    assert opened is not None
    return opened


def test_a_code_has_no_letter_that_reads_as_another() -> None:
    codes = [begun(Activations()).code for _ in range(200)]
    assert all(re.fullmatch(r"[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}", code) for code in codes)
    assert len(set(codes)) == len(codes)


def test_a_poll_token_has_128_bits_and_is_another_each_time() -> None:
    tokens = {begun(Activations()).poll_token for _ in range(200)}
    assert len(tokens) == 200
    assert all(len(token) == 22 for token in tokens)


def test_who_enters_the_code_is_who_the_device_gets_once() -> None:
    activations = Activations()
    opened = begun(activations)
    assert activations.poll(opened.poll_token, NOW) is Waiting.PENDING
    assert activations.enter(opened.code, BY, NOW) is Entered.DONE
    assert activations.poll(opened.poll_token, NOW) == BY
    assert activations.poll(opened.poll_token, NOW) is Waiting.NOT_OPEN


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
    assert activations.begin(NOW + 1) is None
    assert activations.begin(NOW + LIFE_S) is not None
    assert activations.begin(NOW + LIFE_S) is None
    assert activations.enter(last.code, BY, NOW + LIFE_S) is Entered.DONE


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


def test_neither_code_nor_poll_token_is_in_a_repr() -> None:
    activations = Activations()
    opened = begun(activations)
    shown = f"{activations!r} {opened!r}"
    assert opened.poll_token not in shown
    assert opened.code not in shown
