"""A stack of docker-compose.yml under test, and what is asked of it: by Compose, its ports and Prometheus.

Nothing but the standard library, so that it runs where gatecast is not installed.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from secrets import token_urlsafe
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PROJECT = "gatecast-test"
PATIENCE_S = 240.0  # twice what two busy cores needed
POLL_S = 2.0

# The same plant as the demo, with faults from the first minute on, and checkpoints often enough to wait for.
SETTINGS = {
    "COMPOSE_PROFILES": "demo",
    "GATECAST_CONFIG": "demo.toml",
    "PLANT_DAY": "10m",
    "PLANT_HISTORY": "10m",
    "PLANT_CALM": "11m",
    "PLANT_FAULTS_PER_HOUR": "600",
    **{f"{name}_PORT": "0" for name in ("KAFKA", "PROMETHEUS", "ALERTMANAGER", "GRAFANA", "MAILPIT")},
}


class StackError(Exception):
    """Something that was promised did not happen."""


class Stack:
    def __init__(self, services: list[str], secrets: Path) -> None:
        self.services = services
        self._environment = os.environ | SETTINGS | {"GATECAST_SECRETS_FOLDER": str(secrets)}

    def compose(self, *arguments: str, check: bool = True) -> str:
        command = ["docker", "compose", "--project-name", PROJECT, "--ansi", "never", "--progress", "quiet"]
        done = subprocess.run(
            [*command, *arguments],
            cwd=ROOT,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if check and done.returncode:
            raise StackError(
                f"docker compose {' '.join(arguments)} ended with {done.returncode}:\n{done.stderr}"
            )
        return done.stdout

    def up(self, workers: int, without: str = "") -> None:
        """Returns when all that has a health check is healthy, and the rest runs."""
        services = [name for name in self.services if name != without]
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                self.compose("up", "--detach", "--wait", "--scale", f"worker={workers}", *services)
                return
            except StackError:  # Compose gives up at once on what a busy machine kept from answering in time
                if time.monotonic() > deadline:
                    raise
                time.sleep(POLL_S)

    def containers(self, service: str) -> list[dict[str, Any]]:
        """Name, ID and health of those that run, by name."""
        lines = self.compose("ps", "--format", "json", service, check=False).splitlines()
        return sorted((json.loads(line) for line in lines), key=lambda found: found["Name"])

    def get(self, service: str, port: int, path: str) -> Any:
        address = self.compose("port", service, str(port)).strip()
        with urllib.request.urlopen(f"http://{address}{path}", timeout=10) as answer:
            return json.loads(answer.read())

    def query(self, expression: str) -> dict[str, float]:
        """Of Prometheus: value by the instance's address, or by nothing."""
        path = "/api/v1/query?query=" + urllib.parse.quote(expression)
        result = self.get("prometheus", 9090, path)["data"]["result"]
        return {row["metric"].get("instance", ""): float(row["value"][1]) for row in result}


def find_spread(stack: Stack, workers: int) -> dict[str, float] | None:
    """Partitions by instance once so many workers are up and have all of them between them."""
    spread = stack.query("gatecast_partitions_assigned and on (instance) up == 1")
    total = max(stack.query("gatecast_topic_partitions").values(), default=0)
    is_whole = len(spread) == workers and all(spread.values()) and sum(spread.values()) == total
    return spread if is_whole else None


def count_learnt(stack: Stack) -> dict[str, int]:
    """Readings learnt by series, which are in the checkpoints; counters of Prometheus begin anew."""
    counts = {}
    for worker in stack.containers("worker"):
        for partition in ask_worker(worker, "/api/v1/series")["partitions"]:
            for series in partition["series"]:
                found = ask_worker(worker, "/api/v1/series?id=" + urllib.parse.quote(series, safe=""))
                counts[series] = found["readings_learned"]
    return counts


def find_mail(stack: Stack) -> tuple[str, str] | None:
    """Subject and series of a mail about a sensor that the plant says has a fault."""
    labels = json.loads(stack.compose("exec", "plant", "cat", "/tmp/labels.json"))
    faulty = {fault["series"] for fault in labels["faults"]}
    for brief in stack.get("mailpit", 8025, "/api/v1/messages")["messages"]:
        text = stack.get("mailpit", 8025, f"/api/v1/message/{brief['ID']}")["Text"]
        if named := [series for series in faulty if series in text]:
            return brief["Subject"], named[0]
    return None


def find_growth(stack: Stack, before: dict[str, int]) -> int | None:
    """Readings learnt since, once all series are there and have ten more each on average."""
    now = count_learnt(stack)
    grown = sum(now.values()) - sum(before.values())
    return grown if now.keys() >= before.keys() and grown > 10 * len(before) else None


def find_rest(stack: Stack) -> dict[str, int] | None:
    """What is learnt, once that does not change any more."""
    if (first := count_learnt(stack)) and not any(stack.query("gatecast_consumer_lag_records").values()):
        time.sleep(5)
        return first if count_learnt(stack) == first else None
    return None


def ask_worker(worker: dict[str, Any], path: str) -> Any:
    published = next(one for one in worker["Publishers"] if one["TargetPort"] == 8000)
    with urllib.request.urlopen(f"http://127.0.0.1:{published['PublishedPort']}{path}", timeout=10) as answer:
        return json.loads(answer.read())


def wait_for(what: str, find: Callable[[], Any], patience_s: float = PATIENCE_S) -> Any:
    """What `find` returns once that is true. Raises StackError after `patience_s`."""
    deadline = time.monotonic() + patience_s
    why = ""
    while time.monotonic() < deadline:
        try:
            if found := find():
                return found
        except (OSError, KeyError, StopIteration, StackError) as error:  # not there yet, or just gone
            why = f" ({error})"
        time.sleep(POLL_S)
    raise StackError(f"expected {what} within {patience_s:.0f} s{why}")


def find_obstacle() -> str | None:
    """Why the stack can't be run here, with the way out."""
    try:
        done = subprocess.run(["docker", "compose", "version"], capture_output=True, text=True, check=False)
        if done.returncode:
            return "no Compose v2: install Docker's compose plugin"
        if subprocess.run(["docker", "info"], capture_output=True, check=False).returncode:
            return "Docker's daemon does not answer: start it"
    except FileNotFoundError:
        return "no docker in the PATH"
    missing = [name for name in list_images() if not has_image(name)]
    if missing := [name for name in missing if not name.startswith("grafana/")]:
        return (
            f"no image {', '.join(missing)}: `docker compose --profile demo pull --ignore-buildable` and "
            "`docker compose build worker` fetch and build them, or deploy/airgap/build.sh"
        )
    return None


def list_images() -> list[str]:
    command = ["docker", "compose", "--profile", "demo", "config", "--images"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return sorted(set(done.stdout.split()))


def has_image(name: str) -> bool:
    command = ["docker", "image", "inspect", name]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def make_secrets(folder: Path) -> Path:
    """Passwords of this run alone, where deploy/setup.sh puts those of an installation."""
    password = folder / "grafana_admin_password"
    password.write_text(token_urlsafe(18), encoding="utf-8")
    password.chmod(0o444)
    (folder / "alertmanager").mkdir(mode=0o755)
    return folder
