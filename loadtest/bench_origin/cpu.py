"""Processor time of another process, in nanoseconds and over all its threads: clock_getcpuclockid(3)."""

import ctypes
import time

_libc = ctypes.CDLL(None, use_errno=True)


def cpu_s(pid: int) -> float:
    """Return the seconds that a process has run so far, in user mode and in the kernel; raise OSError without one."""
    clock = ctypes.c_int()
    error = _libc.clock_getcpuclockid(ctypes.c_int(pid), ctypes.byref(clock))
    if error:
        raise OSError(error, f"no process {pid}")
    return time.clock_gettime_ns(clock.value) / 1e9
