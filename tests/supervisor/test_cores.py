"""How many workers there are by default: never more than may run at once."""

import os
from pathlib import Path

import pytest

from edge.supervisor.cores import cpu_limit, usable_cores

CORES = len(os.sched_getaffinity(0))


def system(root: Path, membership: str, **files: str) -> Path:
    """Make a file system with this in /proc/self/cgroup and, below /sys/fs/cgroup, files by path (`__` is a slash)."""
    written = {"proc/self/cgroup": membership}
    written |= {f"sys/fs/cgroup/{name.replace('__', '/').replace('0', '.')}": text for name, text in files.items()}
    for name, text in written.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("membership", "files", "limit"),
    [
        ("0::/\n", {"cpu0max": "200000 100000\n"}, 2.0),
        ("0::/\n", {"cpu0max": "max 100000\n"}, None),
        ("0::/\n", {}, None),
        ("0::/\n", {"cpu0max": "nonsense\n"}, None),
        ("0::/\n", {"cpu0max": "100000 0\n"}, None),
        ("0::/edge\n", {"edge__cpu0max": "150000 100000\n"}, 1.5),
        ("0::/pod/edge\n", {"pod__cpu0max": "100000 100000\n", "pod__edge__cpu0max": "300000 100000\n"}, 1.0),
        ("0::/kubepods/of/the/host\n", {"cpu0max": "50000 100000\n"}, 0.5),
        ("4:cpu,cpuacct:/\n0::/\n", {"cpu__cpu0cfs_quota_us": "250000\n", "cpu__cpu0cfs_period_us": "100000\n"}, 2.5),
        ("4:cpu:/a\n", {"cpu__a__cpu0cfs_quota_us": "-1\n", "cpu__a__cpu0cfs_period_us": "100000\n"}, None),
        ("4:cpu:/docker/1\n", {"cpu__cpu0cfs_quota_us": "400000\n", "cpu__cpu0cfs_period_us": "100000\n"}, 4.0),
        ("4:cpuset:/\n5:cpuacct:/\n", {"cpu__cpu0cfs_quota_us": "1\n", "cpu__cpu0cfs_period_us": "1\n"}, None),
        ("nothing of the kind", {}, None),
    ],
    ids=str,
)
def test_the_limit_is_the_least_of_the_cgroup_and_those_above_it(
    tmp_path: Path, membership: str, files: dict[str, str], limit: float | None
) -> None:
    assert cpu_limit(system(tmp_path, membership, **files)) == limit


def test_where_nothing_can_be_read_there_is_no_limit(tmp_path: Path) -> None:
    assert cpu_limit(tmp_path) is None
    assert usable_cores(tmp_path) == CORES


def test_a_part_of_a_core_is_a_core_and_no_more_are_counted_than_there_are(tmp_path: Path) -> None:
    assert usable_cores(system(tmp_path, "0::/\n", cpu0max="10000 100000")) == 1
    assert usable_cores(system(tmp_path, "0::/\n", cpu0max=f"{(CORES - 1) * 100000 + 1} 100000")) == CORES
    assert usable_cores(system(tmp_path, "0::/\n", cpu0max="6400000 100000")) == min(CORES, 64)
