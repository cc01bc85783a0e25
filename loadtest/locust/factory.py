"""What a device is made with: a cookie pair that names it, of the cookie service, as a legacy origin may ask for it."""

import urllib.request
from pathlib import Path

from edgepb.cookie.v1 import cookie_service_pb2 as pb

from passport import Level

_TIMEOUT_S = 10.0


class Factory:
    """Asks the cookie service at `url` under the token in `token_file`."""

    def __init__(self, url: str, token_file: str) -> None:
        self._url = f"{url}/v1/create"
        self._headers = {
            "Authorization": f"Bearer {Path(token_file).read_text(encoding='ascii').strip()}",
            "Content-Type": "application/x-protobuf",
        }

    def make(self, customer_id: int, esn: str, device_type: int) -> list[str]:
        """Return `Set-Cookie` lines of a pair for this device of a customer; raise OSError where there is none."""
        wanted = pb.CreateRequest(
            customer_id=customer_id, account_owner_id=customer_id, esn=esn, device_type=device_type, level=Level.HIGH
        )
        # The operator's own URL, as it was given.
        asked = urllib.request.Request(self._url, wanted.SerializeToString(), self._headers)  # noqa: S310
        with urllib.request.urlopen(asked, timeout=_TIMEOUT_S) as answer:  # noqa: S310
            pair = pb.CreateResponse.FromString(answer.read()).pair
        return [f"EdgeId={pair.insecure.decode()}", f"SecureEdgeId={pair.secure.decode()}"]
