"""K4: keys rotated through all their states under an edge and a cookie service, all real processes."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from edgepb.cookie.v1 import cookie_service_pb2 as pb

from tests.edge_process.edge import ALONE, Edge, running_edge
from tests.edge_process.origin import origin_running
from tests.processes import beside, eventually
from tests.services.cookie_calls import NAMES, Cookies, cookies_running
from tests.services.kms_calls import Kms, kms_running
from tests.services.subscriber import MEMBER, subscribers_running
from tests.tokens.rings import key_id_of

CONNECTIONS = 2
PAUSE_S = 0.02  # between two requests of a user


async def statuses(edge: Edge, pair: pb.CookiePair) -> set[int]:
    """Ask, as the user of `pair`, over connections of their own; return what came: never a new cookie."""
    cookie = f"{NAMES.insecure}={pair.insecure.decode()}; {NAMES.secure}={pair.secure.decode()}"
    url = f"http://{edge.address[0]}:{edge.address[1]}/account"

    async def ask() -> int:
        connector = aiohttp.TCPConnector(force_close=True)
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.get(url, headers={"Cookie": cookie}) as response,
        ):
            assert "Set-Cookie" not in response.headers, "a rotation makes no cookie due"
            return response.status

    return set(await asyncio.gather(*(ask() for _ in range(CONNECTIONS))))


@asynccontextmanager
async def a_user_who_goes_on(edge: Edge, pair: pb.CookiePair) -> AsyncIterator[set[int]]:
    """Ask all the time as the user of `pair`; yield what came so far."""
    seen: set[int] = set()

    async def go_on() -> None:
        while True:
            seen.update(await statuses(edge, pair))
            await asyncio.sleep(PAUSE_S)

    async with beside(go_on()):
        yield seen


async def move(kms: Kms, key_id: str, state: str, *, force: bool = False) -> tuple[int, Mapping[str, object]]:
    return await kms.operate(f"/v1/keys/{key_id}/state", {"state": state, "force": force})


async def rotated(kms: Kms) -> str:
    """Add a key and activate it once everybody has it; return the id of the one that protected before."""
    former = await kms.primary("cookie")
    added = await kms.add("cookie")

    async def activated() -> bool:
        status, answer = await move(kms, added, "ACTIVE")
        assert status == 200 or answer["reason"] == "not_distributed"
        return status == 200

    await eventually(activated, "every holder has said that it has the new key")
    return f"{former.key_id:08x}"


async def sealed_under_another(cookies: Cookies, key_id: str) -> pb.CookiePair:
    """Sign in until the cookie service seals with a key that is not `key_id`."""
    pairs: list[pb.CookiePair] = []

    async def another() -> bool:
        pairs.append(await cookies.create(MEMBER))
        return f"{key_id_of(pairs[-1].insecure):08x}" != key_id

    await eventually(another, f"the cookie service seals with another key than {key_id}")
    return pairs[-1]


@pytest.mark.timeout(180)  # three services and an edge: a busy machine takes its time
async def test_k4_two_rotations_under_load_refuse_nobody_but_the_tokens_of_destroyed_keys(tmp_path: Path) -> None:
    settings = ("services.kms.refresh_s=0.3", ALONE)
    async with (
        origin_running() as origin,
        kms_running(tmp_path) as kms,
        subscribers_running() as subscribers,
        cookies_running(kms, subscribers.url, tmp_path) as cookies,
        running_edge(
            kms, tmp_path, origin.address, *settings, f"services.cookie.url={cookies.process.url}", workers=1
        ) as edge,
    ):
        await edge.pids()
        pair = await cookies.create(MEMBER)
        for _ in range(2):
            async with a_user_who_goes_on(edge, pair) as seen:
                former = await rotated(kms)
                newer = await sealed_under_another(cookies, former)
                assert await statuses(edge, newer) == {200}
                assert await statuses(edge, pair) == {200}
            assert seen <= {200}
            async with a_user_who_goes_on(edge, newer) as seen:
                assert (await move(kms, former, "DESTROYED", force=True))[0] == 200

                async def refused(old: pb.CookiePair = pair) -> bool:
                    renewed = (await cookies.renew(old.insecure)).outcome == pb.RENEWED
                    return not renewed and await statuses(edge, old) == {401}

                await eventually(refused, "the destroyed key's token is refused by edge and cookie service")
            assert seen <= {200}
            pair = newer
