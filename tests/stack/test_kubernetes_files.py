"""deploy/kubernetes: what a worker needs of Kubernetes is there.

The form of the files is checked by kubectl-validate where that is installed.
"""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "kubernetes"
# Their schemas come from Prometheus' operator and from kustomize, not from Kubernetes.
FOREIGN = {"servicemonitor.yaml", "kustomization.yaml"}


@pytest.fixture(scope="module")
def resources() -> dict[str, dict[str, Any]]:
    """By kind, of those files that kustomization.yaml names."""
    kustomization = read(FOLDER / "kustomization.yaml")
    found = [read(FOLDER / name) for name in kustomization["resources"] if name.endswith(".yaml")]
    return {resource["kind"]: resource for resource in found}


def test_workers_are_static_members_by_their_pods_names(resources: dict[str, dict[str, Any]]) -> None:
    worker = get_container(resources["StatefulSet"])
    variables = {variable["name"]: variable for variable in worker["env"]}
    instance = variables["GATECAST_KAFKA__INSTANCE_ID"]["valueFrom"]["fieldRef"]["fieldPath"]
    assert instance == "metadata.name"
    assert resources["StatefulSet"]["spec"]["serviceName"] == resources["Service"]["metadata"]["name"]


def test_workers_are_asked_and_get_time_to_save(resources: dict[str, dict[str, Any]]) -> None:
    pod = resources["StatefulSet"]["spec"]["template"]["spec"]
    worker = get_container(resources["StatefulSet"])
    assert pod["terminationGracePeriodSeconds"] == 60
    assert worker["readinessProbe"]["httpGet"]["path"] == "/readyz"
    # A broker that is away makes a worker unready, and restarting it would not help.
    assert (
        worker["livenessProbe"]["httpGet"]["path"] == worker["startupProbe"]["httpGet"]["path"] == "/healthz"
    )


def test_all_selectors_find_the_workers(resources: dict[str, dict[str, Any]]) -> None:
    labels = resources["StatefulSet"]["spec"]["template"]["metadata"]["labels"]
    service = resources["Service"]
    for selector in (
        resources["StatefulSet"]["spec"]["selector"]["matchLabels"],
        resources["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        resources["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
        service["spec"]["selector"],
    ):
        assert selector.items() <= labels.items()
        topics = resources["Job"]["spec"]["template"]["metadata"]["labels"]
        assert not selector.items() <= topics.items(), "the job that makes topics has no port"
    common = read(FOLDER / "kustomization.yaml")["labels"][0]["pairs"]
    monitor = resources["ServiceMonitor"]["spec"]
    assert monitor["selector"]["matchLabels"].items() <= (service["metadata"]["labels"] | common).items()
    # The rules select job="gatecast".
    assert common[monitor["jobLabel"]] == "gatecast"
    assert monitor["endpoints"][0]["port"] in {port["name"] for port in service["spec"]["ports"]}


@pytest.mark.parametrize("kind", ["StatefulSet", "Job"])
def test_pods_keep_to_the_restricted_standard(resources: dict[str, dict[str, Any]], kind: str) -> None:
    pod = resources[kind]["spec"]["template"]["spec"]
    container = get_container(resources[kind])
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert "memory" in container["resources"]["limits"]


def test_checkpoints_are_where_every_pod_finds_them() -> None:
    settings = tomllib.loads((FOLDER / "gatecast.toml").read_text(encoding="utf-8"))
    assert settings["checkpoints"]["url"].startswith("s3://")


def test_files_follow_the_schemas_of_kubernetes() -> None:
    if (tool := shutil.which("kubectl-validate")) is None:
        pytest.skip("no kubectl-validate in the PATH: go install sigs.k8s.io/kubectl-validate@latest")
    files = [path for path in sorted(FOLDER.glob("*.yaml")) if path.name not in FOREIGN]
    done = subprocess.run([tool, *map(str, files)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def get_container(resource: dict[str, Any]) -> dict[str, Any]:
    container: dict[str, Any] = resource["spec"]["template"]["spec"]["containers"][0]
    return container
