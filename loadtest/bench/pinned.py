"""Become another program on one core, or on some, one that dies with its starter.

    python -m loadtest.bench.pinned CORE[,CORE…] COMMAND [ARGUMENT…]

The affinity is set before the program starts, so that all its threads and children have it.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # prctl(2)


def main() -> None:
    """Pin this process to the cores named first, then execute the rest."""
    cores, *command = sys.argv[1:]
    os.sched_setaffinity(0, set(map(int, cores.split(","))))
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    os.execvp(command[0], command)  # noqa: S606 - replaces this process, by design without a shell


if __name__ == "__main__":
    main()
