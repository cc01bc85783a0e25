"""Bodies of every kind for trying a relay: large, slow, in pieces, early. No identity is needed here."""

import asyncio
import hashlib
from collections.abc import Iterator

from aiohttp import web

from origins_stub.kit.answers import json_answer, problem

_BLOCK_BYTES = 64 * 1024
_MAX_DOWNLOAD_BYTES = 1 << 40
_MAX_PIECES = 1_000_000
_MAX_SECONDS = 600.0


def pattern(total: int) -> Iterator[bytes]:
    """Yield `total` bytes that are the same each time: 64 KiB of eight-digit line numbers, over and over."""
    block = b"".join(b"%07d\n" % line for line in range(_BLOCK_BYTES // 8))
    for _ in range(total // _BLOCK_BYTES):
        yield block
    if total % _BLOCK_BYTES:
        yield block[: total % _BLOCK_BYTES]


async def download(request: web.Request) -> web.StreamResponse:
    """Answer GET /download?bytes=N with N bytes of `pattern`, by length."""
    total = _number(request, "bytes", 0, _MAX_DOWNLOAD_BYTES)
    response = web.StreamResponse(
        headers={"Content-Type": "application/octet-stream", "Content-Length": str(int(total))}
    )
    await response.prepare(request)
    if request.method != "HEAD":
        for piece in pattern(int(total)):
            await response.write(piece)
        await response.write_eof()
    return response


async def upload(request: web.Request) -> web.Response:
    """Answer POST /upload with the length and the SHA-256 of its body, which is never held as a whole."""
    length, digest = await measure(request)
    return json_answer(200, {"bytes": length, "sha256": digest})


async def measure(request: web.Request) -> tuple[int, str]:
    """Read the body to its end; return its length and its SHA-256 in hex."""
    digest = hashlib.sha256()
    length = 0
    async for piece in request.content.iter_any():
        digest.update(piece)
        length += len(piece)
    return length, digest.hexdigest()


async def slow(request: web.Request) -> web.Response:
    """Answer GET /slow?seconds=S after S seconds."""
    seconds = _number(request, "seconds", 1, _MAX_SECONDS)
    await asyncio.sleep(seconds)
    return json_answer(200, {"slept_s": seconds})


async def stream(request: web.Request) -> web.StreamResponse:
    """Answer GET /stream?pieces=N&interval_ms=M with N lines, each in a chunk of its own, M milliseconds apart."""
    pieces = int(_number(request, "pieces", 10, _MAX_PIECES))
    interval_s = _number(request, "interval_ms", 100, _MAX_SECONDS * 1000) / 1000
    response = web.StreamResponse(headers={"Content-Type": "text/plain; charset=utf-8"})
    await response.prepare(request)
    if request.method == "HEAD":
        return response
    for piece in range(pieces):
        if piece:
            await asyncio.sleep(interval_s)
        await response.write(b"piece %d\n" % piece)
    await response.write_eof()
    return response


async def early(_: web.Request) -> web.Response:
    """Answer /early with a 413 before anything of the body is read, and close."""
    response = problem(413, "body_too_large", "This resource takes no body and answers before it has read one.")
    response.force_close()
    return response


def _number(request: web.Request, name: str, default: float, largest: float) -> float:
    """Return the query's number `name`; raise the 400 to answer with when it is none, negative or too large."""
    text = request.query.get(name)
    if text is None:
        return default
    try:
        number = float(text)
    except ValueError:
        number = -1
    if not 0 <= number <= largest:
        raise web.HTTPBadRequest(text=f"{name} must be a number from 0 to {largest:g}.\n")
    return number
