"""Known attacks on framing have the outcome that the corpus says: whole, byte by byte and in pieces."""

import pytest

from edge.http1.limits import HeadLimits
from tests.http1 import wire
from tests.http1.corpus import request_cases, response_cases
from tests.http1.wire import End, cut

REQUESTS, RESPONSES = request_cases(), response_cases()
EVERY_WAY = pytest.mark.parametrize("sizes", [[1 << 20], [1], [3, 1, 8, 2, 21]], ids=["whole", "bytes", "pieces"])
LIMITS = HeadLimits()


@EVERY_WAY
@pytest.mark.parametrize("name", REQUESTS)
def test_s1_s2_s3_s4_s5_s6_s7_a_known_attack_is_read_in_one_way_or_refused(name: str, sizes: list[int]) -> None:
    case = REQUESTS[name]
    found, end = wire.requests(cut(case.data, sizes), LIMITS)
    assert [(*message.start, message.body) for message in found] == case.requests
    assert end is (End.REFUSED if case.refused else End.CLEAN)


@pytest.mark.parametrize("name", REQUESTS)
def test_s1_s2_what_the_corpus_calls_readable_is_read_alike_by_h11(name: str) -> None:
    case = REQUESTS[name]
    found, _ = wire.requests([case.data], LIMITS)
    assert found == wire.requests_by_h11(case.data)[: len(found)]


@EVERY_WAY
@pytest.mark.parametrize("name", RESPONSES)
def test_s8_s9_a_known_trick_of_an_origin_is_read_in_one_way_or_refused(name: str, sizes: list[int]) -> None:
    case = RESPONSES[name]
    found, end = wire.responses(cut(case.data, sizes), case.methods)
    assert [(*message.start, message.body) for message in found] == case.answers
    assert (end is End.REFUSED) == case.refused
