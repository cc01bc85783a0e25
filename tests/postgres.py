"""A PostgreSQL of the tests' own: from the machine's binaries, in a temporary directory, over a Unix socket.

It refuses to run as root, so a test run as root starts it as another user. It syncs nothing to the disk.
"""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

_USERS = ("postgres", "nobody")
_START_S = 30
_SETTINGS = ("listen_addresses=", "fsync=off", "max_connections=200", "logging_collector=off")


class Postgres:
    """A server that runs. `bin` holds its programs, `directory` its data, its socket and its log."""

    def __init__(self, binaries: Path, directory: Path, user: pwd.struct_passwd | None) -> None:
        self._bin = binaries
        self._directory = directory
        self._user = user
        self._names = (f"test{number}" for number in count(1))

    def new_database(self) -> str:
        """Make an empty database; return its URL."""
        name = next(self._names)
        self._run("createdb", "-h", self._directory, "-U", "edge", name)
        return f"postgresql+psycopg://edge@/{name}?host={self._directory}"

    def initialise(self) -> None:
        """Make the cluster."""
        self._run("initdb", "-D", self.data, "-U", "edge", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")

    def start(self) -> None:
        """Start the server and wait until it answers."""
        settings = " ".join(f"-c {each}" for each in (*_SETTINGS, f"unix_socket_directories={self._directory}"))
        log = self._directory / "log"
        self._run("pg_ctl", "start", "-w", "-t", _START_S, "-D", self.data, "-l", log, "-o", settings)

    def stop(self) -> None:
        """Stop the server as a crash would, and wait until it is gone."""
        self._run("pg_ctl", "stop", "-w", "-t", _START_S, "-D", self.data, "-m", "immediate")

    @property
    def data(self) -> Path:
        """Return the directory of its files."""
        return self._directory / "data"

    def _run(self, program: str, *arguments: object) -> None:
        user = self._user
        done = subprocess.run(
            [str(self._bin / program), *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if program != "pg_ctl" else subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            cwd=self._directory,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
            user=user and user.pw_uid,
            group=user and user.pw_gid,
            extra_groups=user and [],
        )
        assert done.returncode == 0, f"{program} failed:\n{done.stdout}"


def binaries() -> Path | None:
    """Return the directory of the newest PostgreSQL on this machine, or None."""
    # Debian keeps them off the path.
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)
    on_path = shutil.which("initdb")
    if on_path is not None:
        found.append(Path(on_path).resolve().parent)
    return next((path for path in found if (path / "initdb").exists()), None)


@contextmanager
def postgres_running(programs: Path) -> Iterator[Postgres]:
    """Run a server of its own until the block ends."""
    user = _unprivileged() if os.geteuid() == 0 else None
    directory = Path(tempfile.mkdtemp(prefix="pg-"))  # short: the socket's path has a limit
    try:
        if user is not None:
            shutil.chown(directory, user.pw_uid, user.pw_gid)
        server = Postgres(programs, directory, user)
        server.initialise()
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(directory)


def _unprivileged() -> pwd.struct_passwd:
    entries = {entry.pw_name: entry for entry in pwd.getpwall()}
    return next(entries[name] for name in _USERS if name in entries)
