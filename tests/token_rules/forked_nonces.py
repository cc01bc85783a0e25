"""Draws nonces in forked processes and prints `drawn distinct`: `python -m tests.token_rules.forked_nonces 8 125000`.

A process of its own, because forking one that has threads is unsafe. The nonces come from the function that the cookie
service seals with, which the parent has used before it forks: a generator with a state would repeat itself now.
"""

import os
import sys

from services.cookie.presented import fresh_nonces
from tokens.envelope import NONCE_BYTES


def main() -> None:
    """Fork, draw, compare."""
    processes, each = int(sys.argv[1]), int(sys.argv[2])
    fresh_nonces()
    pipes = [_fork(each) for _ in range(processes)]
    drawn = b"".join(_read(pipe) for pipe in pipes)
    nonces = {drawn[start : start + NONCE_BYTES] for start in range(0, len(drawn), NONCE_BYTES)}
    sys.stdout.write(f"{len(drawn) // NONCE_BYTES} {len(nonces)}\n")


def _fork(each: int) -> int:
    readable, writable = os.pipe()
    if os.fork() == 0:
        os.close(readable)
        with os.fdopen(writable, "wb") as out:
            out.writelines(nonce for _ in range(each // 2) for nonce in fresh_nonces())
        os._exit(0)
    os.close(writable)
    return readable


def _read(pipe: int) -> bytes:
    with os.fdopen(pipe, "rb") as file:
        return file.read()


if __name__ == "__main__":
    main()
