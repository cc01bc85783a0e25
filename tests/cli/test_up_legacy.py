"""`edge up` before an origin that opens cookies itself, with the code of its own: all processes, and real keys."""

from pathlib import Path

import aiohttp

from edge.up.screen import DEMO_USER
from tests.cli.test_up import running_stack


async def test_an_origin_in_legacy_mode_and_the_edge_find_the_same_user(tmp_path: Path) -> None:
    dials = ("dials.terminate-cookie.default=0", "dials.shadow-cookie.default=100")
    with running_stack(
        tmp_path, *(f"origins.{name}.accepts_legacy=true" for name in ("api", "sign_in")), *dials
    ) as stack:
        base, headers = f"http://{stack.parts['edge'][0]}", {"Content-Type": "application/json"}
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as device:
            async with device.get(f"{base}/echo") as nobody:
                assert (await nobody.json())["passport"]["received"] == 0
            async with device.post(f"{base}/login", data=DEMO_USER, headers=headers) as signed_in:
                assert (signed_in.status, len(signed_in.headers.getall("Set-Cookie"))) == (200, 2)
            async with device.get(f"{base}/account") as account:
                assert (account.status, (await account.json())["customer_id"]) == (200, 1001)
                assert "X-Origin-Identity" not in account.headers
            async with device.post(f"{base}/logout") as signed_out:
                assert signed_out.status == 200
            async with device.get(f"{base}/account") as nobody:
                assert nobody.status == 403
            async with device.get(stack.url("admin", "/metrics")) as scraped:
                metrics = await scraped.text()
    counted = [line for line in metrics.splitlines() if line.startswith("edge_shadow_comparisons_total{")]
    same = 'edge_shadow_comparisons_total{device_type="unknown",result="same",token='
    assert sorted(counted) == [f'{same}"cookie"}} 2.0', f'{same}"none"}} 3.0']
