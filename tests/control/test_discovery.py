"""Where an origin's addresses come from: one place, said in origins.yaml, and every mistake with its key."""

from pathlib import Path

import pytest

from edge.control.errors import ConfigErrors
from edge.control.load import load_config
from edge.control.origins_file import DnsDiscovery, FileDiscovery
from edge.control.snapshot import Origin, Snapshot

DNS = '{"dns": {"name": "api.internal:8080"}}'
NO_ADDRESSES = "origins.api.addresses=[]"


def origin(directory: Path, *overrides: str) -> Origin:
    found = load_config(directory, overrides, var="/srv/var")
    assert isinstance(found, Snapshot), str(found)
    return found.origins["api"]


def errors(directory: Path, *overrides: str) -> list[tuple[str, str]]:
    found = load_config(directory, overrides, var="/srv/var")
    assert isinstance(found, ConfigErrors)
    return [(error.place, error.message) for error in found.errors]


def test_addresses_are_as_they_were_without_discovery(directory: Path) -> None:
    api = origin(directory)
    assert api.addresses == (("127.0.0.1", 8094),)
    assert api.discovery is None
    assert api.health_check is None


def test_dns_has_its_defaults(directory: Path) -> None:
    found = origin(directory, NO_ADDRESSES, f"origins.api.discovery={DNS}").discovery
    assert isinstance(found, DnsDiscovery)
    assert found.name == ("api.internal", 8080)
    assert found.record_types == ("A", "AAAA")
    assert (found.servers, found.timeout_s, found.min_refresh_s, found.max_refresh_s) == ((), 2, 5, 60)


def test_a_file_is_under_var(directory: Path) -> None:
    found = origin(directory, NO_ADDRESSES, 'origins.api.discovery={"file": {"path": "api.yaml"}}').discovery
    assert found == FileDiscovery(path=Path("/srv/var/api.yaml"), poll_s=1)


def test_a_health_check_has_its_defaults(directory: Path) -> None:
    found = origin(directory, 'origins.api.health_check={"path": "/health"}').health_check
    assert found is not None
    assert (found.path, found.host, found.interval_s, found.timeout_s) == ("/health", None, 5, 1)
    assert (found.healthy_after, found.unhealthy_after, found.min_status, found.max_status) == (2, 3, 200, 299)


@pytest.mark.parametrize(
    ("overrides", "place", "message"),
    [
        ([NO_ADDRESSES], "addresses", "must have at least one entry"),
        ([f"origins.api.discovery={DNS}"], "discovery.dns", "leave out addresses"),
        (
            [NO_ADDRESSES, 'origins.api.discovery={"dns": {"name": "a.b:1"}, "file": {"path": "x"}}'],
            "discovery.file",
            "must not stand beside dns",
        ),
        ([NO_ADDRESSES, 'origins.api.discovery={"dns": {}}'], "discovery.dns.name", "is missing"),
        ([NO_ADDRESSES, "origins.api.discovery.dns.name=10.0.0.1:80"], "discovery.dns.name", "NAME:PORT"),
        ([NO_ADDRESSES, "origins.api.discovery.dns.name=api.internal"], "discovery.dns.name", "HOST:PORT"),
        (
            [NO_ADDRESSES, 'origins.api.discovery={"dns": {"name": "a.b:1", "servers": ["ns.internal:53"]}}'],
            "discovery.dns.servers[0]",
            "must be an IP address and port",
        ),
        (
            [NO_ADDRESSES, 'origins.api.discovery={"dns": {"name": "a.b:1", "record_types": ["SRV"]}}'],
            "discovery.dns.record_types[0]",
            "must be 'A' or 'AAAA'",
        ),
        (
            [NO_ADDRESSES, 'origins.api.discovery={"dns": {"name": "a.b:1", "max_refresh_s": 1}}'],
            "discovery.dns.max_refresh_s",
            "must not be below min_refresh_s",
        ),
        (
            [NO_ADDRESSES, 'origins.api.discovery={"dns": {"name": "a.b:1", "timeouts": 1}}'],
            "discovery.dns.timeouts",
            "did you mean timeout_s?",
        ),
        (['origins.api.health_check={"path": "health"}'], "health_check.path", "must match the pattern"),
        (['origins.api.health_check={"path": "/a b"}'], "health_check.path", "must match the pattern"),
        (['origins.api.health_check={"path": "/a#b"}'], "health_check.path", "must match the pattern"),
        (['origins.api.health_check={"path": "/", "host": "a\\r\\nX: y"}'], "health_check.host", "must match"),
        (
            ['origins.api.health_check={"path": "/", "min_status": 300}'],
            "health_check.max_status",
            "must not be below min_status",
        ),
        (['origins.api.health_check={"pth": "/"}'], "health_check.pth", "did you mean path?"),
    ],
)
def test_every_mistake_is_named(directory: Path, overrides: list[str], place: str, message: str) -> None:
    found = errors(directory, *overrides)
    assert any(at == f"origins.api.{place}" and message in text for at, text in found), found
