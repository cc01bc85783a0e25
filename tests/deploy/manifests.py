"""The manifests of deploy/kubernetes, and whether Kubernetes would take them.

    python -m tests.deploy.manifests

checks them against the schemas of the versions named here, without a cluster: exit code 1 and a line for each problem.
"""

import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import kubernetes_validate
import yaml

DIRECTORY: Final = Path(__file__).parents[2] / "deploy" / "kubernetes"
VERSIONS: Final = ("1.29", "1.32")
"""The oldest that docs/deploying.md names, and one whose schemas every kubernetes-validate that we allow brings."""

Manifest = Mapping[str, Any]


def kustomization() -> Manifest:
    """Return kustomization.yaml."""
    read: Manifest = yaml.safe_load((DIRECTORY / "kustomization.yaml").read_text())
    return read


@cache
def manifests() -> list[Manifest]:
    """Return every object that `kubectl apply -k` makes, but without the hashes in the names of ConfigMaps."""
    return [*_written(), *_generated()]


def of_kind(kind: str) -> dict[str, Manifest]:
    """Return the objects of one kind by name."""
    return {each["metadata"]["name"]: each for each in manifests() if each["kind"] == kind}


def problems(manifest: Manifest) -> Iterator[str]:
    """Yield what the schemas of each version say against an object; strictly, so that no key is unknown."""
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(manifest, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            place = ".".join(str(part) for part in error.path)
            yield f"{manifest['kind']} {manifest['metadata']['name']}: {place}: {error.message} (Kubernetes {version})"
        except (kubernetes_validate.SchemaNotFoundError, kubernetes_validate.InvalidSchemaError) as error:
            yield f"{manifest.get('kind')}: {error.message}"


def _written() -> Iterator[Manifest]:
    for name in kustomization()["resources"]:
        yield from yaml.safe_load_all((DIRECTORY / name).read_text())


def _generated() -> Iterator[Manifest]:
    for row in kustomization()["configMapGenerator"]:
        data = {Path(file).name: (DIRECTORY / file).read_text() for file in row["files"]}
        metadata = {"name": row["name"], "namespace": row["namespace"]}
        yield {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def main() -> int:
    """Check all; return the exit code."""
    found = [problem for manifest in manifests() for problem in problems(manifest)]
    sys.stderr.writelines(f"{problem}\n" for problem in found)
    if not found:
        kinds = f"{len(manifests())} objects of {DIRECTORY.name}"
        sys.stdout.write(f"{kinds} are valid for Kubernetes {' and '.join(VERSIONS)}.\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
