"""`make compose-test`: the stack of docker-compose.yml brought up for real, and what deploy/README.md promises of it.

    python3 tests/stack/compose_run.py [--keep] [--with-grafana]

Needs Docker with Compose v2 and the images (`docker compose build`, `docker compose pull`, or deploy/airgap); where
these are missing it says so and ends with 0, or with 1 if GATECAST_REQUIRE names docker. Nothing but the standard
library, so that it runs where gatecast is not installed. The stack is a project of its own (`gatecast-test`), with
its own volumes, on ports that Docker picks; it is taken away at the end unless --keep is given.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from secrets import token_urlsafe
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PROJECT = "gatecast-test"
SESSION_S = 45  # kafka.session_timeout_ms: after so long a killed worker's partitions go to others
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


class Failure(Exception):
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
            raise Failure(
                f"docker compose {' '.join(arguments)} ended with {done.returncode}:\n{done.stderr}"
            )
        return done.stdout

    def up(self, workers: int, without: str = "") -> None:
        """Returns when all that has a health check is healthy, and the rest runs."""
        services = [name for name in self.services if name != without]
        self.compose("up", "--detach", "--wait", "--scale", f"worker={workers}", *services)

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


def main() -> int:
    parser = argparse.ArgumentParser(description="Bring the stack up and try what it promises.")
    parser.add_argument("--keep", action="store_true", help="leave it running at the end")
    parser.add_argument("--with-grafana", action="store_true", help="fail without Grafana's image")
    options = parser.parse_args()
    if obstacle := find_obstacle():
        print(f"compose-test: SKIPPED: {obstacle}")
        return 1 if "docker" in os.environ.get("GATECAST_REQUIRE", "").split(",") else 0
    services = ["kafka", "topics", "worker", "plant", "prometheus", "alertmanager", "mailpit"]
    if options.with_grafana or has_image("grafana/"):
        services.append("grafana")
    else:
        print("grafana is left out: its image is not here (--with-grafana asks for it)")
    with tempfile.TemporaryDirectory() as folder:
        secrets = make_secrets(Path(folder))
        stack = Stack(services, secrets)
        try:
            for step in STEPS:
                run_step(step, stack)
        except Failure as failure:
            print(f"FAILED  {failure}")
            print(stack.compose("ps", "--all", check=False))
            print(stack.compose("logs", "--tail", "20", "worker", "topics", "kafka", check=False))
            return 1
        finally:
            if not options.keep:
                stack.compose("down", "--volumes", "--timeout", "30", check=False)
    print(f"{len(STEPS)} passed, 0 failed")
    return 0


def run_step(step: Callable[[Stack], str], stack: Stack) -> None:
    began = time.monotonic()
    said = step(stack)
    print(f"ok  {step.__doc__ or ''} ({time.monotonic() - began:.0f} s)\n    {said}", flush=True)


def come_up(stack: Stack) -> str:
    """everything is healthy"""
    stack.up(workers=1)
    states = {name: [c["Health"] or c["State"] for c in stack.containers(name)] for name in stack.services}
    states.pop("topics")
    bad = {name: found for name, found in states.items() if found not in (["healthy"], ["running"])}
    if bad:
        raise Failure(f"expected all services healthy, found {bad}")
    return ", ".join(f"{name} {found[0]}" for name, found in states.items())


def forecast(stack: Stack) -> str:
    """the plant's readings become forecasts, and Prometheus has them"""
    scored = wait_for(
        "forecasts scored in Prometheus",
        lambda: (
            stack.query('sum(gatecast_forecasts_scored_total{forecaster="lstm",step="1"})').get("", 0) or None
        ),
    )
    learned = stack.query("sum(gatecast_readings_learned_total)")[""]
    topics = stack.query("sum(gatecast_partitions_assigned)")[""]
    return f"{learned:.0f} readings learnt in {topics:.0f} partitions, {scored:.0f} one-step LSTM forecasts scored"


def scrape(stack: Stack) -> str:
    """targets are up and rules are loaded"""
    targets = stack.get("prometheus", 9090, "/api/v1/targets?state=active")["data"]["activeTargets"]
    down = [target["scrapeUrl"] for target in targets if target["health"] != "up"]
    if down or not targets:
        raise Failure(f"expected all targets up, of {len(targets)} these are not: {down}")
    groups = stack.get("prometheus", 9090, "/api/v1/rules")["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    broken = [rule["name"] for rule in rules if rule.get("lastError")]
    if broken or not rules:
        raise Failure(f"expected rules without errors, of {len(rules)} these have one: {broken}")
    return f"{len(targets)} targets up, {len(rules)} rules in {len(groups)} groups"


def mail(stack: Stack) -> str:
    """a fault of the plant becomes a mail"""
    found = wait_for(
        "a mail in the mailbox",
        lambda: stack.get("mailpit", 8025, "/api/v1/messages")["messages"] or None,
        patience_s=600.0,
    )
    return f"{len(found)} mails; the newest: {found[0]['Subject']}"


def scale(stack: Stack) -> str:
    """three workers share the partitions, and all are scraped"""
    stack.up(workers=3)
    spread = wait_for("three scraped workers with partitions", lambda: find_spread(stack, 3))
    return "partitions by worker: " + ", ".join(f"{number:.0f}" for number in sorted(spread.values()))


def kill(stack: Stack) -> str:
    """one is killed: the others go on with its partitions from their checkpoints"""
    wait_for("a checkpoint of each worker", lambda: all(stack.query("gatecast_checkpoint_bytes").values()))
    victim = stack.containers("worker")[-1]
    lost = {(one["topic"], one["partition"]) for one in ask_worker(victim, "/api/v1/series")["partitions"]}
    began, since = time.monotonic(), time.time()
    # Docker takes a kill for meant: the restart policy does not bring it back.
    subprocess.run(["docker", "kill", victim["ID"]], check=True, capture_output=True)
    what = f"all partitions at two workers, which takes the group {SESSION_S} s"
    spread = wait_for(what, lambda: find_spread(stack, 2))
    took_s = time.monotonic() - began
    # The log says `TOPIC/PARTITION reads on at offset N`; a fresh start would be at 0.
    log = stack.compose("logs", "--no-color", f"--since={since:.0f}", "worker")
    found = re.findall(r"(\S+)/(\d+) reads on at offset (\d+)", log)
    offsets = {(topic, int(number)): int(offset) for topic, number, offset in found}
    if not lost or any(offsets.get(partition, 0) == 0 for partition in lost):
        raise Failure(f"expected {sorted(lost)} to go on from checkpoints, found {offsets}")
    went_on = ", ".join(f"{number} from offset {offsets[topic, number]}" for topic, number in sorted(lost))
    return f"{len(spread)} workers have all {sum(spread.values()):.0f} partitions after {took_s:.0f} s; {went_on}"


def restart_kafka(stack: Stack) -> str:
    """Kafka is restarted: everything recovers by itself"""
    stack.compose("restart", "kafka")
    before = count_learnt(stack)
    grown = wait_for("readings learnt after the restart", lambda: find_growth(stack, before))
    stack.up(workers=1)  # waits until all are healthy again
    return f"{grown} readings learnt since"


def stop_and_start(stack: Stack) -> str:
    """down and up again: learning goes on where it was, with each reading learnt once"""
    stack.compose("stop", "plant")
    before = wait_for("the end of the log", lambda: find_rest(stack))
    stack.compose("down", "--timeout", "30")
    stack.up(workers=1, without="plant")
    after = wait_for("the same counts", lambda: find_rest(stack))
    if after != before:
        raise Failure(f"expected the counts of learnt readings as before, {before}, found {after}")
    stack.up(workers=1)
    grown = wait_for("further readings", lambda: find_growth(stack, before))
    return f"{sum(before.values())} readings of {len(before)} series before and after; {grown} more since"


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
    """What `find` returns once that is true. Raises Failure after `patience_s`."""
    deadline = time.monotonic() + patience_s
    why = ""
    while time.monotonic() < deadline:
        try:
            if found := find():
                return found
        except (OSError, KeyError, StopIteration) as error:  # not there yet, or just gone
            why = f" ({error})"
        time.sleep(POLL_S)
    raise Failure(f"expected {what} within {patience_s:.0f} s{why}")


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
    for name in ("grafana_admin_password",):
        (folder / name).write_text(token_urlsafe(18), encoding="utf-8")
        (folder / name).chmod(0o444)
    return folder


STEPS = (come_up, forecast, scrape, mail, scale, kill, restart_kafka, stop_and_start)

if __name__ == "__main__":
    sys.exit(main())
