"""Rule 4: no nonce comes twice, also from processes that are forks of one another."""

import subprocess
import sys

from tests.processes import REPOSITORY


def test_rule_4_a_million_nonces_of_eight_forked_workers_are_a_million_different_ones() -> None:
    command = [sys.executable, "-m", "tests.token_rules.forked_nonces", "8", "125000"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.split() == ["1000000", "1000000"]
