"""deploy/kubernetes: valid, and every part of it fits the others, the product's configuration and what it promises."""

import copy
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import yaml

from edge.control.load import load_config
from edge.control.snapshot import Snapshot
from edge.supervisor.slot import DRAIN_MARGIN_S
from edge.up.agreement import disagreements
from edge.up.service_files import service_file_errors
from tests.deploy.manifests import DIRECTORY, Manifest, kustomization, manifests, of_kind, problems

CONFIG = DIRECTORY / "config"
PODS = of_kind("Deployment")
NAMESPACE = "edge-passport"
SERVICES_DRAIN_S = 5.0
SPARE_S = 5.0


def pod(name: str) -> Manifest:
    template: Manifest = PODS[name]["spec"]["template"]
    return template


def containers(name: str) -> list[Manifest]:
    spec = pod(name)["spec"]
    return [*spec.get("initContainers", ()), *spec["containers"]]


def main_container(name: str) -> Manifest:
    found: list[Manifest] = pod(name)["spec"]["containers"]
    assert len(found) == 1
    return found[0]


def selects(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    return bool(selector) and selector.items() <= labels.items()


def selected(selector: Mapping[str, str]) -> list[str]:
    return [name for name in PODS if selects(selector, pod(name)["metadata"]["labels"])]


def ports(name: str) -> dict[str, int]:
    return {port["name"]: port["containerPort"] for port in main_container(name)["ports"]}


def snapshot() -> Snapshot:
    loaded = load_config(CONFIG, var="/var/lib/edge")
    assert isinstance(loaded, Snapshot), str(loaded)
    return loaded


@pytest.mark.parametrize("manifest", manifests(), ids=lambda each: f"{each['kind']}-{each['metadata']['name']}")
def test_kubernetes_takes_every_object(manifest: Manifest) -> None:
    assert list(problems(manifest)) == []


def test_what_kubernetes_would_not_take_is_found() -> None:
    wrong: Any = copy.deepcopy(PODS["edge"])
    wrong["spec"]["template"]["spec"]["securityContext"]["runAsNonRot"] = True
    assert all("runAsNonRot" in problem for problem in problems(wrong))
    assert list(problems(wrong))
    assert list(problems({"apiVersion": "apps/v7", "kind": "Deployment", "metadata": {"name": "x"}}))


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="there is no kubectl, which builds the kustomization")
def test_kustomize_builds_the_same_objects() -> None:
    built = subprocess.run(
        ["kubectl", "kustomize", str(DIRECTORY)], capture_output=True, text=True, check=True, timeout=50
    )
    names = {(each["kind"], each["metadata"]["name"]) for each in yaml.safe_load_all(built.stdout)}
    ours = {(each["kind"], each["metadata"]["name"]) for each in manifests()}
    assert {(kind, re.sub(r"-config-[a-z0-9]{10}$", "-config", name)) for kind, name in names} == ours
    assert "image: registry.example.com/edge-passport:" in built.stdout
    assert "image: edge-passport\n" not in built.stdout


def test_every_file_is_part_of_the_kustomization() -> None:
    made = {DIRECTORY / name for name in kustomization()["resources"]}
    made |= {DIRECTORY / name for row in kustomization()["configMapGenerator"] for name in row["files"]}
    assert set(DIRECTORY.rglob("*.yaml")) - {DIRECTORY / "kustomization.yaml"} == made


def test_the_edge_takes_the_configuration_and_the_services_take_theirs() -> None:
    assert disagreements(CONFIG, snapshot()) == []
    assert service_file_errors(CONFIG) == []


def test_no_object_holds_a_secret() -> None:
    assert of_kind("Secret") == {}
    text = "".join(path.read_text() for path in DIRECTORY.rglob("*.yaml"))
    assert re.findall(r"(?i)\b(?:password|token)\s*[:=]\s*(?!false)\w|PRIVATE KEY|://[^/\s]*:[^/\s]*@", text) == []


@pytest.mark.parametrize("name", PODS)
def test_each_deployment_selects_its_own_pods_and_no_others(name: str) -> None:
    spec = PODS[name]["spec"]
    assert selected(spec["selector"]["matchLabels"]) == [name]
    for spread in pod(name)["spec"]["topologySpreadConstraints"]:
        assert selected(spread["labelSelector"]["matchLabels"]) == [name]


def test_services_budgets_and_the_autoscaler_find_their_pods() -> None:
    for service in of_kind("Service").values():
        (name,) = selected(service["spec"]["selector"])
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= set(ports(name))
    for budget in of_kind("PodDisruptionBudget").values():
        assert selected(budget["spec"]["selector"]["matchLabels"]) == [budget["metadata"]["name"]]
    assert set(of_kind("PodDisruptionBudget")) == set(PODS)
    (scaler,) = of_kind("HorizontalPodAutoscaler").values()
    assert scaler["spec"]["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "edge"}
    assert scaler["spec"]["minReplicas"] > 1
    assert "replicas" not in PODS["edge"]["spec"], "applying the manifests again would undo what the autoscaler did"
    assert "cpu" in main_container("edge")["resources"]["requests"], "utilisation is of what was requested"


@pytest.mark.parametrize("name", PODS)
def test_probes_ask_at_ports_that_the_container_has(name: str) -> None:
    container = main_container(name)
    probes = [container[key] for key in container if key.endswith("Probe")]
    assert probes
    for probe in probes:
        asked = probe.get("httpGet") or probe["tcpSocket"]
        assert asked["port"] in ports(name)


def test_the_edge_is_asked_what_its_answers_are_good_for() -> None:
    container = main_container("edge")
    paths = {key: container[key]["httpGet"]["path"] for key in container if key.endswith("Probe")}
    assert paths == {"startupProbe": "/health", "readinessProbe": "/health", "livenessProbe": "/live"}
    startup = container["startupProbe"]
    patience_s = snapshot().services.kms.start_patience_s
    assert startup["periodSeconds"] * startup["failureThreshold"] > 2 * patience_s


def test_the_ports_are_those_that_the_configuration_says() -> None:
    loaded = snapshot()
    assert ports("edge") == {"https": loaded.listener.address.port, "admin": loaded.admin.address.port}
    assert loaded.listener.tls.certificates
    for name, url in (("kms", loaded.services.kms.url), ("cookie", loaded.services.cookie.url)):
        port = ports(name)["https"]
        assert url == f"https://{name}.{NAMESPACE}.svc:{port}"
        assert f"--listen=0.0.0.0:{port}" in main_container(name)["args"]
        assert [each["port"] for each in of_kind("Service")[name]["spec"]["ports"]] == [port]
    assert f"--kms={loaded.services.kms.url}" in main_container("cookie")["args"]


@pytest.mark.parametrize("name", PODS)
def test_a_pod_that_goes_has_time_to_drain(name: str) -> None:
    container = main_container(name)
    sleep, seconds = container["lifecycle"]["preStop"]["exec"]["command"]
    assert sleep == "sleep"
    drain_s = snapshot().timeouts.drain_s + DRAIN_MARGIN_S if name == "edge" else SERVICES_DRAIN_S
    assert pod(name)["spec"]["terminationGracePeriodSeconds"] >= int(seconds) + drain_s + SPARE_S
    readiness = container["readinessProbe"]
    assert int(seconds) >= readiness["periodSeconds"], "other pods must have heard of it before it takes no more"
    assert PODS[name]["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


@pytest.mark.parametrize("name", PODS)
def test_every_container_is_confined(name: str) -> None:
    spec = pod(name)["spec"]
    account = of_kind("ServiceAccount")[spec["serviceAccountName"]]
    assert spec["automountServiceAccountToken"] is account["automountServiceAccountToken"] is False
    context = spec["securityContext"]
    assert context["runAsNonRoot"] is True
    assert context["runAsUser"] == context["runAsGroup"] == context["fsGroup"] > 10000
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in containers(name):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        assert "memory" in container["resources"]["limits"]
        assert "env" not in container, "what is in the environment is in every child, and in crash reports"


def test_the_services_run_as_different_users() -> None:
    assert len({pod(name)["spec"]["securityContext"]["runAsUser"] for name in PODS}) == len(PODS)


def test_the_edge_has_a_cpu_limit_which_says_how_many_workers_there_are() -> None:
    resources = main_container("edge")["resources"]
    assert snapshot().edge.workers == 0
    assert resources["limits"]["cpu"] == resources["requests"]["cpu"] == "2"


def mounted(name: str) -> Iterator[tuple[str, Path]]:
    """Yield each volume of a pod, and where its containers see it."""
    volumes = {volume["name"]: volume for volume in pod(name)["spec"]["volumes"]}
    mounts = list(chain.from_iterable(container["volumeMounts"] for container in containers(name)))
    assert {mount["name"] for mount in mounts} == set(volumes)
    for mount in mounts:
        kind = next(key for key in volumes[mount["name"]] if key != "name")
        assert mount.get("readOnly", False) is (kind != "emptyDir") or mount["name"] == "pgpass"
        yield kind, Path(mount["mountPath"])


@pytest.mark.parametrize("name", PODS)
def test_every_path_that_is_named_is_mounted(name: str) -> None:
    places = {path for _, path in mounted(name)}
    assert {kind for kind, _ in mounted(name)} == {"configMap", "secret", "emptyDir"}
    files = ["edge.yaml"] if name == "edge" else [f"{name}.yaml"]
    words = [*containers(name)[0].get("command", ()), *main_container(name)["args"]]
    text = " ".join((CONFIG / file).read_text() for file in files) + " " + " ".join(map(str, words))
    named = {Path(found) for found in re.findall(r"(?<![:/\w.])/(?:run|etc|var/lib)/[\w./-]+", text)}
    assert named
    assert {path for path in named if not places & {path, *path.parents}} == set()


@pytest.mark.parametrize("name", PODS)
def test_configmaps_and_accounts_that_are_named_exist(name: str) -> None:
    maps = {volume["configMap"]["name"] for volume in pod(name)["spec"]["volumes"] if "configMap" in volume}
    assert maps <= set(of_kind("ConfigMap"))
    assert pod(name)["spec"]["serviceAccountName"] in of_kind("ServiceAccount")


def test_nothing_in_the_namespace_is_reachable_but_what_a_policy_names() -> None:
    policies = of_kind("NetworkPolicy")
    everything = policies["nobody"]["spec"]
    assert (everything["podSelector"], everything["policyTypes"]) == ({}, ["Ingress"])
    assert "ingress" not in everything
    for name in PODS:
        spec = policies[name]["spec"]
        assert selected(spec["podSelector"]["matchLabels"]) == [name]
        for rule in spec["ingress"]:
            assert {port["port"] for port in rule["ports"]} <= set(ports(name))


def test_only_prometheus_reaches_the_admin_listener_and_only_edges_reach_origins() -> None:
    policies = of_kind("NetworkPolicy")
    open_to_all = [rule for rule in policies["edge"]["spec"]["ingress"] if "from" not in rule]
    assert [port["port"] for rule in open_to_all for port in rule["ports"]] == ["https"]
    for name in ("kms", "cookie", "origins"):
        assert all(rule["from"] for rule in policies[name]["spec"]["ingress"])
    (admin,) = (
        rule for rule in policies["edge"]["spec"]["ingress"] if {"protocol": "TCP", "port": "admin"} in rule["ports"]
    )
    assert admin["from"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
    (origin,) = policies["origins"]["spec"]["ingress"]
    (peer,) = origin["from"]
    assert peer["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": NAMESPACE}
    assert selected(peer["podSelector"]["matchLabels"]) == ["edge"]
    discovered = [each.discovery for each in snapshot().origins.values()]
    assert {port["port"] for port in origin["ports"]} == {8080}
    assert len(discovered) == len(snapshot().origins)


def test_everything_stands_in_its_namespace() -> None:
    elsewhere = {each["metadata"]["name"] for each in manifests() if each["metadata"].get("namespace") != NAMESPACE}
    assert elsewhere == {NAMESPACE, "origins"}
