"""`Set-Cookie` lines for the cookie pair, and which lines of others would collide with them (RFC 6265bis).

The attributes are judged once, when they are configured: a combination that browsers would drop is refused there.
"""

import re
from dataclasses import dataclass
from typing import Final

from tokens.cookie import CookieNames

MAX_LINE_BYTES: Final = 4096
MAX_AGE_CAP_S: Final = 400 * 86_400
_VALUE: Final = re.compile(rb"[A-Za-z0-9_-]{1,4096}")
_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")
_PATH: Final = re.compile(r"/[!-:<-~]{0,255}")
_DOMAIN: Final = re.compile(r"(?=.{3,253}\Z)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+")
_GONE: Final = b"; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT"


@dataclass(slots=True, frozen=True)
class CookieAttributes:
    """How the cookies are set.

    Attributes:
        names: the two names, also with `__Host-` or `__Secure-` in front.
        path: the Path attribute, printable ASCII from "/".
        domain: the Domain attribute, lower-case with at least one dot; empty for none, so that only this host sees it.
        same_site: "Lax", "Strict" or "None".
        secure: whether the secure half is `Secure`; False only for local plain HTTP.
        max_age_s: how long devices keep the cookies, in seconds. Far longer than a token lives: an expired token is
            what a renewal starts from.

    Raises:
        ValueError: browsers would drop or misread cookies with these attributes.
    """

    names: CookieNames
    path: str = "/"
    domain: str = ""
    same_site: str = "Lax"
    secure: bool = True
    max_age_s: int = MAX_AGE_CAP_S

    def __post_init__(self) -> None:
        """Refuse what browsers would not take."""
        if self.names.insecure.lower() == self.names.secure.lower():
            raise ValueError("the two cookies need two names, different in more than case")
        for name in (self.names.insecure, self.names.secure):
            self._check_name(name)
        if not _PATH.fullmatch(self.path):
            raise ValueError("path must begin with '/' and hold printable ASCII without ';'")
        if self.domain and not _DOMAIN.fullmatch(self.domain):
            raise ValueError("domain must be lower-case, with a dot inside and none in front")
        if self.same_site not in ("Lax", "Strict", "None"):
            raise ValueError("same_site must be Lax, Strict or None")
        if self.same_site == "None" and not self.secure:
            raise ValueError("same_site None needs secure cookies")
        if not 0 < self.max_age_s <= MAX_AGE_CAP_S:
            raise ValueError(f"max_age_s must be from 1 to {MAX_AGE_CAP_S} (400 days)")

    def _check_name(self, name: str) -> None:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not a cookie name")
        prefixed = name.lower().startswith(("__host-", "__secure-"))
        if prefixed and not self.secure:
            raise ValueError(f"{name!r} needs secure cookies")
        if name.lower().startswith("__host-") and (self.domain or self.path != "/"):
            raise ValueError(f"{name!r} needs path '/' and no domain")


class SetCookies:
    """Writes and recognises `Set-Cookie` values of the pair."""

    __slots__ = ("_insecure", "_max_age", "_ours", "_secure")

    def __init__(self, attributes: CookieAttributes) -> None:
        names = (attributes.names.insecure, attributes.names.secure)
        self._ours = {name.lower().encode() for name in names}
        self._max_age = f"; Max-Age={attributes.max_age_s}".encode()
        # EdgeId goes over any transport, unless its name or SameSite makes browsers insist on Secure.
        insists = names[0].lower().startswith("__") or attributes.same_site == "None"
        self._insecure = (names[0].encode() + b"=", _rest(attributes, secure=attributes.secure and insists))
        self._secure = (names[1].encode() + b"=", _rest(attributes, secure=attributes.secure))

    def issue(self, insecure: bytes, secure: bytes | None) -> list[bytes] | None:
        """Return the lines that set the cookies; `secure` None leaves that half alone.

        None when a value is not base64url or a line would exceed 4096 octets: nothing half-set ever goes out.
        """
        lines = []
        for value, (name, rest) in ((insecure, self._insecure), (secure, self._secure)):
            if value is None:
                continue
            line = name + value + self._max_age + rest
            if not _VALUE.fullmatch(value) or len(line) > MAX_LINE_BYTES:
                return None
            lines.append(line)
        return lines

    def clear(self) -> list[bytes]:
        """Return the lines that remove both cookies: same name, path and domain as they were set with."""
        return [name + _GONE + rest for name, rest in (self._insecure, self._secure)]

    def collides(self, line: bytes) -> bool:
        """Tell whether somebody else's `Set-Cookie` value would set one of ours, as the laxest browser reads it.

        A nameless cookie counts too: `=EdgeId=x` is sent back as `EdgeId=x`.
        """
        name = line.partition(b";")[0].lstrip(b" \t=").partition(b"=")[0]
        return name.strip().lower() in self._ours


def _rest(attributes: CookieAttributes, *, secure: bool) -> bytes:
    text = f"; Path={attributes.path}"
    if attributes.domain:
        text += f"; Domain={attributes.domain}"
    if secure:
        text += "; Secure"
    return f"{text}; HttpOnly; SameSite={attributes.same_site}".encode()
