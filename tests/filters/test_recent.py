"""The bounded map behind the filters' caches."""

from hypothesis import given
from hypothesis import strategies as st

from filters.recent import Recent


def test_the_newest_entries_are_always_there_and_never_more_than_twice_as_many() -> None:
    recent: Recent[int, str] = Recent(10)
    for number in range(1000):
        recent.put(number, str(number))
        assert len(recent) <= 20
        assert all(recent.get(kept) == str(kept) for kept in range(max(0, number - 4), number + 1))


def test_what_is_used_stays_while_others_come_and_go() -> None:
    recent: Recent[int, str] = Recent(10)
    recent.put(-1, "used")
    for number in range(1000):
        recent.put(number, "")
        assert recent.get(-1) == "used"


@given(st.integers(0, 4), st.lists(st.tuples(st.booleans(), st.integers(0, 9))))
def test_an_entry_is_what_was_last_put_or_nothing(size: int, steps: list[tuple[bool, int]]) -> None:
    recent: Recent[int, str] = Recent(size)
    model: dict[int, str] = {}
    for step, (put, key) in enumerate(steps):
        if put:
            model[key] = str(step)
            recent.put(key, model[key])
        assert recent.get(key) in (None, model.get(key))
        assert len(recent) <= 2 * size
    recent.clear()
    assert len(recent) == 0


def test_the_repr_shows_no_keys() -> None:
    recent: Recent[bytes, str] = Recent(3)
    recent.put(b"secret", "private")
    assert repr(recent) == "Recent(1 of at most 6)"
