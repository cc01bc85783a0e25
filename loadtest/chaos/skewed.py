"""A Python module whose wall clock is ahead, or behind: `python -m loadtest.chaos.skewed SECONDS MODULE ARGUMENT…`.

Timers go by the monotonic clock, which stays as it is.
"""

import runpy
import sys
import time

_real = time.time


def main() -> None:
    """Run the module."""
    skew_s, module = float(sys.argv[1]), sys.argv[2]
    time.time = lambda: _real() + skew_s
    sys.argv = sys.argv[2:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
