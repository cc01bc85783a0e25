"""The golden vectors: what every implementation of the Passport must accept and refuse."""

import json
from pathlib import Path

import pytest

from passport import PassportRefused
from tests.passport import make_vectors
from tests.passport.conformance import DIRECTORY, Document, Vector, facts, lines, load, read

VECTORS = [
    pytest.param(document, vector, id=f"{path.stem}-{vector['name']}")
    for path in sorted(DIRECTORY.glob("*.json"))
    for document in (load(path),)
    for vector in document["vectors"]
]


@pytest.mark.parametrize(("document", "vector"), VECTORS)
def test_x1_x2_x3_x4_a_vector_is_read_or_refused_for_its_reason(document: Document, vector: Vector) -> None:
    if "refused" in vector:
        with pytest.raises(PassportRefused) as caught:
            read(document, vector)
        assert caught.value.reason == vector["refused"]
    else:
        said = facts(read(document, vector))
        assert {name: said[name] for name in vector["expect"]} == vector["expect"]


@pytest.mark.parametrize(
    ("path", "content"), make_vectors.files().items(), ids=lambda value: getattr(value, "name", "")
)
def test_the_vectors_are_what_their_script_makes(path: Path, content: str) -> None:
    assert path.read_text(encoding="utf-8") == content


def test_there_is_a_line_of_conformance_for_every_vector() -> None:
    made = [json.loads(line) for line in lines()]
    assert len(made) == len(VECTORS)
    assert {each["verdict"] for each in made} == {"ok", "refused"}
    assert all((each["passport"] is None) == (each["reason"] is not None) for each in made)
