"""No secret of the stubs is in a repr."""

import pytest

from origins_stub.api.auth_client import AuthClient, Changed
from origins_stub.auth.server import LoginBody
from origins_stub.kit.keys import KeySource

SECRET = "hush-hush"


@pytest.mark.parametrize(
    "holder",
    [
        KeySource("http://kms", SECRET, ["passport-user"], 30.0),
        Changed(SECRET),
        LoginBody(email="demo@example.com", password=SECRET),  # type: ignore[arg-type]  # pydantic takes a str
        AuthClient("http://auth"),
    ],
    ids=lambda holder: type(holder).__name__,
)
def test_a_secret_is_not_in_a_repr(holder: object) -> None:
    assert SECRET not in f"{holder!r} {holder}"
