"""The client of the key management service: fetches key sets by purpose, for edge, services and origins."""

import re
from collections.abc import Sequence

import aiohttp
from edgepb.kms.v1 import kms_pb2
from google.protobuf.message import DecodeError

_MEDIA_TYPE = "application/x-protobuf"
_MAX_ANSWER_BYTES = 1 << 20
_REASON = re.compile("[a-z_]{1,64}")


class KmsUnavailable(Exception):  # noqa: N818 - named for what callers do about it: keep the keys they have
    """The service cannot be reached, is too slow, or answers nonsense: keep the keys and ask again later."""


class KeysLost(KmsUnavailable):
    """The answer lacks keys that are held, and that nobody destroyed: the store was lost, or is another one."""

    def __init__(self, key_ids: Sequence[int]) -> None:
        """Take the ids that are not listed any more."""
        self.key_ids = [f"{key_id:08x}" for key_id in key_ids]
        super().__init__(f"the KMS no longer lists keys that are held, as if its store were lost: {self.key_ids}")


class KmsRefused(Exception):  # noqa: N818
    """The service knows this caller too little: its token or its grants are wrong, and asking again will not help."""


class KmsClient:
    """Fetches key sets in the name of one service identity."""

    def __init__(self, session: aiohttp.ClientSession, url: str, token: str, timeout_s: float = 2.0) -> None:
        """Take the service's base `url`, this caller's bearer `token`, and the time one whole call may take."""
        self._session = session
        self._url = url.rstrip("/") + "/v1/key-sets"
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": _MEDIA_TYPE}
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)

    def __repr__(self) -> str:
        return f"KmsClient({self._url})"

    def take_token(self, token: str) -> bool:
        """Show `token` from the next call on; tell whether it is another one."""
        before, self._headers = self._headers, {**self._headers, "Authorization": f"Bearer {token}"}
        return before != self._headers

    async def key_sets(
        self,
        purposes: Sequence[str],
        *,
        holder: str = "",
        revision_held: int = 0,
        uses: Sequence[kms_pb2.KeyUse] = (),
    ) -> kms_pb2.GetKeySetsResponse:
        """Return the key sets of all `purposes` and the store's revision.

        Whoever goes on holding the keys says so: `holder` names its process (at most 64 characters), `revision_held`
        is that of the last answer it made keys of, and `uses` (at most 256) are what it did with them since it last
        said so. `passport.key_sets.KeySets` does all that.

        Raises KmsRefused when the service says that the caller is unknown or one purpose is not granted to it,
        KmsUnavailable for everything else that is not a whole, readable answer. Their texts hold no secret.
        """
        asked = kms_pb2.GetKeySetsRequest(purposes=purposes, holder=holder, revision_held=revision_held, uses=uses)
        status, answer = await self._post(asked.SerializeToString())
        if status in {401, 403} and (reason := _reason(answer)):
            raise KmsRefused(f"{self._url} refused the key sets {', '.join(purposes)}: status {status}, {reason}")
        if status != 200:
            raise KmsUnavailable(f"{self._url} answered with status {status}")
        return _parsed(answer, purposes)

    async def _post(self, body: bytes) -> tuple[int, bytes]:
        try:
            async with self._session.post(
                self._url, data=body, headers=self._headers, timeout=self._timeout, allow_redirects=False
            ) as response:
                return response.status, await _limited(response.content)
        except TimeoutError:
            raise KmsUnavailable(f"{self._url} did not answer in {self._timeout.total} s") from None
        except aiohttp.ClientError as error:
            # Neither the text nor the chain: a ClientError may carry the request, and with it the token.
            raise KmsUnavailable(f"{self._url} cannot be reached: {type(error).__name__}") from None


async def _limited(content: aiohttp.StreamReader) -> bytes:
    answer = bytearray()
    async for piece in content.iter_any():
        answer += piece
        if len(answer) > _MAX_ANSWER_BYTES:
            raise KmsUnavailable(f"the answer is longer than {_MAX_ANSWER_BYTES} bytes")
    return bytes(answer)


def _reason(answer: bytes) -> str:
    """Return why the service refuses; empty when that is not its answer, but one of somebody in its place."""
    try:
        reason = kms_pb2.Error.FromString(answer).reason
    except DecodeError:
        return ""
    return reason if _REASON.fullmatch(reason) else ""


def _parsed(answer: bytes, purposes: Sequence[str]) -> kms_pb2.GetKeySetsResponse:
    try:
        response = kms_pb2.GetKeySetsResponse.FromString(answer)
    except DecodeError:
        raise KmsUnavailable("the answer is not a GetKeySetsResponse") from None
    missing = set(purposes).difference(key_set.purpose for key_set in response.key_sets)
    if missing:
        raise KmsUnavailable(f"the answer lacks the key sets {', '.join(sorted(missing))}")
    return response
