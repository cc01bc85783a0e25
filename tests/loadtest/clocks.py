"""A module to be run: prints both clocks."""

import sys
import time

sys.stdout.write(f"{time.time()} {time.monotonic()}\n")
