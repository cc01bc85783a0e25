"""The value types of the config files: what each may hold, in the words that `edge check-config` prints.

Numbers and booleans are strict: the text "10" is not a number, and 1 is not a boolean.
"""

import re
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Annotated, Final, NamedTuple, TypeAlias
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationInfo,
    WithJsonSchema,
)

_HOST_NAME: Final = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9][A-Za-z0-9_-]{0,62})*\Z")
_ADDRESS: Final = re.compile(r"(\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[^\[\]:]+)):(?P<port>[0-9]{1,5})\Z")
_DATABASE: Final = re.compile(r"(/[0-9]{0,4})?\Z")
_WIDEST_PREFIX: Final = {4: 8, 6: 7}
_MAPPED_V4: Final = IPv6Network("::ffff:0:0/96")


class Section(BaseModel):
    """The base of every section: frozen, and a key it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Address(NamedTuple):
    """A TCP address: a host name or IP literal (IPv6 without brackets) and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        """Write it as the config does: HOST:PORT, IPv6 in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(value: object) -> Address:
    """Read HOST:PORT or [IPv6]:PORT; raises ValueError that says what is expected."""
    found = _ADDRESS.match(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("must be HOST:PORT, such as 127.0.0.1:8080 or [::1]:8080")
    host, port = found["v6"] or found["host"], int(found["port"])
    if port > 65535:
        raise ValueError("must have a port of at most 65535")
    if found["v6"] is None and not is_ip(host) and not _is_host_name(host):
        raise ValueError("must start with an IP address or a host name")
    if found["v6"] is not None and not is_ip(host):
        raise ValueError("must have an IPv6 address between the brackets")
    return Address(host, port)


def is_ip(host: str) -> bool:
    """Say whether `host` is an IP literal without a scope."""
    try:
        return "%" not in host and bool(ip_address(host))
    except ValueError:
        return False


def is_loopback(host: str) -> bool:
    """Say whether `host` is a loopback IP literal, or the name localhost."""
    return host == "localhost" or (is_ip(host) and ip_address(host).is_loopback)


def _is_host_name(host: str) -> bool:
    """Refuse names whose last label is a number: some resolvers read them as odd spellings of an IP address."""
    return _HOST_NAME.match(host) is not None and not host.rpartition(".")[2].isdigit()


def _listen(address: Address) -> Address:
    if not is_ip(address.host):
        raise ValueError("must be an IP address to listen on, such as 127.0.0.1:8080: a name may mean several")
    return address


def _connect(address: Address) -> Address:
    if address.port == 0:
        raise ValueError("must name a port of 1 to 65535 to connect to")
    return address


def parse_connect_address(value: object) -> Address:
    """Read HOST:PORT with a port that can be connected to; raises ValueError that says what is expected."""
    return _connect(parse_address(value))


def _dns_name(address: Address) -> Address:
    if is_ip(address.host):
        raise ValueError("must be NAME:PORT with a host name: an IP address goes into addresses")
    return address


def _name_server(address: Address) -> Address:
    if not is_ip(address.host):
        raise ValueError("must be an IP address and port, such as 10.0.0.2:53: a name would have to be looked up")
    return address


def _network(value: object) -> IPv4Network | IPv6Network:
    if not isinstance(value, str) or "%" in value:
        raise ValueError("must be a network such as 10.0.0.0/8 or fd00::/8, without a scope")
    try:
        network = ip_network(value)
    except ValueError as error:
        raise ValueError(f"must be a network such as 10.0.0.0/8 or fd00::/8: {error}") from None
    if isinstance(network, IPv6Network) and network.overlaps(_MAPPED_V4):
        raise ValueError("must not hold IPv4-mapped addresses: write the IPv4 network itself")
    if network.prefixlen < _WIDEST_PREFIX[network.version]:
        raise ValueError(
            f"is too wide to be trusted (/{network.prefixlen}): name the networks your own proxies are in, "
            f"none wider than /{_WIDEST_PREFIX[network.version]}"
        )
    return network


def _service_url(value: str) -> str:
    parts = urlsplit(value)
    try:
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        host = ""
    if parts.scheme not in {"http", "https"} or not host or parts.path.rstrip("/") or parts.query or parts.fragment:
        raise ValueError("must be http://HOST:PORT or https://HOST:PORT, without a path")
    if "@" in parts.netloc:
        raise ValueError("must not hold a user or password: the token goes into token_file")
    if parts.scheme == "http" and not is_loopback(host):
        raise ValueError("must be https:// off loopback: keys and tokens would travel in the clear")
    return value.rstrip("/")


def _redis_url(value: str) -> str:
    parts = urlsplit(value)
    try:
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        host = ""
    more = parts.query or parts.fragment
    if parts.scheme not in {"redis", "rediss"} or not host or not _DATABASE.match(parts.path) or more:
        raise ValueError("must be redis://HOST:PORT or rediss://HOST:PORT, with /DB at its end or not")
    if "@" in parts.netloc:
        raise ValueError("must not hold a user or password: they go into username and password_file")
    if parts.scheme == "redis" and not is_loopback(host):
        raise ValueError("must be rediss:// off loopback: the password would travel in the clear")
    return value


def _in_var(path: Path, info: ValidationInfo) -> Path:
    """Put a relative path under the var directory that the loader passes as context."""
    if str(path) == ".":
        raise ValueError("must be a path")
    context = info.context if isinstance(info.context, dict) else {}
    return Path(context.get("var", ".")) / path


def as_tuple(value: object) -> object:
    """Take lists only: a lone text would become a tuple of its letters, a mapping one of its keys."""
    if not isinstance(value, list | tuple):
        # pydantic reports a ValueError with its place, and lets a TypeError through.
        raise ValueError("must be a list, such as [a, b]")  # noqa: TRY004
    texts = [item for item in value if isinstance(item, str)]
    if len(set(texts)) != len(texts):
        raise ValueError("names something twice: keep one of them")
    return value


def _schema(pattern: str, example: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": pattern, "examples": [example]})


_AS_TEXT: Final = PlainSerializer(str, return_type=str)
_ADDRESS_SCHEMA: Final = _schema(r"^(\[[0-9A-Fa-f:.]+\]|[^\[\]:]+):[0-9]{1,5}$", "127.0.0.1:8080")

ListenAddress: TypeAlias = Annotated[
    Address, PlainValidator(parse_address), AfterValidator(_listen), _AS_TEXT, _ADDRESS_SCHEMA
]
ConnectAddress: TypeAlias = Annotated[Address, PlainValidator(parse_connect_address), _AS_TEXT, _ADDRESS_SCHEMA]
DnsName: TypeAlias = Annotated[ConnectAddress, AfterValidator(_dns_name)]
NameServer: TypeAlias = Annotated[ConnectAddress, AfterValidator(_name_server)]
TrustedNetwork: TypeAlias = Annotated[
    IPv4Network | IPv6Network, PlainValidator(_network), _AS_TEXT, _schema(r"^[0-9A-Fa-f:.]+(/[0-9]+)?$", "10.0.0.0/8")
]
ServiceUrl: TypeAlias = Annotated[str, AfterValidator(_service_url)]
RedisUrl: TypeAlias = Annotated[str, AfterValidator(_redis_url)]
VarPath: TypeAlias = Annotated[Path, AfterValidator(_in_var)]
ListOf: Final = BeforeValidator(as_tuple)

Flag: TypeAlias = Annotated[bool, Field(strict=True)]
Count: TypeAlias = Annotated[int, Field(strict=True, ge=1, le=1_000_000)]
Size: TypeAlias = Annotated[int, Field(strict=True, ge=0, le=1 << 50)]
Seconds: TypeAlias = Annotated[float, Field(strict=True, gt=0, le=31_536_000)]
Slug: TypeAlias = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
