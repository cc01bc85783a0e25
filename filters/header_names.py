"""Which header names belong to the edge, in every spelling that some origin might read as the same name.

Servers that turn `-` into `_` (CGI, WSGI), or trim and fold names, read `X_Passport` or `x.passport` as ours. So a
name is judged by its letters and digits alone (THREATS H4, H5, H15, H19).
"""

from enum import Enum, auto
from typing import Final


class NameClass(Enum):
    """What a field of that name may do in a request."""

    HARMLESS = auto()
    INTERNAL = auto()  # identity and marks that only the edge and the services behind it may set
    FORWARDED = auto()  # believed from a trusted peer only
    MESH = auto()  # likewise, and of no concern to a device
    REPLACED = auto()  # the edge writes its own
    NEVER = auto()  # changes what an origin does behind the rules' back


_NOT_ALPHANUMERIC: Final = bytes(byte for byte in range(256) if not chr(byte).isascii() or not chr(byte).isalnum())

_INTERNAL_PREFIXES: Final = (
    *(b"xpassport", b"passport", b"xedge", b"xesn", b"xdevicetype", b"xdeviceesn", b"xoriginidentity"),
    # A certificate proves something in a handshake only; in a field, in these usual names of it, it proves nothing.
    *(b"clientcert", b"xclientcert", b"sslclient", b"xsslclient", b"xssl", b"xtlsclient", b"xforwardedclientcert"),
    *(b"xforwardedtlsclient", b"xarrclientcert", b"xamznmtls"),
)
_FORWARDED: Final = frozenset(
    {
        *(b"forwarded", b"xrealip", b"xclientip", b"clientip", b"trueclientip", b"xclusterclientip"),
        *(b"xoriginalforwardedfor", b"cfconnectingip", b"fastlyclientip", b"baggage", b"tracestate"),
    }
)
_REPLACED: Final = frozenset({b"xrequestid", b"traceparent", b"xrequesttimeoutms"})
_NEVER: Final = frozenset(
    {
        *(b"xoriginalurl", b"xoriginaluri", b"xoriginalhost", b"xoriginalmethod", b"xrewriteurl", b"xhost"),
        *(b"xhttpmethodoverride", b"xhttpmethod", b"xmethodoverride", b"xmiddlewaresubrequest"),
        b"proxy",  # CGI makes HTTP_PROXY of it
    }
)
# These pass, or were framed away, under their own name; an alias of one is a trick.
_NO_ALIAS: Final = frozenset(
    {
        *(b"authorization", b"connection", b"contentencoding", b"contentlength", b"contenttype", b"cookie", b"expect"),
        *(b"host", b"keepalive", b"proxyauthorization", b"setcookie", b"te", b"trailer", b"transferencoding"),
        b"upgrade",
    }
)
_OWN_NAMES: Final = frozenset({b"content-encoding", b"content-length", b"content-type", b"keep-alive", b"set-cookie"})

_MAX_KNOWN: Final = 4096
_MAX_KNOWN_NAME_BYTES: Final = 64

# Names judged harmless before, so that nearly every field costs one look-up. `classify` bounds it.
harmless_names: Final[set[bytes]] = set()


def classify(name: bytes) -> NameClass:
    """Judge a lower-case field name; remembers harmless ones in `harmless_names`."""
    judged = _judge(name)
    if judged is NameClass.HARMLESS and len(name) <= _MAX_KNOWN_NAME_BYTES:
        if len(harmless_names) >= _MAX_KNOWN:
            harmless_names.clear()
        harmless_names.add(name)
    return judged


def _judge(name: bytes) -> NameClass:
    letters = name.translate(None, _NOT_ALPHANUMERIC)
    if letters.startswith(_INTERNAL_PREFIXES):
        return NameClass.INTERNAL
    if letters.startswith(b"xforwarded") or letters in _FORWARDED:
        return NameClass.FORWARDED
    if letters.startswith(b"xenvoy"):
        return NameClass.MESH
    if letters in _REPLACED:
        return NameClass.REPLACED
    alias = letters in _NO_ALIAS and name != letters and name not in _OWN_NAMES
    return NameClass.NEVER if alias or letters in _NEVER else NameClass.HARMLESS
