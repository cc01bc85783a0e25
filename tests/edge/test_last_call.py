"""The end of a listening socket: whoever was told that it is connected can be taken, and nobody else is told so."""

import errno
import select
import socket
from collections.abc import Iterator

import pytest

from edge.net.last_call import call_again, last_call


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.settimeout(8)
        yield sock


def connects(listening: socket.socket, within_s: float = 0.2) -> bool:
    """Return whether a handshake is made; without one, a client waits for a second before it tries again."""
    with socket.socket() as client:
        client.settimeout(within_s)
        try:
            client.connect(listening.getsockname())
        except TimeoutError:
            return False
        return True


def test_w2_after_the_last_call_no_handshake_begins_and_what_was_made_goes_on(listening: socket.socket) -> None:
    with socket.create_connection(listening.getsockname()) as early:
        last_call(listening)
        assert not connects(listening)
        early.sendall(b"asked")
        taken, _ = listening.accept()
        with taken:
            assert taken.recv(5) == b"asked"
            taken.sendall(b"answered")
            assert early.recv(8) == b"answered"
        listening.setblocking(False)
        with pytest.raises(BlockingIOError):
            listening.accept()


def test_w2_a_socket_that_is_taken_over_takes_connections_again(listening: socket.socket) -> None:
    last_call(listening)
    assert not connects(listening)
    call_again(listening)
    assert connects(listening, within_s=8)
    call_again(listening)  # without a filter there is nothing to do
    assert connects(listening, within_s=8)


def test_w2_whoever_came_too_late_is_refused_once_the_socket_is_closed(listening: socket.socket) -> None:
    address = listening.getsockname()
    last_call(listening)
    with socket.socket() as late:
        late.setblocking(False)
        assert late.connect_ex(address) == errno.EINPROGRESS
        listening.close()
        assert select.select([], [late], [], 8)[1]
        assert late.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED
