"""The configurations that the peers and the edge are started with."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from loadtest.bench import edge, envoy, jwts, nginx
from loadtest.bench.processes import Seat

SEAT = Seat(core=0, port=4001, home=Path("/run/bench"))


def _jwt_filter(config: str) -> Any:
    listener = json.loads(config)["static_resources"]["listeners"][0]
    return listener["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"][0]["typed_config"]


def test_envoy_caches_as_many_tokens_as_asked() -> None:
    provider = _jwt_filter(envoy.render(4001, 4002, jwts.hs256(), 20_000))["providers"]["bench"]
    assert provider["jwt_cache_config"] == {"jwt_cache_size": 20_000}


def test_envoy_without_a_cache_has_no_cache_section() -> None:
    provider = _jwt_filter(envoy.render(4001, 4002, jwts.es256(), 0))["providers"]["bench"]
    assert "jwt_cache_config" not in provider


def test_envoy_asks_every_request_for_a_token_of_the_issuer_and_audience() -> None:
    issuer = jwts.es256()
    jwt_filter = _jwt_filter(envoy.render(4001, 4002, issuer, 0))
    provider = jwt_filter["providers"]["bench"]
    assert jwt_filter["rules"] == [{"match": {"prefix": "/"}, "requires": {"provider_name": "bench"}}]
    assert (provider["issuer"], provider["audiences"]) == (jwts.ISSUER, [jwts.AUDIENCE])
    assert provider["local_jwks"]["inline_string"] == issuer.jwks


def test_the_relay_keeps_its_connections_and_passes_on_to_the_origin() -> None:
    config = nginx.render_relay(SEAT, origin_port=4002, connections=32)
    assert "listen 127.0.0.1:4001" in config
    assert "server 127.0.0.1:4002" in config
    assert "keepalive 64;" in config
    assert 'proxy_set_header Connection "";' in config
    assert "worker_processes 1;" in config


def test_the_origin_answers_about_two_hundred_bytes_of_json() -> None:
    assert nginx.ANSWER in nginx.render_origin(SEAT)
    assert json.loads(nginx.ANSWER)["title"] == "browse"
    assert 150 <= len(nginx.ANSWER) <= 250


def test_nginx_writes_only_into_its_own_directory() -> None:
    config = nginx.render_origin(SEAT)
    paths = [line.split()[1].rstrip(";") for line in config.splitlines() if "_path " in line or "pid " in line]
    assert len(paths) == 6
    assert all(path.startswith("/run/bench/") for path in paths)


def test_the_edge_runs_one_worker_with_a_cache_for_all_tokens() -> None:
    values = edge.overrides(edge.EdgePorts(4001, 4003, 4004, 4002), tokens=10_000, access_log="off")
    assert (values["edge.workers"], values["cookies.cache_entries"]) == (1, 20_000)
    assert (values["listener.address"], values["origins.api.addresses"]) == ("127.0.0.1:4001", ["127.0.0.1:4002"])
    assert values["access_log.path"] == "off"


def test_overrides_are_given_as_yaml_reads_them() -> None:
    command = edge.edge_command(Path("config"), Path("var"), {"a.b": ["127.0.0.1:1"], "c": True, "d": "off"})
    settings = [part.split("=", 1) for flag, part in pairwise(command) if flag == "--set"]
    assert command[1:6] == ["run", "--config", "config", "--var", "var"]
    assert [(key, yaml.safe_load(value)) for key, value in settings[:2]] == [("a.b", ["127.0.0.1:1"]), ("c", True)]
    assert settings[2] == ["d", "off"]


def test_secrets_are_made_for_every_identity_and_readable_by_their_owner_only(tmp_path: Path) -> None:
    config = tmp_path / "kms.yaml"
    config.write_text("identities: {edge: {grants: {}}, cookie: {grants: {}}}")
    edge.make_secrets(tmp_path / "secrets", config)
    files = sorted((tmp_path / "secrets").iterdir())
    assert [file.name for file in files] == ["cookie.token", "edge.token", "master.key"]
    assert all(file.stat().st_mode & 0o077 == 0 for file in [*files, tmp_path / "secrets"])
    assert len(edge.identity_token(tmp_path / "secrets", "edge")) >= 32
