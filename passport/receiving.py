"""What all server adapters share: exactly one Passport, one look for every refusal, and the reason to `on_refused`."""

from collections.abc import Callable, Sequence, Set
from time import time
from typing import Final, NamedTuple, Protocol, TypedDict, TypeVar

from passport.exchange import Adoption, ExchangePassport, serve
from passport.introspector import MAX_AGE_S, PassportIntrospector, decode_base64
from passport.keys import PassportKeys
from passport.refusals import PassportRefusal, PassportRefused
from passport.require import RequirementNotMet

HEADER: Final = "X-Passport"
_V = TypeVar("_V")


class PassportKeySource(Protocol):
    """Whoever keeps the keys up to date; None until there are any."""

    @property
    def passport_keys(self) -> PassportKeys | None:
        """The keys of this moment."""
        ...


class ReceivingOptions(TypedDict, total=False):
    """What every adapter takes beside the keys and the trust domain."""

    public_paths: Set[str]
    """Paths (in gRPC: full method names) that are served without a Passport. `/health` and gRPC's health service."""
    max_age_s: float
    """How old a Passport may be, in seconds."""
    accept_v1: bool
    """Take the published integrity, too, which does not bind a user to a request."""
    user_signers: Set[str]
    """Purposes of keys whose changes of the user are believed: those of services that change it on the way to here."""
    device_signers: Set[str]
    """The same for the device."""
    on_refused: Callable[[PassportRefusal], None] | None
    """Told why each Passport was refused."""
    on_returned: Callable[[Adoption], None] | None
    """Told what came of each Passport that a called service returned."""
    clock: Callable[[], float]
    """Returns epoch seconds."""


PUBLIC_PATHS: Final = frozenset({"/health", "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"})


class Rejection(NamedTuple):
    """The answer to a request that may not go on; `body` is JSON."""

    status: int
    reason: str

    @property
    def body(self) -> bytes:
        """What the client is told."""
        return b'{"reason": "%s"}' % self.reason.encode()


KEYS_UNAVAILABLE: Final = Rejection(503, "keys_unavailable")
REFUSED: Final = Rejection(401, "passport_refused")


class PassportReceiver:
    """Verifies the Passport of each request that an adapter shows it."""

    __slots__ = (
        "_accept_v1",
        "_clock",
        "_device_signers",
        "_max_age_s",
        "_on_refused",
        "_on_returned",
        "_public_paths",
        "_source",
        "_trust_domain",
        "_user_signers",
        "_verify",
    )

    def __init__(
        self,
        source: PassportKeySource,
        trust_domain: str,
        *,
        public_paths: Set[str] = PUBLIC_PATHS,
        max_age_s: float = MAX_AGE_S,
        accept_v1: bool = False,
        user_signers: Set[str] = frozenset(),
        device_signers: Set[str] = frozenset(),
        on_refused: Callable[[PassportRefusal], None] | None = None,
        on_returned: Callable[[Adoption], None] | None = None,
        clock: Callable[[], float] = time,
    ) -> None:
        """Take the options of the adapters: see ReceivingOptions."""
        self._source = source
        self._trust_domain = trust_domain
        self._public_paths = public_paths
        self._max_age_s = max_age_s
        self._accept_v1 = accept_v1
        self._user_signers = user_signers
        self._device_signers = device_signers
        self._on_refused = on_refused
        self._on_returned = on_returned
        self._clock = clock
        # Who holds no other service's keys cannot verify what other services return.
        self._verify = self.verify if user_signers or device_signers else None

    def receive(self, path: str, values: Sequence[str | bytes]) -> ExchangePassport | Rejection | None:
        """Take all values of `X-Passport` that came with a request to `path`; None: it is served without a Passport.

        The exchange, or None, is from now on that of this task or thread: see `current_exchange`.
        """
        return self._receive(path, values, decode_base64)

    def receive_bytes(self, method: str, values: Sequence[bytes]) -> ExchangePassport | Rejection | None:
        """Take serialised Passports as `receive` takes values of headers."""
        return self._receive(method, values, bytes)

    def verify(self, raw: bytes) -> PassportIntrospector:
        """Return a serialised Passport, verified; raise PassportRefused."""
        keys = self._source.passport_keys
        if keys is None:
            raise PassportRefused(PassportRefusal.UNKNOWN_KEY)
        return self._verified(raw, keys)

    def _receive(
        self, path: str, values: Sequence[_V], decode: Callable[[_V], bytes]
    ) -> ExchangePassport | Rejection | None:
        serve(None)  # or a thread would go on with the exchange that it served before
        if path in self._public_paths:
            return None
        keys = self._source.passport_keys
        if keys is None:
            return KEYS_UNAVAILABLE
        try:
            verified = self._verified(decode(_single(values)), keys)
        except PassportRefused as refused:
            if self._on_refused is not None:
                self._on_refused(refused.reason)
            return REFUSED
        exchange = ExchangePassport(verified, self._verify, self._on_returned)
        serve(exchange)
        return exchange

    def _verified(self, raw: bytes, keys: PassportKeys) -> PassportIntrospector:
        return PassportIntrospector.from_bytes(
            raw,
            keys,
            now=self._clock(),
            trust_domain=self._trust_domain,
            max_age_s=self._max_age_s,
            accept_v1=self._accept_v1,
            user_signers=self._user_signers,
            device_signers=self._device_signers,
        )

    def __repr__(self) -> str:
        return f"PassportReceiver({self._trust_domain})"


def not_met(requirement: RequirementNotMet) -> Rejection:
    """Return the answer to a request whose Passport does not say what `require` asked for."""
    return Rejection(requirement.status, requirement.reason.value)


def _single(values: Sequence[_V]) -> _V:
    if not values:
        raise PassportRefused(PassportRefusal.MISSING)
    if len(values) > 1:
        raise PassportRefused(PassportRefusal.REPEATED)
    return values[0]
