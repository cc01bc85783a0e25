"""`python -m services.kms`: the key management service as a process."""

import asyncio
import sys
import time
from argparse import Namespace
from contextlib import AsyncExitStack
from functools import partial

from aiohttp import web

from services.kit.callers import Callers
from services.kit.config import check_config, read_config
from services.kit.database import Database, usable
from services.kit.process import MAX_BODY_BYTES, StartError, arguments, run, secrets_directory
from services.kms.aws import AwsWrapping
from services.kms.config import KmsConfig
from services.kms.master_key import master_key
from services.kms.rotation import pace_s, rotating
from services.kms.sealing import Sealer, Unsealable
from services.kms.server import KmsServer
from services.kms.store import Patience, Store, upgrade


async def build(options: Namespace, stack: AsyncExitStack) -> web.Application:
    """Open the store, make the keys that are missing, and return the application."""
    config = read_config(options.config, KmsConfig)
    secrets = secrets_directory(options)
    callers = Callers.from_directory(secrets, config.identities)
    database = Database(config.database, options.var / "kms.sqlite")
    stack.callback(database.close)
    try:
        with usable(database):
            upgrade(database)
            key = await asyncio.to_thread(master_key, database, secrets / "master.key", config.aws_kms, AwsWrapping)
            patience = Patience(config.holder_live_s, config.destroy_unused_s)
            store = Store(database, Sealer(key), config.access_log_max_rows, time.time(), patience)
            server = KmsServer(config, callers, store)
            stack.callback(server.close)
            # Before new keys are made: a wrong master key must not leave some that no other opens.
            store.check()
            store.ensure_primaries(config.key_sets, time.time())
    except Unsealable as error:
        raise StartError(f"{database} was sealed under another master key: {error}") from None
    if config.rotation:
        await stack.enter_async_context(rotating(server.rotate, pace_s(config.rotation.values())))
    return server.application(MAX_BODY_BYTES)


def main() -> int:
    """Read the arguments and serve; return the exit code."""
    options = arguments("kms", "127.0.0.1:8090").parse_args()
    if options.check_config:
        return check_config(options.config, KmsConfig)
    return run("kms", partial(build, options), options)


if __name__ == "__main__":
    sys.exit(main())
