"""Dockerfile and .dockerignore hold what docs/deploying.md promises of the image."""

import json
import re
import shlex
import tomllib
from fnmatch import fnmatch

import pytest

from tests.processes import REPOSITORY

DOCKERFILE = REPOSITORY / "Dockerfile"
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())


def instructions() -> list[tuple[str, str]]:
    """Return every instruction with its arguments on one line, comments left out."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if not line.lstrip().startswith("#")]
    whole = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [
        (name.upper(), rest.strip()) for name, _, rest in (line.partition(" ") for line in whole.splitlines()) if name
    ]


def stages() -> list[list[tuple[str, str]]]:
    """Return the instructions of each stage, from its FROM on."""
    found: list[list[tuple[str, str]]] = []
    for name, rest in instructions():
        if name == "FROM":
            found.append([])
        if found:
            found[-1].append((name, rest))
    return found


def of(name: str, stage: int) -> list[str]:
    return [rest for each, rest in stages()[stage] if each == name]


def copied() -> list[str]:
    """Return what is copied from the context into the builder."""
    return [word for rest in of("COPY", 0) for word in shlex.split(rest)[:-1]]


def test_both_stages_have_one_base_that_names_a_version() -> None:
    (base,) = (rest for name, rest in instructions() if name == "ARG" and rest.startswith("BASE="))
    image, _, tag = base.removeprefix("BASE=").partition(":")
    assert image == "python"
    assert re.fullmatch(r"3\.\d+[\w.-]*", tag), "latest is another image tomorrow"
    assert [of("FROM", stage) for stage in (0, 1)] == [["${BASE} AS builder"], ["${BASE}"]]
    assert len(stages()) == 2


def test_the_image_runs_as_a_number_that_is_not_root() -> None:
    user = of("USER", 1)[-1]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    uid, gid = user.split(":")
    assert f"--owner={uid} --group={gid} --mode=0700 /var/lib/edge" in " ".join(of("RUN", 1))
    order = [name for name, _ in stages()[1]]
    assert "RUN" not in order[order.index("USER") :]


def test_only_the_virtual_environment_comes_out_of_the_builder() -> None:
    assert of("COPY", 1) == ["--from=builder /opt/edge-passport /opt/edge-passport"]
    assert all("gcc" not in rest for rest in of("RUN", 1))


def test_nothing_is_fetched_from_an_address_and_no_secret_is_named() -> None:
    text = DOCKERFILE.read_text()
    names = [name for name, _ in instructions()]
    assert "ADD" not in names
    assert not re.search(r"curl|wget|https?://(?!127\.0\.0\.1:8081/health)", text)
    assert not re.search(r"(?im)^(ENV|ARG)\s+\w*(token|password|secret|key)", text)
    assert all(not re.search(r"\.token|password|\.key|\.pem|secret", source) for source in copied())


def test_what_is_copied_exists_and_is_let_through_and_is_all_that_the_wheel_is_made_of() -> None:
    ignored = [line for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert ignored[0] == "*"
    let_through = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    assert set(copied()) == let_through
    assert all((REPOSITORY / name).exists() for name in let_through)
    packages = {name.split("/")[0] for name in PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]}
    assert packages | {"pyproject.toml", "hatch_build.py", PROJECT["project"]["readme"], "LICENSE"} == let_through


@pytest.mark.parametrize("name", ["var/secrets/master.key", "config/edge.yaml", ".git/config", "dist/x.whl"])
def test_state_and_secrets_never_reach_the_builder(name: str) -> None:
    assert not any(fnmatch(name, f"{source}*") for source in copied())


def test_the_wheel_is_compiled_as_by_make_wheel() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    assert "HATCH_BUILD_HOOK_ENABLE_CUSTOM=true $(BIN)/python -m pip wheel" in makefile
    built = " ".join(of("RUN", 0))
    assert "HATCH_BUILD_HOOK_ENABLE_CUSTOM=true python -m pip wheel" in built
    assert "edge version | grep --quiet ', compiled$'" in built
    extras = next(rest for rest in of("ARG", 0) if rest.startswith("EXTRAS=")).removeprefix("EXTRAS=").split(",")
    assert set(extras) <= set(PROJECT["project"]["optional-dependencies"])


def test_signals_reach_the_supervisor() -> None:
    assert json.loads(of("ENTRYPOINT", 1)[-1]) == ["edge"]
    assert json.loads(of("CMD", 1)[-1]) == ["run", "--config", "/etc/edge", "--var", "/var/lib/edge"]
    assert of("STOPSIGNAL", 1) == ["SIGTERM"]


def test_state_is_a_volume_and_health_is_the_edges_own() -> None:
    assert of("VOLUME", 1) == ["/var/lib/edge"]
    (health,) = of("HEALTHCHECK", 1)
    command = json.loads(health.partition("CMD ")[2])
    assert command[:2] == ["python", "-c"]
    assert "http://127.0.0.1:8081/health" in command[2]
    compile(command[2], "HEALTHCHECK", "exec")


def test_the_image_says_what_it_is() -> None:
    labels = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]*)"', " ".join(of("LABEL", 1))))
    assert labels.keys() == {"title", "description", "licenses", "version"}
    assert labels["licenses"] == PROJECT["project"]["license"]
    assert f"VERSION={PROJECT['project']['version']}" in of("ARG", 1)
