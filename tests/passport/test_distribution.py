"""The distribution for services: what its wheel holds, and that it works without the edge."""

import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
LIBRARY = ROOT / "passport"
if not (LIBRARY / "pyproject.toml").exists():
    pytest.skip("the wheel of the edge has no project file of the library", allow_module_level=True)
PROJECT = tomllib.loads((LIBRARY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
MODULES = {file.stem for file in LIBRARY.glob("*.py")} - {"hatch_build"}
NEEDS_A_FRAMEWORK = {"aiohttp", "fastapi", "flask", "grpc", "grpc_client", "httpx", "key_sets", "key_source", "kms"}
READS = """
import sys
sys.path[:0] = {paths!r}
from importlib import import_module
for name in {modules!r}:
    import_module("passport." + name)
from passport.testing import PassportFactory
from passport.asgi import PassportMiddleware
passports = PassportFactory()
print(passports.passport(passports.value(42)).customer_id)
strangers = {{name.partition(".")[0] for name in sys.modules}} & {{"edge", "filters", "aiohttp", "grpc", "yaml"}}
print(sorted(strangers), __import__("passport").__file__)
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the library, and nothing that it needs, into a folder of its own."""
    for tool in ("hatchling", "pip"):
        if find_spec(tool) is None:
            pytest.skip(f"{tool}, which it takes to install the library, is not there")
    out = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    offline = ["--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, *offline, "--target", str(out), str(LIBRARY)], check=True, timeout=60)
    return out


def test_the_wheel_holds_the_library_its_schema_and_nothing_else(site: Path) -> None:
    files = (file.relative_to(site).as_posix() for file in site.rglob("*") if file.is_file())
    names = {name for name in files if ".dist-info/" not in name}
    schema = [file for name in ("kms", "passport") for file in (ROOT / "proto" / "edgepb" / name).rglob("*.py*")]
    of_schema = {file.relative_to(ROOT / "proto").as_posix() for file in schema if file.suffix != ".pyc"}
    library = {f"passport/{name}.py" for name in MODULES} | {"passport/py.typed"}
    assert names == library | of_schema | {"edgepb/__init__.py", "edgepb/py.typed"}


def test_it_works_where_there_is_no_edge_and_no_framework(site: Path, tmp_path: Path) -> None:
    # What protobuf and cryptography bring, and nothing beside them.
    for package in ("google", "cryptography", "cffi", "_cffi_backend", "pycparser"):
        spec = find_spec(package)
        assert spec is not None
        origin = Path(spec.submodule_search_locations[0] if spec.submodule_search_locations else str(spec.origin))
        (tmp_path / origin.name).symlink_to(origin)
    modules = sorted(MODULES - NEEDS_A_FRAMEWORK - {"__init__"})
    script = READS.format(paths=[str(site), str(tmp_path)], modules=modules)
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stderr == ""
    read, strangers = done.stdout.splitlines()
    assert (read, strangers) == ("42", f"[] {site / 'passport' / '__init__.py'}")


def test_it_needs_protobuf_and_cryptography_only_in_the_versions_of_the_edge() -> None:
    edge = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert [each.partition(">")[0] for each in PROJECT["dependencies"]] == ["cryptography", "protobuf"]
    assert set(PROJECT["dependencies"]) <= set(edge["dependencies"])
    assert PROJECT["version"] == edge["version"]
    asked = set(PROJECT["optional-dependencies"]["aiohttp"] + PROJECT["optional-dependencies"]["kms"])
    assert asked <= set(edge["dependencies"])
