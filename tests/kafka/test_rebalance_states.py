"""Three workers, twelve partitions; one joins, one leaves, one is killed: the states are those of one worker.

The time without forecasts is printed (`pytest -s`), for partitions that moved and for those that did not.
"""

from __future__ import annotations

import json
import re
import signal
import threading
import time
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from statistics import median

import pytest
from kafka import KafkaProducer

from tests.kafka.plants import Deployment, MakeTopic, build_plant, check_equal, deploy, read_topic
from tests.kafka.processes import WorkerProcess, run_workers

PARTITIONS = 12
PERIOD_S = 0.5
SESSION_S = 6.0
LONGEST_S = 30.0  # far more than it takes; a stall would last until somebody restarts the worker


@pytest.mark.slow
def test_states_survive_rebalances(
    bootstrap: str, make_topic: MakeTopic, producer: KafkaProducer, tmp_path: Path
) -> None:
    plant = build_plant(producer, make_topic, partitions=PARTITIONS, series=2)
    group, truth = (deploy(bootstrap, make_topic, plant.topic, name, tmp_path) for name in ("group", "truth"))
    settings = group.settings(kafka__session_timeout_ms=str(int(SESSION_S * 1000)))
    events: list[tuple[str, float]] = []
    is_over = threading.Event()

    def feed() -> None:
        while not is_over.is_set():
            plant.run(1, PERIOD_S)

    feeding = threading.Thread(target=feed)
    with run_workers(tmp_path) as workers:
        members = [workers.start_doomed(settings) for _ in range(3)]
        for member in members:
            member.wait_for("reads on at offset", 4)
        feeding.start()
        try:
            wait_for_all(group, time.time())
            events.append(("one joins", time.time()))
            members.append(workers.start_doomed(settings))
            members[-1].wait_for("reads on at offset", 3)
            wait_for_all(group, time.time())
            events.append(("one leaves", time.time()))
            members[0].stop()
            wait_for_all(group, time.time())
            events.append(("one is killed", time.time()))
            members[1].send(signal.SIGKILL)
            wait_for_all(group, time.time() + SESSION_S)
            events.append(("the end", time.time()))
        finally:
            is_over.set()
            feeding.join()
        group.wait_until_committed(plant)
        for member in members[2:]:
            member.stop()
        truth.finish(workers, truth.settings(), plant)
    check_equal(plant, group, truth)
    print()
    for (event, begin_s), (_, end_s) in pairwise(events):
        moved, retained = find_gaps(group, members, begin_s, end_s)
        print(f"{event}: without forecasts: moved {describe(moved)}, retained {describe(retained)}")
        assert moved
        assert max(moved + retained) < LONGEST_S, event


def wait_for_all(group: Deployment, since_s: float) -> None:
    """Until each partition has forecasts that were sent since then."""
    deadline = time.monotonic() + 2 * LONGEST_S
    while len(said := {p for p, at_s in read_forecast_times(group) if at_s >= since_s}) < PARTITIONS:
        assert time.monotonic() < deadline, f"forecasts from {sorted(said)} only"
        time.sleep(0.5)


def find_gaps(
    group: Deployment, members: list[WorkerProcess], begin_s: float, end_s: float
) -> tuple[list[float], list[float]]:
    """The longest time without a forecast between the two, of each partition: moved ones, retained ones."""
    moved = {
        int(found[1])
        for member in members
        for line in member.lines()
        if begin_s <= line.time_s < end_s and (found := re.search(r"/(\d+) reads on at", line.message))
    }
    times = defaultdict(list)
    for partition, at_s in read_forecast_times(group):
        if begin_s <= at_s < end_s:
            times[partition].append(at_s)
    gaps = {
        partition: max(b - a for a, b in zip([begin_s, *found], [*found, end_s], strict=True))
        for partition, found in times.items()
    }
    assert len(gaps) == PARTITIONS
    return [gaps[p] for p in sorted(moved)], [gaps[p] for p in sorted(gaps.keys() - moved)]


def read_forecast_times(group: Deployment) -> list[tuple[int, float]]:
    """Partition that a forecast is of, and when it was sent."""
    return [
        (int(json.loads(value)["series"].partition("/")[0][1:]), at_s)
        for at_s, value in read_topic(group.bootstrap, group.forecasts_topic)
    ]


def describe(gaps: list[float]) -> str:
    if not gaps:
        return "none"
    return f"{len(gaps)}: median {median(gaps):.1f} s, longest {max(gaps):.1f} s"
