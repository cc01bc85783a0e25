"""The databases that the services are tried on."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from services.cookie.store import Store
from tests.postgres import Postgres, binaries, postgres_running
from tests.services.sessions import Clock, opened


@pytest.fixture(scope="session")
def postgres_programs() -> Path:
    """Return where PostgreSQL's programs are; tests that need them are skipped where there are none."""
    programs = binaries()
    if programs is None:
        pytest.skip("PostgreSQL is not installed (Debian: postgresql)")
    return programs


@pytest.fixture(scope="session")
def postgres(postgres_programs: Path) -> Iterator[Postgres]:
    """Run a PostgreSQL for the whole session."""
    with postgres_running(postgres_programs) as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of a new database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'service.sqlite'}"
    server: Postgres = request.getfixturevalue("postgres")
    return server.new_database()


@pytest.fixture
def clock() -> Clock:
    """Return the clock of `store`."""
    return Clock()


@pytest_asyncio.fixture
async def store(database_url: str, clock: Clock) -> AsyncIterator[Store]:
    """Open the cookie service's store on a new database of each kind."""
    with opened(database_url, clock) as store:
        yield store
