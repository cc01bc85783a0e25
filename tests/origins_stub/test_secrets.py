"""No secret of the stubs is in a repr."""

import pytest

from origins_stub.api.services import Answer, Services
from origins_stub.auth.activation_routes import PollBody
from origins_stub.auth.activations import Begun
from origins_stub.auth.members import Members
from origins_stub.auth.server import LoginBody
from passport.key_source import KeySource

SECRET = "hush-hush"


@pytest.mark.parametrize(
    "holder",
    [
        KeySource("http://kms", SECRET, ["passport-user"]),
        Answer(200, {"poll_token": SECRET}),
        Begun(SECRET, SECRET),
        Members("http://subscriber", SECRET),
        PollBody(poll_token=SECRET),  # type: ignore[arg-type]  # pydantic takes a str
        LoginBody(email="demo@example.com", password=SECRET),  # type: ignore[arg-type]  # pydantic takes a str
        Services(["http://auth"]),
    ],
    ids=lambda holder: type(holder).__name__,
)
def test_a_secret_is_not_in_a_repr(holder: object) -> None:
    assert SECRET not in f"{holder!r} {holder}"
