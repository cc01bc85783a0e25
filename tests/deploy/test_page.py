"""docs/deploying.md: its configuration loads, its links lead somewhere, and its names are those of the files."""

import re
import shutil
from pathlib import Path

from edge.control.load import load_config
from edge.control.snapshot import Snapshot
from edge.control.values import Address
from tests.deploy.manifests import of_kind
from tests.processes import REPOSITORY

PAGE = REPOSITORY / "docs" / "deploying.md"
TEXT = PAGE.read_text()


def test_the_configuration_of_one_machine_is_whole_and_right(tmp_path: Path) -> None:
    for file in (REPOSITORY / "config").glob("*.yaml"):
        shutil.copy(file, tmp_path)
    (block,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
    (tmp_path / "edge.yaml").write_text(block)
    loaded = load_config(tmp_path, var="/var/lib/edge-passport")
    assert isinstance(loaded, Snapshot), str(loaded)
    assert loaded.admin.address == Address("127.0.0.1", 8081)
    assert not loaded.listener.local_plain_http
    for url, unit in ((loaded.services.kms.url, "edge-kms"), (loaded.services.cookie.url, "edge-cookie")):
        listens = url.removeprefix("http://")
        assert f"--listen {listens}" in (REPOSITORY / "deploy" / "systemd" / f"{unit}.service").read_text()


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^a-z0-9 _-]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_link_leads_to_a_heading() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", TEXT):
        name, _, anchor = target.partition("#")
        page = PAGE.parent / name if name else PAGE
        assert page.exists(), target
        assert not anchor or anchor in anchors(page), target


def test_every_secret_that_a_pod_mounts_is_made_on_the_page() -> None:
    mounted = {
        volume["secret"]["secretName"]
        for deployment in of_kind("Deployment").values()
        for volume in deployment["spec"]["template"]["spec"]["volumes"]
        if "secret" in volume
    }
    made = set(re.findall(r"create secret (?:generic|tls) ([a-z-]+) ", TEXT))
    (parts,) = re.findall(r"for part in ([a-z ]+); do\n.*create secret generic \$part-internal-tls", TEXT)
    assert made | {f"{part}-internal-tls" for part in parts.split()} == mounted


def test_every_file_that_it_names_is_there() -> None:
    assert (REPOSITORY / "deploy" / "systemd" / "privileged_ports.conf").exists()
    for name in re.findall(r"(?<![\w/.-])(deploy/(?:kubernetes|systemd)[\w./-]*)\b", TEXT):
        assert (REPOSITORY / name).exists(), name
