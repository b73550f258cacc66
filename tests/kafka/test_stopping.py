"""SIGTERM and Ctrl-C: the worker ends soon, with all that it learnt committed, and goes on from there."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest
from kafka import KafkaProducer

from tests.kafka.plants import MakeTopic, build_plant, check_equal, deploy
from tests.kafka.processes import run_workers

END_S = 10.0


@pytest.mark.slow
def test_stopped_worker_has_committed_what_it_learnt(
    bootstrap: str, make_topic: MakeTopic, producer: KafkaProducer, tmp_path: Path
) -> None:
    plant = build_plant(producer, make_topic, partitions=3, series=4)
    stopped, truth = (
        deploy(bootstrap, make_topic, plant.topic, name, tmp_path) for name in ("stopped", "truth")
    )
    # No checkpoint but the last one, so what is repeated would be all.
    settings = stopped.settings(checkpoints__interval_s="3600")
    with run_workers(tmp_path) as workers:
        for number in (signal.SIGTERM, signal.SIGINT):
            plant.run(60)
            worker = workers.start(settings)
            worker.wait_for("reads on at offset", 3)
            before = stopped.read_committed()
            assert worker.stop(number) < END_S  # in the middle of the log, or at its end
            committed = stopped.read_committed()
            assert all(committed[partition] >= before[partition] for partition in before)
            again = workers.start_doomed(settings)
            for partition, offset in committed.items():
                line = again.wait_for(f"{plant.topic}/{partition} reads on at offset")
                assert re.search(r"offset (\d+)$", line.message)[1] == str(offset)
            stopped.wait_until_forecast(plant)
            again.stop(number)
            assert stopped.read_committed() == dict(plant.messages)
        truth.finish(workers, truth.settings(), plant)
    check_equal(plant, stopped, truth)
    assert stopped.read_forecasts() == truth.read_forecasts()  # none of them twice


@pytest.mark.slow
def test_write_that_hangs_does_not_hold_up_the_end(
    bootstrap: str, make_topic: MakeTopic, producer: KafkaProducer, tmp_path: Path
) -> None:
    plant = build_plant(producer, make_topic, partitions=3, series=4)
    hanging, truth = (
        deploy(bootstrap, make_topic, plant.topic, name, tmp_path) for name in ("hanging", "truth")
    )
    with run_workers(tmp_path) as workers:
        plant.run(20)
        worker = workers.start_doomed(hanging.settings(), "hanging")
        hanging.wait_until_forecast(plant)
        assert worker.stop() < END_S
        assert hanging.read_committed() == dict.fromkeys(range(3), 0)
        hanging.finish(workers, hanging.settings(), plant)
        truth.finish(workers, truth.settings(), plant)
    check_equal(plant, hanging, truth)
