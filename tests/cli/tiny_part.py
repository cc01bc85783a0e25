"""A process as `edge up` expects one: listens, says so, writes its address to --ready-fd, leaves on SIGTERM."""

import argparse
import os
import signal
import socket
import sys
import threading


def main() -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--listen", required=True)
    parser.add_argument("--ready-fd", type=int, required=True)
    parser.add_argument("--fail", action="store_true")
    parser.add_argument("--deaf", action="store_true")
    parser.add_argument("--never-ready", action="store_true")
    options = parser.parse_args()
    if options.fail:
        sys.exit("tiny cannot start: it was told so")
    leaving = threading.Event()
    signal.signal(signal.SIGTERM, signal.SIG_IGN if options.deaf else lambda *_: leaving.set())
    host, _, port = options.listen.rpartition(":")
    with socket.create_server((host, int(port))) as listener:
        address = f"{host}:{listener.getsockname()[1]}"
        sys.stdout.write(f"tiny on {address}, \x1b[31mred\n")
        sys.stdout.flush()
        if not options.never_ready:
            os.write(options.ready_fd, f"{address}\n".encode())
            os.close(options.ready_fd)
        while not leaving.wait(0.05):
            pass
    sys.stdout.write("tiny leaves")  # without a line end


if __name__ == "__main__":
    main()
