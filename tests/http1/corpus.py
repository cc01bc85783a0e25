"""The corpora of tests/vectors/framing: what connections were sent by those who wanted to be misread."""

import json
from pathlib import Path
from typing import NamedTuple

_DIRECTORY = Path(__file__).parents[1] / "vectors" / "framing"


class RequestCase(NamedTuple):
    """A device's bytes; method, target and body of the requests in them, and whether what follows is refused."""

    data: bytes
    requests: list[tuple[bytes, bytes, bytes]]
    refused: bool


class ResponseCase(NamedTuple):
    """An origin's bytes; status and body of the answers in them, or that there are none."""

    data: bytes
    methods: list[bytes]
    answers: list[tuple[int, bytes]]
    refused: bool


def request_cases() -> dict[str, RequestCase]:
    """Return the requests by `threat_name`."""
    return {
        f"{case['threat'].lower()}_{case['name']}": RequestCase(
            case["bytes"].encode("latin-1"),
            [(method.encode(), target.encode(), body.encode("latin-1")) for method, target, body in case["requests"]],
            case["refused"],
        )
        for case in json.loads((_DIRECTORY / "requests.json").read_text())["cases"]
    }


def response_cases() -> dict[str, ResponseCase]:
    """Return the responses by `threat_name`."""
    return {
        f"{case['threat'].lower()}_{case['name']}": ResponseCase(
            case["bytes"].encode("latin-1"),
            [method.encode() for method in case["methods"]],
            [(status, body.encode("latin-1")) for status, body in case["answers"]],
            case["refused"],
        )
        for case in json.loads((_DIRECTORY / "responses.json").read_text())["cases"]
    }
