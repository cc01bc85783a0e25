"""How the stubs start, fail to start, and stop."""

import argparse
import asyncio
import os
import socket
from pathlib import Path

import aiohttp
import pytest

from origins_stub.kit.process import Address, parse_address
from passport.aiohttp import HEADER
from tests.origins_stub.conftest import Origins, edge_of, identity_arguments, running_kms
from tests.processes import Process, free_port, make_secrets, process, started

STUBS = ("subscriber", "auth", "api")


def stub_arguments(origins: Origins, name: str) -> tuple[str, ...]:
    return identity_arguments(origins.var, origins.kms, name)


@pytest.mark.parametrize("name", STUBS)
async def test_a_stub_says_where_it_listens_and_leaves_cleanly_on_sigterm(origins: Origins, name: str) -> None:
    async with process(f"origins_stub.{name}", *stub_arguments(origins, name)) as stub:
        assert f"{name} listening on {stub.address}\n" in stub.output()
        assert await stub.stop() == 0
        assert stub.output() == f"{name} listening on {stub.address}\n"


async def test_a_taken_port_is_said_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        async with started("origins_stub.subscriber", "--var", str(tmp_path), listen=address) as (stub, _):
            assert await stub.wait() == 2
            assert stub.output() == (
                f"subscriber cannot start: {address} cannot be listened on (Address already in use); "
                "choose another --listen\n"
            )


@pytest.mark.parametrize("name", STUBS)
async def test_a_stub_without_its_token_files_does_not_start(tmp_path: Path, name: str) -> None:
    async with started(f"origins_stub.{name}", "--var", str(tmp_path)) as (stub, _):
        assert await stub.wait() == 2
        assert "cannot be read; `edge up` makes it on its first run" in stub.output()


async def test_an_origin_whose_token_the_kms_does_not_know_does_not_start(origins: Origins, tmp_path: Path) -> None:
    (tmp_path / "forged.token").write_text("forged-token\n")
    arguments = ("--kms", origins.kms.url, "--token-file", str(tmp_path / "forged.token"), "--var", str(tmp_path))
    async with started("origins_stub.api", *arguments) as (stub, _):
        assert await stub.wait() == 2
        assert "refused the key sets" in stub.output()
        assert "forged-token" not in stub.output()


async def test_an_origin_waits_for_the_kms_and_can_be_stopped_meanwhile(tmp_path: Path) -> None:
    secrets = make_secrets(tmp_path / "secrets")
    listen = f"127.0.0.1:{free_port()}"
    arguments = ("--kms", f"http://127.0.0.1:{free_port()}", "--token-file", str(secrets / "api.token"))
    async with started("origins_stub.api", *arguments, listen=listen) as (stub, ready):
        await _accepts(listen)
        assert await stub.stop() == 0
        assert os.read(ready, 100) == b""
        assert "listening" not in stub.output()


async def test_an_origin_learns_new_keys_without_a_restart(tmp_path: Path, session: aiohttp.ClientSession) -> None:
    async with (
        running_kms(tmp_path) as kms,
        process("origins_stub.api", *identity_arguments(tmp_path, kms, "api"), "--key-refresh-s", "0.05") as api,
    ):
        old = await edge_of(tmp_path, kms, session)
        await _rotate(kms, session, (tmp_path / "secrets" / "operator.token").read_text().strip())
        new = await edge_of(tmp_path, kms, session)
        assert repr(old.keys.signer("passport-user")) != repr(new.keys.signer("passport-user"))
        await _until_verified(session, api.url, new.passport())
        # The key before it still verifies what is on its way.
        await _until_verified(session, api.url, old.passport())


async def test_k3_an_origin_keeps_its_keys_while_the_kms_is_away(
    tmp_path: Path, session: aiohttp.ClientSession
) -> None:
    async with (
        running_kms(tmp_path) as kms,
        process("origins_stub.api", *identity_arguments(tmp_path, kms, "api"), "--key-refresh-s", "0.05") as api,
    ):
        edge = await edge_of(tmp_path, kms, session)
        await kms.kill()
        while "keys_not_refreshed" not in api.output():  # noqa: ASYNC110 - what another process writes
            await asyncio.sleep(0.02)
        answer = await session.get(f"{api.url}/", headers={HEADER: edge.passport()})
        assert answer.status == 200


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:0", Address("127.0.0.1", 0)),
        ("localhost:8094", Address("localhost", 8094)),
        ("[::1]:80", Address("::1", 80)),
    ],
)
def test_an_address_is_read_and_written_alike(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert str(address) == text


@pytest.mark.parametrize("text", ["", "8094", ":8094", "localhost", "localhost:", "localhost:x", "h:65536", "h:-1"])
def test_an_address_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is not HOST:PORT"):
        parse_address(text)


async def _accepts(address: str) -> None:
    host, _, port = address.rpartition(":")
    while True:
        try:
            _, writer = await asyncio.open_connection(host, int(port))
        except OSError:
            await asyncio.sleep(0.02)
            continue
        writer.close()
        return await writer.wait_closed()


async def _until_verified(session: aiohttp.ClientSession, api_url: str, passport: str) -> None:
    while True:
        answer = await session.get(f"{api_url}/echo", headers={HEADER: passport})
        if (await answer.json())["passport"]["verified"]:
            return
        await asyncio.sleep(0.02)


async def _rotate(kms: Process, session: aiohttp.ClientSession, operator: str) -> None:
    """Make a new version of passport-user and activate it, before the origin has it."""
    headers = {"Authorization": f"Bearer {operator}"}
    made = await session.post(f"{kms.url}/v1/key-sets/passport-user/versions", headers=headers)
    key_id = (await made.json())["key_id"]
    done = await session.post(
        f"{kms.url}/v1/keys/{key_id}/state", json={"state": "ACTIVE", "force": True}, headers=headers
    )
    assert done.status == 200
