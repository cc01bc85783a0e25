"""`npm pack` makes a package that is installed without a registry, and that works where it is installed."""

import json
from pathlib import Path

import pytest

from passport.catalogue import UserAction
from tests.passport_js.node import PACKAGE, node, npm, run

USE = """
import { createServer } from "node:http";
import { PassportIntrospector, UserAction } from "edge-passport";
import { passportListener, passportOf } from "edge-passport/http";
import { passportMiddleware } from "edge-passport/express";
import { passportPlugin } from "edge-passport/fastify";
import { PassportFactory } from "edge-passport/testing";

const factory = await PassportFactory.create();
const options = { keys: factory, trustDomain: factory.trustDomain };
const listener = passportListener(options, (request, response) => response.end(String(passportOf(request).customerId)));
const server = createServer(listener).listen(0, "127.0.0.1", async () => {
  const url = `http://127.0.0.1:${server.address().port}/`;
  const good = await fetch(url, { headers: { "X-Passport": await factory.make({ user: { customerId: 5n } }) } });
  const none = await fetch(url);
  console.log(JSON.stringify([await good.text(), none.status, UserAction.USER_LOGIN,
    [PassportIntrospector, passportMiddleware, passportPlugin].map((each) => typeof each)]));
  server.close();
  server.closeAllConnections();
});
"""
# No registry is asked: a package that needed another one could not be installed.
OFFLINE = ("--offline", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts", "--loglevel=error")


@pytest.fixture(scope="module")
def tarball(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """Return the package, and the names of the files in it."""
    home = tmp_path_factory.mktemp("packed")
    packed = run(*npm(), "pack", str(PACKAGE), "--json", "--offline", cwd=home, npm_config_cache=str(home / "cache"))
    found = json.loads(packed)
    # Newer versions of npm name the packages.
    (described,) = found.values() if isinstance(found, dict) else found
    return home / described["filename"], [file["path"] for file in described["files"]]


def test_the_package_has_the_library_and_its_types_and_nothing_else(tarball: tuple[Path, list[str]]) -> None:
    _, names = tarball
    assert {"package.json", "README.md", "src/index.js", "src/index.d.ts", "src/catalogue.js"} <= set(names)
    assert all(name.startswith("src/") for name in set(names) - {"package.json", "README.md"})
    described = json.loads((PACKAGE / "package.json").read_text())
    assert "dependencies" not in described
    for entry in described["exports"].values():
        assert {path.removeprefix("./") for path in entry.values()} <= set(names)


def test_the_package_is_installed_offline_and_used(tarball: tuple[Path, list[str]], tmp_path: Path) -> None:
    path, _ = tarball
    (tmp_path / "package.json").write_text('{"name": "somebody", "private": true, "type": "module"}')
    run(*npm(), "install", str(path), *OFFLINE, cwd=tmp_path, npm_config_cache=str(tmp_path / "cache"))
    assert [each.name for each in (tmp_path / "node_modules").iterdir() if not each.name.startswith(".")] == [
        "edge-passport"
    ]
    (tmp_path / "use.js").write_text(USE)
    said = json.loads(run(node(), "use.js", cwd=tmp_path))
    assert said == ["5", 401, UserAction.USER_LOGIN.name, ["function"] * 3]
