"""The order of every request and of every response through the filters, and why each stands where it does."""

from typing import Final

from edge.contract.filters import InboundFilter, OutboundFilter
from filters.inbound.authorise import AuthoriseFilter
from filters.inbound.cookie import CookieFilter
from filters.inbound.device import DeviceFilter
from filters.inbound.hygiene import HygieneFilter
from filters.inbound.passport import PassportFilter
from filters.inbound.renew import RenewFilter
from filters.inbound.rollout import RolloutFilter
from filters.outbound.passport_actions import PassportActionsFilter
from filters.outbound.scrub import ScrubFilter
from filters.outbound.shadow import ShadowFilter
from filters.outbound.tokens import TokensFilter

INBOUND: Final[tuple[tuple[type[InboundFilter], str], ...]] = (
    (HygieneFilter, "First, so that no filter and no error path ever sees what a client says about itself."),
    (RolloutFilter, "Before anything is taken off for our tokens: it may be the origin that is to get them."),
    (CookieFilter, "Authenticators open tokens once the head is clean and the transport's security is settled."),
    (RenewFilter, "After the authenticators, which find out whether the token is expired or due."),
    (DeviceFilter, "After renewal, which may bring a newer device identity or end the user but not the device."),
    (AuthoriseFilter, "Once user and device are final, and before anything is signed for them."),
    (PassportFilter, "Last, so that what is signed is what was authorised and nothing can touch the header again."),
)

OUTBOUND: Final[tuple[tuple[type[OutboundFilter], str], ...]] = (
    (ShadowFilter, "First, so that it sees what the origin says before anything is taken off."),
    (PassportActionsFilter, "Before tokens, since what the returned Passport asks for decides which tokens are made."),
    (TokensFilter, "After the actions and the renewal, which are all that can change what the device holds."),
    (ScrubFilter, "Last, and on every response, so that no filter or error page lets anything internal out."),
)
