"""Listening sockets: shared between our slots, never with a stranger."""

import contextlib
import socket
import sys

import pytest

from edge.supervisor.sockets import CannotListen, listening_sockets


def test_all_slots_listen_on_the_one_port_that_the_system_chose() -> None:
    opened = listening_sockets("127.0.0.1", 0, backlog=8, count=3)
    assert isinstance(opened, list)
    assert len({one.getsockname() for one in opened}) == 1
    assert opened[0].getsockname()[1] > 0
    for one in opened:
        one.close()


def test_a_port_that_another_edge_listens_on_is_taken_although_it_is_shareable() -> None:
    other = listening_sockets("127.0.0.1", 0, backlog=8, count=1)
    assert isinstance(other, list)
    port = other[0].getsockname()[1]
    refused = listening_sockets("127.0.0.1", port, backlog=8, count=1)
    assert isinstance(refused, CannotListen)
    assert f"port {port} on 127.0.0.1 is taken" in refused.text
    assert "choose another port" in refused.text
    other[0].close()


def test_an_address_of_another_machine_is_said_plainly() -> None:
    refused = listening_sockets("192.0.2.1", 0, backlog=8, count=1)
    assert refused == CannotListen("192.0.2.1 is not an address of this machine")


def test_ipv6_sockets_take_no_ipv4_connections() -> None:
    opened = listening_sockets("::1", 0, backlog=8, count=1)
    if isinstance(opened, CannotListen):  # a machine without IPv6
        assert "not an address" in opened.text or "cannot listen" in opened.text
        return
    assert opened[0].getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1
    opened[0].close()


@pytest.mark.skipif(sys.platform != "linux", reason="a socket option of Linux")
def test_m1_the_kernel_takes_little_of_an_answer_that_its_device_does_not_read() -> None:
    opened = listening_sockets("127.0.0.1", 0, backlog=8, count=1)
    assert isinstance(opened, list)
    opened[0].setblocking(True)
    with socket.socket() as device:
        device.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        device.connect(opened[0].getsockname())
        connection, _ = opened[0].accept()
        with connection:
            connection.setblocking(False)
            taken, piece = 0, b"x" * 4096
            with contextlib.suppress(BlockingIOError):
                while taken < 1 << 22:
                    taken += connection.send(piece)
    opened[0].close()
    assert taken < 1 << 18
