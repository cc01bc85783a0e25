"""A process that may have no more memory than it is given."""

import sys
from pathlib import Path
from subprocess import PIPE, Popen

import pytest

from loadtest.chaos import memory_limit
from loadtest.chaos.memory_limit import V1, V2, memory_limited, own_groups

GREEDY = """
import sys
print("ready", flush=True)
kept = []
for line in sys.stdin:
    try:
        kept.append(b"x" * int(line))
    except MemoryError:
        print("refused", flush=True)
    else:
        print("taken", flush=True)
"""


@pytest.mark.parametrize("groups", [True, False])
def test_a_process_gets_no_more_memory_than_it_may_have(groups: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not groups:
        monkeypatch.setattr(memory_limit, "own_groups", lambda: ())
    command = [sys.executable, "-c", GREEDY]
    with Popen(command, stdin=PIPE, stdout=PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def take(size: int) -> str:
            print(size, file=process.stdin, flush=True)
            return process.stdout.readline().strip()  # type: ignore[union-attr]

        assert process.stdout.readline() == "ready\n"
        with memory_limited(process.pid, 64 << 20) as limit:
            assert take(1 << 20) == "taken"
            used = limit.used_bytes()
            said = take(128 << 20)
            if limit.kind == "RLIMIT_AS":
                assert (said, used, limit.kills()) == ("refused", None, 0)
                assert take(1 << 20) == "taken"
            else:
                assert said == ""
                assert process.wait() == -9
                assert limit.kills() == 1
                assert used is not None
                assert used >= 1 << 20
        if limit.kind == "RLIMIT_AS":
            assert take(128 << 20) == "taken"


@pytest.mark.parametrize(
    ("mounts", "groups", "found"),
    [
        ("30 23 0:26 / {mount} rw shared:4 - cgroup2 cgroup2 rw\n", "0::/here\n", V2),
        ("30 23 0:26 / {mount} rw - cgroup cgroup rw,memory\n", "9:cpu:/\n4:memory:/here\n0::/\n", V1),
        ("30 23 0:26 / {mount} rw - cgroup cgroup rw,cpu,cpuacct\n", "4:cpu,cpuacct:/here\n", None),
    ],
)
def test_the_groups_that_limit_memory_are_found(mounts: str, groups: str, found: object, tmp_path: Path) -> None:
    (tmp_path / "mountinfo").write_text(mounts.format(mount=tmp_path / "mount"))
    (tmp_path / "cgroup").write_text(groups)
    (tmp_path / "mount" / "here").mkdir(parents=True)
    assert list(own_groups(tmp_path)) == ([] if found is None else [(found, tmp_path / "mount" / "here")])
