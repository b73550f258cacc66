"""Workers that are killed at any place: what they leave behind equals what an uninterrupted one does."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest
from kafka import KafkaProducer

from tests.kafka.plants import MakeTopic, build_plant, check_equal, deploy
from tests.kafka.processes import run_workers

KILLED = -signal.SIGKILL
LIVES = (
    ("before the fresh commit", 2),
    ("after the fresh commit", 3),
    ("learnt", 40),
    ("in the state", 1),
    ("in the manifest", 1),
    ("written", 1),
    ("before the commit", 1),
    ("after the commit", 1),
    ("sent", 60),
    ("loaded", 1),
    ("in the state", 3),
    ("in the manifest", 2),
    ("written", 3),
    ("before the commit", 1),
    ("after the commit", 1),
    ("pruned", 2),
)
"""Places where a worker on its own dies, one life after the other."""
RANDOM_LIVES = 6
REBALANCES = ("frozen", "written", "before handing over", "after handing over", "dropped")
"""Where a worker dies while it hands partitions to one that has just come."""


@pytest.mark.slow
def test_killed_anywhere(
    bootstrap: str, make_topic: MakeTopic, producer: KafkaProducer, tmp_path: Path
) -> None:
    plant = build_plant(producer, make_topic, partitions=3, series=5)
    killed, truth = (
        deploy(bootstrap, make_topic, plant.topic, name, tmp_path) for name in ("killed", "truth")
    )
    # A static member takes its own place again at once; one that comes anew waits for the session to end.
    settings = killed.settings(kafka__instance_id="the-one")
    chance = random.Random(1)
    with run_workers(tmp_path) as workers:
        for place, count in LIVES:
            plant.run(25)
            worker = workers.start_doomed(settings, place, count)
            assert worker.wait(60.0) == KILLED, f"{place}: {worker.describe()}"
        for _ in range(RANDOM_LIVES):
            plant.run(25)
            worker = workers.start_doomed(settings, "never")
            worker.wait_for("reads on at offset")
            time.sleep(chance.uniform(0.0, 1.5))
            worker.send(signal.SIGKILL)
            assert worker.wait(10.0) == KILLED
        killed.finish(workers, settings, plant)
        truth.finish(workers, truth.settings(), plant)
    assert truth.read_alerts()
    check_equal(plant, killed, truth)


@pytest.mark.slow
def test_killed_during_a_rebalance(
    bootstrap: str, make_topic: MakeTopic, producer: KafkaProducer, tmp_path: Path
) -> None:
    plant = build_plant(producer, make_topic, partitions=4, series=4)
    killed, truth = (
        deploy(bootstrap, make_topic, plant.topic, name, tmp_path) for name in ("killed", "truth")
    )
    settings = killed.settings(kafka__session_timeout_ms="6000", checkpoints__interval_s="3600")
    with run_workers(tmp_path) as workers:
        worker = workers.start_doomed(settings, REBALANCES[0])
        for place in [*REBALANCES[1:], "never"]:
            plant.run(25)
            killed.wait_until_forecast(plant)  # so that each partition has something to write
            heir = workers.start_doomed(settings, place)
            assert worker.wait(60.0) == KILLED, f"{place}: {worker.describe()}"
            worker = heir
        worker.wait_for("reads on at offset", 4)
        worker.stop()
        killed.finish(workers, killed.settings(), plant)
        truth.finish(workers, truth.settings(), plant)
    check_equal(plant, killed, truth)
