"""Load by wrk: what is sent, how it is started, what it says at the end."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtest.bench.failure import BenchError
from loadtest.bench.processes import spawn, stop

SCRIPT = Path(__file__).parent / "requests.lua"
MARK = "FIGURES "
GRACE_S = 30.0


@dataclass(slots=True, frozen=True)
class Sample:
    """What one run of wrk saw. `refused` counts answers of 400 and above, `broken` socket errors and timeouts."""

    requests: int
    duration_s: float
    p50_ms: float
    p99_ms: float
    p999_ms: float
    refused: int
    broken: int

    @property
    def rps(self) -> float:
        """Answers per second."""
        return self.requests / self.duration_s if self.duration_s else 0.0


def parse(output: str) -> Sample:
    """Read wrk's output as the script's last function writes it; anything else is a `BenchError`."""
    line = next((line for line in output.splitlines() if line.startswith(MARK)), None)
    if line is None:
        raise BenchError(f"wrk measured nothing:\n{output.strip()}")
    figures = json.loads(line.removeprefix(MARK))
    return Sample(
        requests=figures["requests"],
        duration_s=figures["duration_us"] / 1e6,
        p50_ms=figures["p50_us"] / 1e3,
        p99_ms=figures["p99_us"] / 1e3,
        p999_ms=figures["p999_us"] / 1e3,
        refused=figures["refused"],
        broken=sum(figures[kind] for kind in ("connect", "read", "write", "timeout")),
    )


def write_requests(file: Path, fields: Sequence[str]) -> Path:
    """Write what the script reads: a line per request, its own header field or nothing. The file is private."""
    file.touch(mode=0o600)
    file.write_text("".join(f"{field}\n" for field in fields))
    return file


def command(wrk: str, url: str, requests: Path, connections: int, seconds: int) -> list[str]:
    """Return the command line of one run: one thread, `connections` kept alive, each with one request at a time."""
    options = ["-t", "1", "-c", str(connections), "-d", f"{seconds}s", "-s", str(SCRIPT)]
    return [wrk, *options, url, "--", str(requests)]


async def measure(core: int, argv: Sequence[str], seconds: int) -> Sample:
    """Run wrk on `core` and return what it saw; it is ended when this is cancelled or it does not end itself."""
    process = await spawn(core, argv, asyncio.subprocess.PIPE)
    try:
        output, _ = await asyncio.wait_for(process.communicate(), seconds + GRACE_S)
    except TimeoutError:
        raise BenchError(f"wrk did not end {GRACE_S:.0f} s after its time") from None
    finally:
        await stop(process)
    return parse(output.decode(errors="replace"))
