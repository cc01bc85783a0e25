"""A master key that AWS KMS seals: against moto's server, in a process of its own."""

import re
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import BinaryIO

import pytest

from services.kit.database import Database, DatabaseConfig
from services.kit.process import StartError
from services.kms.aws import AwsWrapping
from services.kms.config import AwsKms
from services.kms.master_key import Wrapping, master_key
from services.kms.sealing import Sealer
from services.kms.store import Store, upgrade
from tests.processes import eventually, free_port, make_secrets, started
from tests.services.databases import stored_bytes
from tests.services.kms_calls import CONFIG, Kms, kms_arguments, kms_running

boto3 = pytest.importorskip("boto3")
NOWHERE = Path("/nonexistent/none.sqlite")
REGION = "eu-central-1"


class Moto:
    """A server that speaks AWS KMS, and a key in it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._client = boto3.client("kms", region_name=REGION, endpoint_url=url)
        self.key_id = self.new_key()

    def new_key(self) -> str:
        return str(self._client.create_key()["KeyMetadata"]["KeyId"])

    def config(self, key_id: str | None = None) -> AwsKms:
        return AwsKms(key_id=key_id or self.key_id, region=REGION, endpoint_url=self.url, timeout_s=5)

    def section(self, key_id: str) -> str:
        return f"{CONFIG.read_text()}aws_kms: {{key_id: {key_id}, region: {REGION}, endpoint_url: '{self.url}'}}\n"


def moto_process(log: BinaryIO) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    return subprocess.Popen(command, stdout=log, stderr=log)


@asynccontextmanager
async def moto_running() -> AsyncIterator[Moto]:
    with tempfile.TemporaryFile() as log:
        server = moto_process(log)

        def address() -> re.Match[bytes] | None:
            log.seek(0)
            return re.search(rb"Running on (http://127\.0\.0\.1:\d+)", log.read())

        async def listens() -> bool:
            return address() is not None

        try:
            await eventually(listens, "moto's server listens", timeout_s=30)
            found = address()
            assert found is not None
            yield Moto(found[1].decode())
        finally:
            server.kill()
            server.wait()


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@contextmanager
def new_database(url: str) -> Iterator[Database]:
    database = Database(DatabaseConfig(url=url), NOWHERE)
    upgrade(database)
    try:
        yield database
    finally:
        database.close()


class Fake:
    """Seals by turning round."""

    def new(self) -> tuple[bytes, bytes]:
        return bytes(range(32)), bytes(reversed(range(32)))

    def open(self, wrapped: bytes) -> bytes:
        return wrapped[::-1]


def fake(_: AwsKms) -> Wrapping:
    return Fake()


def test_a_new_store_gets_a_master_key_and_keeps_it_sealed(database_url: str, tmp_path: Path) -> None:
    aws = AwsKms(key_id="alias/edge")
    with new_database(database_url) as database:
        first = master_key(database, tmp_path / "master.key", aws, fake)
        assert master_key(database, tmp_path / "master.key", aws, fake) == first == bytes(range(32))
    assert first not in stored_bytes(database_url)


def test_a_store_keeps_the_kind_of_master_key_that_it_was_made_with(database_url: str, tmp_path: Path) -> None:
    secrets, aws = make_secrets(tmp_path / "secrets"), AwsKms(key_id="alias/edge")
    with new_database(database_url) as database:
        key = master_key(database, secrets / "master.key", None, fake)
        Store(database, Sealer(key), 1000, 1e9).ensure_primaries(["cookie"], 1e9)
        with pytest.raises(StartError, match=r"is sealed under the master key of .*: start it without aws_kms"):
            master_key(database, secrets / "master.key", aws, fake)


def test_a_store_whose_master_key_aws_kms_seals_does_not_start_without(database_url: str, tmp_path: Path) -> None:
    secrets = make_secrets(tmp_path / "secrets")
    with new_database(database_url) as database:
        master_key(database, secrets / "master.key", AwsKms(key_id="alias/edge"), fake)
        with pytest.raises(StartError, match="has a master key that AWS KMS seals: name its key in aws_kms"):
            master_key(database, secrets / "master.key", None, fake)


async def test_a_service_whose_master_key_aws_kms_seals_comes_back_with_the_same_keys(tmp_path: Path) -> None:
    secrets = make_secrets(tmp_path / "secrets")
    (secrets / "master.key").unlink()
    async with moto_running() as moto:
        async with kms_running(tmp_path, config_text=moto.section(moto.key_id)) as kms:
            before = await kms.client("edge").key_sets(["cookie"])
        async with kms_running(tmp_path, config_text=moto.section(moto.key_id)) as kms:
            assert await kms.client("edge").key_sets(["cookie"]) == before
        (tmp_path / "kms.yaml").write_text(moto.section(moto.new_key()))
        await refused(tmp_path, kms, "the master key cannot be had from AWS KMS: An error occurred")
    await refused(tmp_path, kms, "the master key cannot be had from AWS KMS: Could not connect")


async def refused(directory: Path, kms: Kms, why: str) -> None:
    """Start the service again, and see that it does not."""
    async with started("services.kms", *kms_arguments(kms.secrets, kms.var, directory / "kms.yaml")) as (process, _):
        assert await process.wait(60) == 1
        assert process.output().count("\n") == 1
        assert re.search(f"kms cannot start: {why}", process.output())


async def test_what_one_key_of_aws_kms_has_sealed_another_does_not_open() -> None:
    async with moto_running() as moto:
        key, wrapped = AwsWrapping(moto.config()).new()
        assert AwsWrapping(moto.config()).open(wrapped) == key
        assert key not in wrapped
        with pytest.raises(StartError, match="cannot be had from AWS KMS"):
            AwsWrapping(moto.config(moto.new_key())).open(wrapped)
        with pytest.raises(StartError, match="cannot be had from AWS KMS"):
            AwsWrapping(moto.config()).open(wrapped[:-1] + bytes([wrapped[-1] ^ 1]))
        with pytest.raises(StartError, match="cannot be had from AWS KMS"):
            AwsWrapping(moto.config("alias/none")).new()


def test_an_unreachable_aws_kms_or_one_without_a_region_is_an_error_that_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    unreachable = AwsKms(key_id="x", region=REGION, endpoint_url=f"http://127.0.0.1:{free_port()}", timeout_s=0.1)
    with pytest.raises(StartError, match="Could not connect"):
        AwsWrapping(unreachable).new()
    with pytest.raises(StartError, match="region"):
        AwsWrapping(AwsKms(key_id="x"))
