"""`make compose-test`: the stack of docker-compose.yml brought up for real, and what is promised of it.

    python3 tests/stack/compose_run.py [--keep] [--with-grafana]

Needs Docker with Compose v2 and the images (`docker compose build` and `pull`, or deploy/airgap); where
these are missing it says so and ends with 0, or with 1 if GATECAST_REQUIRE names docker. The stack is a
project of its own (`gatecast-test`), with its own volumes, on ports that Docker picks; it is taken away at
the end unless --keep is given.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from compose_stack import (
    Stack,
    StackError,
    ask_worker,
    count_learnt,
    find_growth,
    find_obstacle,
    find_rest,
    find_spread,
    has_image,
    list_images,
    make_secrets,
    wait_for,
)

SESSION_S = 45  # kafka.session_timeout_ms: after so long a killed worker's partitions go to others


def main() -> int:
    parser = argparse.ArgumentParser(description="Bring the stack up and try what it promises.")
    parser.add_argument("--keep", action="store_true", help="leave it running at the end")
    parser.add_argument("--with-grafana", action="store_true", help="fail without Grafana's image")
    options = parser.parse_args()
    if obstacle := find_obstacle():
        print(f"compose-test: SKIPPED: {obstacle}")
        return 1 if "docker" in os.environ.get("GATECAST_REQUIRE", "").split(",") else 0
    services = ["kafka", "topics", "worker", "plant", "prometheus", "alertmanager", "mailpit"]
    if options.with_grafana or all(has_image(name) for name in list_images() if name.startswith("grafana/")):
        services.append("grafana")
    else:
        print("grafana is left out: its image is not here (--with-grafana asks for it)")
    with tempfile.TemporaryDirectory() as folder:
        secrets = make_secrets(Path(folder))
        stack = Stack(services, secrets)
        try:
            for step in STEPS:
                run_step(step, stack)
        except StackError as error:
            print(f"FAILED  {error}")
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
        raise StackError(f"expected all services healthy, found {bad}")
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
    return f"{learned:.0f} readings learnt in {topics:.0f} partitions, {scored:.0f} LSTM forecasts scored"


def scrape(stack: Stack) -> str:
    """targets are up and rules are loaded"""
    targets = stack.get("prometheus", 9090, "/api/v1/targets?state=active")["data"]["activeTargets"]
    down = [target["scrapeUrl"] for target in targets if target["health"] != "up"]
    if down or not targets:
        raise StackError(f"expected all targets up, of {len(targets)} these are not: {down}")
    groups = stack.get("prometheus", 9090, "/api/v1/rules")["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    broken = [rule["name"] for rule in rules if rule.get("lastError")]
    if broken or not rules:
        raise StackError(f"expected rules without errors, of {len(rules)} these have one: {broken}")
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
        raise StackError(f"expected {sorted(lost)} to go on from checkpoints, found {offsets}")
    went_on = ", ".join(f"{number} from offset {offsets[topic, number]}" for topic, number in sorted(lost))
    total = sum(spread.values())
    return f"{len(spread)} workers have all {total:.0f} partitions after {took_s:.0f} s; {went_on}"


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
        raise StackError(f"expected the counts of learnt readings as before, {before}, found {after}")
    stack.up(workers=1)
    grown = wait_for("further readings", lambda: find_growth(stack, before))
    return f"{sum(before.values())} readings of {len(before)} series before and after; {grown} more since"


STEPS = (come_up, forecast, scrape, mail, scale, kill, restart_kafka, stop_and_start)

if __name__ == "__main__":
    sys.exit(main())
