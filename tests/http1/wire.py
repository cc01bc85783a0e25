"""A connection's bytes, read message by message: by our readers as a connection uses them, and by h11."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto

import h11

from edge.contract.headers import Headers
from edge.http1.body import BodyReader, TunnelBody
from edge.http1.errors import BadChunkingError, BadRequestError, BadResponseError
from edge.http1.fields import _NOT_IN_TRAILERS
from edge.http1.limits import HeadLimits
from edge.http1.lines import HOP_BY_HOP
from edge.http1.request import RequestReader
from edge.http1.response import ResponseReader

LIMITS = HeadLimits(max_target_bytes=500, max_head_bytes=3000, max_headers=30)
Fields = tuple[tuple[bytes, bytes], ...]


class End(Enum):
    """How the reading of a connection's bytes stopped."""

    CLEAN = auto()  # between two messages
    OPEN = auto()  # in the middle of one
    REFUSED = auto()


@dataclass(frozen=True)
class Message:
    """One whole message. `start` is method and target, or the status; fields are the end-to-end ones in lower case."""

    start: tuple[bytes | int, ...]
    fields: Fields
    body: bytes = b""
    trailers: Fields = ()


Reading = tuple[list[Message], End]


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    """Cut `data` into pieces of the given sizes, again and again."""
    pieces, turn = [], 0
    while data:
        size = sizes[turn % len(sizes)]
        pieces.append(data[:size])
        data, turn = data[size:], turn + 1
    return pieces


class _Body:
    """The body that is being read."""

    def __init__(self, start: tuple[bytes | int, ...], fields: Fields, reader: BodyReader) -> None:
        self.start, self.fields, self.reader = start, fields, reader
        self.pieces: list[bytes] = []

    def message(self) -> Message:
        """Return it with its head."""
        return Message(self.start, self.fields, b"".join(self.pieces), _plain(self.reader.trailers))


def _plain(headers: Headers | None) -> Fields:
    return () if headers is None else tuple((name, value) for name, _, value in headers.fields)


def requests(pieces: Iterable[bytes], limits: HeadLimits = LIMITS) -> Reading:
    """Read requests as a device's connection does."""
    reader, found = RequestReader(limits), []
    body: _Body | None = None
    for piece in pieces:
        data = piece
        while data:
            try:
                if body is not None:
                    data = body.reader.feed(data, body.pieces)
                    if body.reader.complete:
                        found.append(body.message())
                        body = None
                    continue
                read = reader.feed(data)
            except (BadRequestError, BadChunkingError):
                return found, End.REFUSED
            if read is None:
                break
            head, data = read
            start, fields = (head.method, head.target), _plain(head.headers)
            if head.body is None:
                found.append(Message(start, fields))
            else:
                body = _Body(start, fields, head.body)
    return found, End.CLEAN if body is None and reader.idle else End.OPEN


def responses(pieces: Iterable[bytes], methods: list[bytes], *, upgrade: bool = False) -> Reading:
    """Read the answers to requests with these methods as an origin's connection does, the close included."""
    reader, found, asked = ResponseReader(LIMITS), [], list(methods)
    reader.upgrade = upgrade
    body: _Body | None = None
    for piece in pieces:
        data = piece
        while data and (asked or body is not None):
            try:
                if body is not None:
                    data = body.reader.feed(data, body.pieces)
                    if body.reader.complete:
                        found.append(body.message())
                        body = None
                    continue
                reader.method = asked[0]
                read = reader.feed(data)
            except (BadResponseError, BadChunkingError):
                return found, End.REFUSED
            if read is None:
                break
            head, data = read
            start, fields = (head.status,), _plain(head.headers)
            if head.status >= 200 or head.body is not None:
                asked.pop(0)
            if head.whole is not None:
                found.append(Message(start, fields, head.whole))
                data = data[len(head.whole) :]
            elif head.body is None:
                found.append(Message(start, fields))
            else:
                body = _Body(start, fields, head.body)
    if body is not None and (isinstance(body.reader, TunnelBody) or body.reader.ended_by_close()):
        found.append(body.message())
        body = None
    return found, End.OPEN if body is not None or reader._held else End.CLEAN


# The parser that is not ours.


def _end_to_end(headers: Iterable[tuple[bytes, bytes]]) -> Fields:
    """Return the fields without those of one hop."""
    listed = [(bytes(name), bytes(value)) for name, value in headers]
    named = {token.strip().lower() for name, value in listed if name == b"connection" for token in value.split(b",")}
    return tuple(field for field in listed if field[0] not in HOP_BY_HOP and field[0] not in named)


def _trailers(headers: Iterable[tuple[bytes, bytes]]) -> Fields:
    return tuple((bytes(name), bytes(value)) for name, value in headers if bytes(name) not in _NOT_IN_TRAILERS)


def requests_by_h11(data: bytes) -> list[Message]:
    """Return every whole request that h11 reads."""
    found: list[Message] = []
    while data:
        parser = h11.Connection(h11.SERVER)
        parser.receive_data(data)
        message = _one(parser)
        if message is None:
            break
        found.append(message)
        data = parser.trailing_data[0]
    return found


def responses_by_h11(data: bytes, methods: list[bytes], *, upgrade: bool = False) -> list[Message]:
    """Return every whole answer that h11 reads, interim ones included, with the close at the end."""
    found: list[Message] = []
    for method in methods:
        parser = h11.Connection(h11.CLIENT)
        asking = [(b"connection", b"upgrade"), (b"upgrade", b"websocket")] if upgrade else []
        parser.send(h11.Request(method=method, target=b"/", headers=[(b"host", b"x"), *asking]))
        parser.send(h11.EndOfMessage())
        if data:
            parser.receive_data(data)
        parser.receive_data(b"")
        message = _one(parser, found)
        if message is None:
            break
        found.append(message)
        data = parser.trailing_data[0]
        if message.start == (101,):
            break
    return found


def _one(parser: h11.Connection, interim: list[Message] | None = None) -> Message | None:
    start: tuple[bytes | int, ...] = ()
    fields: Fields = ()
    body: list[bytes] = []
    try:
        while True:
            event = parser.next_event()
            if isinstance(event, h11.Request):
                start, fields = (event.method, event.target), _end_to_end(event.headers)
            elif isinstance(event, h11.Response):
                start, fields = (event.status_code,), _end_to_end(event.headers)
            elif isinstance(event, h11.InformationalResponse) and interim is not None:
                message = Message((event.status_code,), _end_to_end(event.headers))
                if event.status_code == 101:
                    rest = parser.trailing_data[0]
                    return Message(message.start, message.fields, rest)
                interim.append(message)
            elif isinstance(event, h11.Data):
                body.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                return Message(start, fields, b"".join(body), _trailers(event.headers))
            else:
                return None
    except h11.RemoteProtocolError:
        return None
