"""What all apps of Python share: their arguments, their keys, and the page they answer with."""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

from edgepb.kms.v1 import kms_pb2

from loadtest.bench_origin.settings import Reads
from passport import PassportKeys
from tokens.keys.ring import KeyRing

HOST = "127.0.0.1"
NOBODY = 0
_TITLES = ("The Long Relay", "Seven Headers", "A Cookie for Nobody", "Byte by Byte")


@dataclass(slots=True, frozen=True)
class App:
    """What an app is told; it is its own key source."""

    reads: Reads
    port: int
    aio: bool
    passport_keys: PassportKeys
    ring: KeyRing


def read_arguments() -> App:
    """Read the command line and the keys."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--reads", type=Reads, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--keys", type=Path, required=True)
    parser.add_argument("--aio", action="store_true")
    given = parser.parse_args()
    keys = kms_pb2.GetKeySetsResponse.FromString(given.keys.read_bytes())
    ring = KeyRing.from_key_sets(keys.key_sets, keys.revision)
    return App(given.reads, given.port, given.aio, PassportKeys.from_key_sets(keys.key_sets), ring)


def page(customer_id: int | None) -> bytes:
    """Return the answer to a user, or to NOBODY in particular."""
    return json.dumps({"customer_id": customer_id, "titles": _TITLES}).encode()
