"""What all scenarios of a run share: a directory, keys from a KMS, and visitors with cookies."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp

from loadtest.bench import edge
from loadtest.bench.cookies import cookie_field
from loadtest.bench.processes import Seat
from loadtest.bench.visitors import visitors
from loadtest.chaos.ports import free_port
from loadtest.chaos.settings import Cores, Settings
from passport.kms import KmsClient
from tokens.cookie import PURPOSE, CookieNames
from tokens.keys.ring import KeyRing

VISITORS = 500


@dataclass(slots=True, frozen=True)
class Base:
    """`home` is gone afterwards: it holds keys. `packages` is where the compiled packages are, None for the sources."""

    settings: Settings
    cores: Cores
    home: Path
    kms_port: int
    cookies: Path
    packages: Path | None


@asynccontextmanager
async def base(settings: Settings, cores: Cores, packages: Path | None) -> AsyncIterator[Base]:
    """Start the KMS, seal a cookie pair for each visitor; stop everything on leaving."""
    settings.var.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="run-", dir=settings.var.resolve(), ignore_cleanup_errors=True) as name:
        home = Path(name)
        config, port = settings.config / "kms.yaml", free_port()
        edge.make_secrets(home / "secrets", config)
        async with edge.kms(Seat(cores.rest, port, home), config), aiohttp.ClientSession() as session:
            client = KmsClient(session, f"http://127.0.0.1:{port}", edge.identity_token(home / "secrets", "cookie"))
            answer = await client.key_sets([PURPOSE])
            ring = KeyRing.from_key_sets(answer.key_sets, answer.revision)
            names, now = CookieNames(edge.INSECURE_COOKIE, edge.SECURE_COOKIE), int(time.time())
            fields = [cookie_field(ring, names, edge.ENVIRONMENT, one, now) for one in visitors(VISITORS)]
            cookies = home / "cookies"
            cookies.touch(mode=0o600)
            cookies.write_text("\n".join(fields))
            yield Base(settings, cores, home, port, cookies, packages)
