"""docker-compose.yml and deploy/gpu.yml: valid, and as careful as deploy/README.md says. Needs no Docker."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "docker-compose.yml"
GPU = ROOT / "deploy" / "gpu.yml"
ONE_SHOT = {"topics"}
UNASKED = {"topics", "plant"}  # have no port to ask


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    return yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]


@pytest.mark.parametrize("path", [COMPOSE, GPU], ids=lambda path: path.name)
def test_files_follow_the_compose_specification(path: Path) -> None:
    check_schema(path)


def test_the_gpu_file_adds_to_the_worker_and_leaves_the_rest_alone(tmp_path: Path) -> None:
    base, override = (yaml.safe_load(path.read_text(encoding="utf-8")) for path in (COMPOSE, GPU))
    merged = merge(base, override)
    path = tmp_path / "docker-compose.yml"
    path.write_text(yaml.safe_dump(merged), encoding="utf-8")
    check_schema(path)
    worker, before = merged["services"].pop("worker"), base["services"].pop("worker")
    assert worker["deploy"]["resources"]["reservations"]["devices"][0]["capabilities"] == ["gpu"]
    assert worker["deploy"]["resources"]["limits"] == before["deploy"]["resources"]["limits"]
    assert worker["build"]["target"] == "cuda"
    assert worker["build"]["args"].keys() > before["build"]["args"].keys()
    assert worker["environment"].keys() > before["environment"].keys()
    assert merged == base


def test_nothing_runs_with_rights_that_it_does_not_need(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        user = service["user"].split(":")[0]
        assert re.fullmatch(r"[1-9]\d*", user), f"{name} runs as {user}"
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert not {"cap_add", "privileged", "network_mode", "pid", "ipc"} & service.keys(), name
        assert not any("docker.sock" in str(volume) for volume in service.get("volumes", [])), name
        for volume in service.get("volumes", []):
            source = volume.split(":")[0] if not volume.startswith("$") else "."
            assert not source.startswith(".") or volume.endswith(":ro"), f"{name}: {volume} can be written"


def test_ports_are_bound_to_this_machine_unless_told_otherwise(services: dict[str, dict[str, Any]]) -> None:
    ports = [(name, port) for name, service in services.items() for port in service.get("ports", [])]
    assert len(ports) >= 6
    for name, port in ports:
        assert port.startswith("${GATECAST_BIND:-127.0.0.1}:"), f"{name}: {port}"
    assert services["worker"]["ports"][0].endswith("::8000"), "a fixed port can't be scaled"
    assert "container_name" not in services["worker"]


def test_each_service_has_limits_a_healthcheck_a_restart_policy_and_logs_that_end(
    services: dict[str, dict[str, Any]],
) -> None:
    image_asks = {"worker"}  # HEALTHCHECK of deploy/Dockerfile
    for name, service in services.items():
        assert {"cpus", "memory", "pids"} <= service["deploy"]["resources"]["limits"].keys(), name
        assert service["restart"] == ("no" if name in ONE_SHOT else "unless-stopped"), name
        assert service["logging"]["options"].keys() == {"max-size", "max-file"}, name
        asked = name in image_asks or "test" in service.get("healthcheck", {})
        assert asked is (name not in UNASKED), name
    assert services["worker"]["stop_grace_period"] == "30s"
    for name in ("worker", "plant"):
        assert services[name]["depends_on"]["topics"]["condition"] == "service_completed_successfully"
        assert services[name]["depends_on"]["kafka"]["condition"] == "service_healthy"
    assert {name for name, service in services.items() if "profiles" in service} == {"plant", "mailpit"}


def test_images_are_pinned_and_no_secret_is_written_down(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        pinned = re.fullmatch(r"\$\{[A-Z_]+:-[\w./-]+:v?\d[\w.]*\}", service["image"])
        assert pinned, f"{name}: {service['image']} has no exact version"
        for key, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|TOKEN|KEY", key):
                assert key.endswith("_FILE"), f"{name}: {key}"
                assert value.startswith("/run/secrets/"), f"{name}: {key}"
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    assert not re.search(r"^#?\w*(PASSWORD|SECRET|TOKEN)(?!S_FOLDER)\w*=", text, re.M)


def test_every_variable_is_in_the_example_with_its_default() -> None:
    used: dict[str, str] = {}
    for path in (COMPOSE, GPU):
        used |= dict(re.findall(r"\$\{([A-Z_]+):-([^}]*)\}", path.read_text(encoding="utf-8")))
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    documented = dict(re.findall(r"^#([A-Z_]+)=(.*)$", example, re.M))
    del used["PLANT_DAY"]  # set there for the demo
    assert used == documented


def check_schema(path: Path) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def merge(base: Any, override: Any) -> Any:
    """As Compose does for what deploy/gpu.yml has: mappings are joined, texts replaced, lists appended."""
    if isinstance(base, dict) and isinstance(override, dict):
        joined = dict(base)
        for key, value in override.items():
            joined[key] = merge(base[key], value) if key in base else value
        return joined
    if isinstance(base, list) and isinstance(override, list):
        return base + override
    return override
