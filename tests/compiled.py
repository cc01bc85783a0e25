"""Run the tests against the compiled packages: `python -m tests.compiled [PYTEST ARGUMENT…]`, or `make test-compiled`.

They run in the directory that the packages are unpacked in, where whatever a test starts finds the compiled ones.
"""

import os
import shutil
import subprocess
import sys

from loadtest.compiled import ROOT, CompileError, compiled_packages

BESIDE = ("config", "deploy", "docs", "proto", "tests")
IS_COMPILED = "import edge.relay.relay as relay; assert relay.__file__.endswith('.so'), relay.__file__"


def main() -> int:
    """Compile, lay the tests beside it, run them; return pytest's exit code."""
    try:
        home = compiled_packages(ROOT / "var" / "compiled", print)
    except CompileError as failure:
        print(failure)
        return 1
    for name in BESIDE:
        shutil.rmtree(home / name, ignore_errors=True)
        shutil.copytree(ROOT / name, home / name)
    for file in ROOT.iterdir():
        if file.is_file():
            shutil.copy(file, home)
    environment = {**os.environ, "PYTHONPATH": str(home)}
    subprocess.run([sys.executable, "-c", IS_COMPILED], cwd=home, env=environment, check=True)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *sys.argv[1:]]
    return subprocess.run(command, cwd=home, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
