"""What the figures were measured on and with."""

import platform
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version as installed
from pathlib import Path

from loadtest.bench.settings import Cores, Settings
from loadtest.bench.tools import Tools, version

LIBRARIES = ("edge-passport", "uvloop", "httptools", "cryptography", "protobuf")


def context(settings: Settings, cores: Cores, tools: Tools) -> dict[str, object]:
    """Return what a reader needs to compare two reports: when, where, with what versions and settings."""
    return {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"cpu": cpu_name(), "kernel": platform.release(), "cores": asdict(cores)},
        "versions": {
            "python": platform.python_version(),
            **{name: installed(name) for name in LIBRARIES},
            "envoy": version([tools.envoy, "--version"]),
            "nginx": version([tools.nginx, "-v"]),
            "wrk": version([tools.wrk, "-v"]),
        },
        "settings": {
            "rounds": settings.rounds,
            "round_s": settings.round_s,
            "warm_up_s": settings.warm_up_s,
            "connections": settings.connections,
            "tokens": settings.tokens,
        },
    }


def cpu_name() -> str:
    """Return the processor's name as the kernel gives it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
