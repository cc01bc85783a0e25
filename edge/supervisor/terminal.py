"""A SIGHUP has two meanings: somebody asks for a reload, or the terminal is gone and what it ran should go, too."""

import os
import sys
from typing import Final

_HAD_TERMINAL: Final = sys.__stdin__ is not None and os.isatty(0)


def hung_up() -> bool:
    """Return whether this process was started on a terminal that is closed by now."""
    return _HAD_TERMINAL and not os.isatty(0)
