"""Connections that do nothing, a process of its own: each has had one request answered, and is kept.

    python -m loadtest.experiments.idle PORT FIELD-FILE COUNT FIRST [CA-FILE]

Says `OPEN COUNT` when all are there, and closes them on SIGTERM. FIRST spreads the connections of several such
processes over addresses of their own, since the edge bounds the connections of one.
"""

import signal
import socket
import ssl
import sys
from pathlib import Path

PER_ADDRESS = 500
OPEN = "OPEN"


def connected(port: int, source: str, context: ssl.SSLContext | None) -> socket.socket:
    """Return a connection from an address of loopback."""
    plain = socket.create_connection(("127.0.0.1", port), 30.0, (source, 0))
    return plain if context is None else context.wrap_socket(plain, server_hostname="localhost")


def asked(sock: socket.socket, request: bytes) -> None:
    """Send a request and read its answer; raise OSError when it is not 200."""
    sock.sendall(request)
    answer = sock.recv(65_536)
    while b"\r\n\r\n" not in answer:
        more = sock.recv(65_536)
        if not more:
            break
        answer += more
    if not answer.startswith(b"HTTP/1.1 200 "):
        raise OSError(f"not answered with 200: {answer[:60]!r}")


def main() -> None:
    """Open, say so, wait for SIGTERM."""
    port, file, count, first = int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    context = ssl.create_default_context(cafile=sys.argv[5]) if len(sys.argv) > 5 else None
    field = file.read_text().splitlines()[0]
    request = f"GET /browse HTTP/1.1\r\nHost: localhost:{port}\r\n{field}\r\n\r\n".encode()
    held = []
    for number in range(first, first + count):
        held.append(connected(port, f"127.0.2.{1 + number // PER_ADDRESS}", context))
        asked(held[-1], request)
    print(OPEN, count, flush=True)
    signal.sigwait([signal.SIGTERM, signal.SIGINT])
    for one in held:
        one.close()


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGINT])
    main()
