"""Workers that sleep for longer than their session: what they wake up with never becomes the truth."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from kafka import KafkaProducer

from tests.kafka.plants import MakeTopic, build_plant, check_equal, deploy
from tests.kafka.processes import run_workers

ALONE = {"learning": "learnt", "committing": "before the commit"}
"""Where a worker falls asleep, with partitions that nobody asks for."""
ASKED = {"joining": "joined", "handing": "before handing over"}
"""Where it does while another one has come and waits for some of them."""


@pytest.mark.slow
def test_sleeper_is_never_the_truth(
    bootstrap: str, make_topic: MakeTopic, producer: KafkaProducer, tmp_path: Path
) -> None:
    """All of them at the same time, each in a group of its own, because each waits for its session to end."""
    plant = build_plant(producer, make_topic, partitions=3, series=4)
    groups = {name: deploy(bootstrap, make_topic, plant.topic, name, tmp_path) for name in [*ALONE, *ASKED]}
    truth = deploy(bootstrap, make_topic, plant.topic, "truth", tmp_path)
    short, never = {"kafka__session_timeout_ms": "6000"}, {"checkpoints__interval_s": "3600"}
    sleepers, heirs = {}, {}
    with run_workers(tmp_path) as workers:
        plant.run(25)
        for name, place in (ALONE | ASKED).items():
            # Whoever is asked to hand over still has something to write then.
            settings = groups[name].settings(**short, **(never if name in ASKED else {}))
            count = 20 if name == "learning" else 1
            sleepers[name] = workers.start_doomed(settings, place, count, signal.SIGSTOP)
        for name in ASKED:
            sleepers[name].wait_for("reads on at offset", 3)
        plant.run(5)
        for name, group in groups.items():
            heirs[name] = workers.start_doomed(group.settings(**short))
            sleepers[name].wait_until_asleep()
        plant.run(20)
        for name, group in groups.items():
            heirs[name].wait_for("reads on at offset", 3)
            group.wait_until_committed(plant)
        for sleeper in sleepers.values():
            sleeper.send(signal.SIGCONT)
        for sleeper in sleepers.values():
            lost = sleeper.wait_for("the group has expelled this worker")
            sleeper.wait_for("reads on at offset", since_s=lost.time_s)  # a worker like any other again
        for name, group in groups.items():
            assert group.read_committed() == dict(plant.messages), name
        plant.run(20)
        for name, group in groups.items():
            sleepers[name].stop()
            group.wait_until_committed(plant)
            heirs[name].stop()
        truth.finish(workers, truth.settings(), plant)
    for group in groups.values():
        check_equal(plant, group, truth)
