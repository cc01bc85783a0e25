"""What the figures were measured on and with, and what cannot be measured here."""

import os
import platform
import sysconfig
from collections.abc import Callable, Collection
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version as installed
from pathlib import Path

import psutil

from loadtest.bench import tools
from loadtest.bench.failure import BenchError
from loadtest.bench.machine import LIBRARIES, cpu_name
from loadtest.bench.settings import Cores
from loadtest.experiments.ground import Programs
from loadtest.experiments.settings import Settings

NEEDED = ("wrk", "nginx", "gcc")
WITHOUT_WRK = frozenset({"memory"})  # experiments that need none


def facts(settings: Settings, cores: Cores, programs: Programs) -> dict[str, object]:
    """Return what a reader needs to compare two reports."""
    return {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "cpu": cpu_name(),
            "cpus": len(os.sched_getaffinity(0)),
            "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
            "kernel": platform.release(),
            "cores": asdict(cores),
        },
        "versions": {
            "python": platform.python_version(),
            **{name: installed(name) for name in LIBRARIES},
            "nginx": tools.version([programs.nginx, "-v"]),
            **({"wrk": tools.version([programs.wrk, "-v"])} if programs.wrk else {}),
        },
        "settings": {
            "quick": settings.quick, "compiled": settings.compiled, "connections": settings.connections,
            "seed": settings.seed, **asdict(settings.length),
        },
    }  # fmt: skip


def missing_programs(settings: Settings, say: Callable[[str], None]) -> dict[str, str]:
    """Return the programs that are not there, and why; root gets them installed from Debian first."""
    wanted = [name for name in NEEDED if name != "gcc" or settings.compiled]
    lacking = [name for name in wanted if tools.find(name) is None]
    packages = [package for name in lacking for package in tools.DEBIAN_PACKAGES[name]]
    if settings.compiled and not Path(sysconfig.get_path("include"), "Python.h").exists():
        lacking.append("gcc")
        packages += tools.PYTHON_HEADERS
    if not packages:
        return {}
    try:
        tools.install(packages, say)
    except BenchError as failure:
        return dict.fromkeys(lacking, str(failure))
    return {}


def left_out(names: Collection[str], missing: dict[str, str], cpus: int) -> dict[str, str]:
    """Return the experiments that cannot be made here, and why."""
    found = {}
    for name in names:
        lacking = [why for program, why in missing.items() if program != "wrk" or name not in WITHOUT_WRK]
        if cpus < 2:
            found[name] = "it needs two cores: one for the edge, one for origin and load"
        elif lacking:
            found[name] = lacking[0]
    return found
