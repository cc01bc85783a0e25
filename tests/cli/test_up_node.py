"""`edge up` starts the part that is written in JavaScript where there is a Node for it."""

from pathlib import Path

import pytest

from edge.control.errors import ConfigErrors
from edge.control.load import load_config
from edge.control.values import Address
from edge.up.node import NoNode, find_node
from edge.up.stack import Settings, stack
from tests.processes import REPOSITORY


def pretend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> Path:
    path = tmp_path / "node"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    return path


def test_a_node_that_is_new_enough_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = pretend(tmp_path, monkeypatch, "echo v20.1.0")
    assert find_node() == str(path)


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo v18.20.4", "{path} is v18.20.4"),
        ("echo hello", "{path} does not say its version"),
        ("exit 1", "{path} does not say its version"),
        ("printf '\\377'", "{path} does not say its version"),
    ],
)
def test_any_other_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, why: str) -> None:
    path = pretend(tmp_path, monkeypatch, script)
    assert find_node() == NoNode(why.format(path=path))


def test_no_node_is_said_to_be_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_node() == NoNode("there is none on PATH")


def settings(tmp_path: Path, *overrides: str) -> Settings:
    snapshot = load_config(REPOSITORY / "config", overrides, var=tmp_path)
    assert not isinstance(snapshot, ConfigErrors)
    return Settings(REPOSITORY / "config", tmp_path, (), snapshot, ephemeral=True)


def test_without_node_all_but_the_pages_is_started(tmp_path: Path) -> None:
    names = [part.name for part in stack(settings(tmp_path), None)]
    assert names == ["kms", "subscriber", "cookie", "auth", "api", "edge"]


def test_the_api_learns_which_proxies_the_edge_believes(tmp_path: Path) -> None:
    def line(*overrides: str) -> list[str]:
        parts = stack(settings(tmp_path, *overrides), None)
        at = {part.name: Address("127.0.0.1", number) for number, part in enumerate(parts, start=1)}
        (api,) = (part.command(settings(tmp_path, *overrides), at) for part in parts if part.name == "api")
        return api

    believed = line('listener.trusted_proxies=["10.0.0.0/8", "2001:db8::/32"]')
    assert believed[believed.index("--trusted-proxies") + 1] == "10.0.0.0/8,2001:db8::/32"
    assert "--trusted-proxies" not in line()


def test_the_pages_are_started_before_the_edge_which_learns_their_address(tmp_path: Path) -> None:
    parts = stack(settings(tmp_path), "/usr/bin/node")
    assert [part.name for part in parts] == ["kms", "subscriber", "cookie", "auth", "api", "ui", "edge"]
    at = {part.name: Address("127.0.0.1", number) for number, part in enumerate(parts, start=1)}
    ui, edge = (part.command(settings(tmp_path), at) for part in parts[-2:])
    assert ui[0] == "/usr/bin/node"
    assert Path(ui[1]).is_file()
    assert ui[2:4] == ["--listen", "127.0.0.1:6"]
    assert 'origins.ui.addresses=["127.0.0.1:6"]' in edge
