"""A SIGHUP that somebody sent, and one that says that the terminal is gone."""

import os
import pty
import subprocess
import sys

_ASK = """
import signal
from edge.supervisor.terminal import hung_up
signal.signal(signal.SIGHUP, lambda *_: print(hung_up(), flush=True))
print(hung_up(), flush=True)
"""


def test_a_process_that_never_had_a_terminal_takes_every_sighup_for_a_reload() -> None:
    ran = subprocess.run([sys.executable, "-c", _ASK], stdin=subprocess.DEVNULL, capture_output=True, check=True)
    assert ran.stdout == b"False\n"


def test_a_terminal_that_is_closed_is_told_from_one_that_is_there() -> None:
    ours, theirs = pty.openpty()
    line = [sys.executable, "-c", f"{_ASK}signal.pause()"]
    with subprocess.Popen(line, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        os.close(theirs)
        assert process.stdout is not None
        assert process.stdout.readline() == b"False\n"
        os.close(ours)
        process.send_signal(1)
        assert process.stdout.readline() == b"True\n"
        process.kill()
