"""What a device and an origin see of one relayed exchange."""

from tests.edge.raw import answering, connected, get, ok, raw_origin
from tests.edge.running import running_edge


async def test_a_request_reaches_the_origin_and_its_answer_the_device() -> None:
    async with (
        raw_origin(answering(ok(b"hello", b"X-Custom: kept"))) as origin,
        running_edge(origin.address) as edge,
        connected(edge.port) as client,
    ):
        response = await client.ask(get(b"/echo?a=b", b"Accept: text/plain"))
        assert (response.status, response.body, response.get(b"x-custom")) == (200, b"hello", b"kept")
        assert (origin.requests[0].method, origin.requests[0].target) == (b"GET", b"/echo?a=b")
        assert origin.requests[0].get(b"host") == b"edge.test"
        assert origin.requests[0].get(b"accept") == b"text/plain"
