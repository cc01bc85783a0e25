"""Any bytes are messages as every parser would read them, or one refusal, in whatever pieces they come."""

from hypothesis import example, given
from hypothesis import strategies as st

from tests.http1 import wire
from tests.http1.hostile import SIZES, tampered, valid_request, valid_response
from tests.http1.wire import End, cut

REQUESTS = tampered(valid_request()) | st.binary(max_size=100)
RESPONSES = tampered(valid_response()) | st.binary(max_size=100)
METHODS = st.lists(st.sampled_from([b"GET", b"GET", b"POST", b"HEAD"]), min_size=3, max_size=3)


@given(data=REQUESTS, sizes=SIZES)
def test_s3_any_bytes_are_the_same_requests_whole_byte_by_byte_and_in_pieces(data: bytes, sizes: list[int]) -> None:
    found, end = wire.requests([data] if data else [])
    assert wire.requests(cut(data, [1])) == wire.requests(cut(data, sizes))
    pieced, pieced_end = wire.requests(cut(data, sizes))
    assert pieced == found
    assert pieced_end is end


@given(data=REQUESTS)
@example(data=b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nHost: b\r\nX: y\r\n\r\n")
def test_s1_s2_s3_whatever_requests_are_read_h11_reads_the_same(data: bytes) -> None:
    found, end = wire.requests([data] if data else [])
    judged = wire.requests_by_h11(data)
    assert found == judged[: len(found)]
    if end is not End.REFUSED:
        assert len(judged) == len(found)


@given(messages=st.lists(valid_request(), min_size=1, max_size=5), sizes=SIZES)
def test_every_valid_pipeline_is_read_to_its_end(messages: list[bytes], sizes: list[int]) -> None:
    found, end = wire.requests(cut(b"".join(messages), sizes))
    assert (len(found), end) == (len(messages), End.CLEAN)


@given(data=RESPONSES, sizes=SIZES, methods=METHODS, upgrade=st.booleans())
def test_s9_any_bytes_are_the_same_answers_whole_byte_by_byte_and_in_pieces(
    data: bytes, sizes: list[int], methods: list[bytes], upgrade: bool
) -> None:
    whole = wire.responses([data] if data else [], methods, upgrade=upgrade)
    assert wire.responses(cut(data, [1]), methods, upgrade=upgrade) == whole
    assert wire.responses(cut(data, sizes), methods, upgrade=upgrade) == whole


SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"


@given(data=RESPONSES, methods=METHODS, upgrade=st.booleans())
@example(data=SWITCH + b"\x00HTTP/1.1 200 OK\r\n\r\n", methods=[b"GET"], upgrade=True)
@example(data=SWITCH, methods=[b"GET"], upgrade=False)
@example(data=b"HTTP/1.1 200 \x00OK\r\nContent-Length: 0\r\n\r\n", methods=[b"GET"], upgrade=False)
def test_s8_s9_whatever_answers_are_read_h11_reads_the_same(data: bytes, methods: list[bytes], upgrade: bool) -> None:
    found, end = wire.responses([data] if data else [], methods, upgrade=upgrade)
    judged = wire.responses_by_h11(data, methods, upgrade=upgrade)
    assert found == judged[: len(found)]
    if end is not End.REFUSED:
        assert len(judged) == len(found)


@given(messages=st.lists(valid_response(), min_size=1, max_size=5), sizes=SIZES)
def test_every_valid_row_of_answers_is_read_to_its_end(messages: list[bytes], sizes: list[int]) -> None:
    found, end = wire.responses(cut(b"".join(messages), sizes), [b"GET"] * len(messages))
    finals = [message for message in found if message.start[0] in {200, 404, 500, 302, 418}]
    assert (len(finals), end) == (len(messages), End.CLEAN)
