"""The worker as one value, from shards that were stepped by hand."""

from __future__ import annotations

import json
import threading

import pytest

from forecasters.sentence import sentence
from pipeline.live.overview import NOTHING_TO_COMPARE, Overview

SERIES = ("boiler/1", "boiler/2", "pump")


@pytest.fixture
def overview(stage):
    return Overview(stage.view, stage.readiness, horizon=4, champion="lstm", now=stage.now)


def ask(stage, overview):
    """Somebody asks, the runner takes a snapshot at its next turn, and they ask again."""
    overview.describe()
    stage.look()
    return overview.describe()


def test_before_the_first_turn_of_the_runner_nobody_waits(overview):
    found = overview.describe()
    assert found["worker"]["series"] == 0
    assert found["sentence"] == sentence(None)
    assert (found["lag"], found["last_reading"], found["comparison"]) == (None, None, [])


def test_obstacles_are_told(stage, overview):
    stage.readiness.hinder("broker away")
    assert (overview.describe()["ready"], overview.describe()["obstacles"]) == (False, ["broker away"])


def test_numbers_of_a_worker(stage, overview):
    stage.look()
    stage.step(SERIES, 9)
    stage.step(SERIES[:2], 31)
    found = ask(stage, overview)
    assert found["worker"] == {
        "topic": "plant",
        "partitions": [0],
        "num_partitions": 2,
        "series": 3,
        "states": {"cold": 0, "warming": 1, "live": 2, "stale": 0, "retired": 0},
    }
    assert (found["lag"], found["steps"], found["champion"]) == (3, [1, 2, 4], "lstm")
    assert found["last_reading"] - found["time"] == -1000
    assert [each["name"] for each in found["forecasters"]] == ["naive", "rnn", "lstm"]
    naive, _, lstm = found["forecasters"]
    assert (naive["recurrent"], lstm["recurrent"]) == (False, True)
    assert lstm["parameters"] > 100
    assert lstm["seconds_per_reading"] > 0
    assert naive["steps"]["1"]["skill"] == 0.0
    assert naive["steps"]["1"]["mae"] > 0
    assert 0.5 < lstm["steps"]["4"]["coverage"] <= 1.0
    assert sum(each["won"] for each in found["forecasters"]) == pytest.approx(1.0)
    pair = next(row for row in found["comparison"] if (row["a"], row["b"], row["step"]) == ("lstm", "rnn", 1))
    assert pair["verdict"] == "undecided"
    assert pair["needs"] > 0
    json.dumps(found)


def test_rate_is_over_the_last_seconds_and_counts_no_shard_as_new_readings(stage, overview):
    stage.step(SERIES, 10)
    stage.look()
    stage.step(SERIES, 10)
    stage.look(2.0)
    stage.assign(1)  # brings 30 readings from its checkpoint
    stage.step(SERIES, 10, partition=1)
    stage.look(1.0)
    assert ask(stage, overview)["readings_per_second"] == pytest.approx(30 / 4)


def test_shards_are_pooled_as_replications(stage, overview):
    stage.assign(1)
    for _ in range(60):
        stage.step(SERIES)
        stage.made -= 1
        stage.step(("kiln",), partition=1)
    found = ask(stage, overview)
    assert found["worker"]["partitions"] == [0, 1]
    assert found["worker"]["series"] == 4
    assert "4 sensors" in found["sentence"]
    assert "of 2 shards" in found["sentence"]


def test_one_network_has_nothing_to_be_compared_with(stage, overview, monkeypatch):
    stage.holdings.clear()
    holding = stage.assign(0)
    monkeypatch.setattr(holding.shard.bank, "_comparison", None)
    assert ask(stage, overview)["sentence"] == NOTHING_TO_COMPARE


def test_alerts_are_those_sent_and_those_that_fire_since_before(stage, overview):
    stage.step(SERIES, 12)
    stage.step(SERIES[:1], 3, fault=2)
    found = ask(stage, overview)["alerts"]
    assert [(one["kind"], one["state"], one["series"]) for one in found] == [
        ("bad_quality", "firing", "boiler/1")
    ]
    stage.view._alerts.clear()  # as after a restart
    assert [one["id"] for one in overview.describe()["alerts"]] == [found[0]["id"]]


def test_a_snapshot_is_taken_only_while_somebody_asks(stage):
    stage.look()
    assert stage.view.snapshot() is None
    stage.look()
    first = stage.view.snapshot()
    assert first is not None
    stage.look(0.5)
    assert stage.view.snapshot() is first
    stage.look(0.6)
    newer = stage.view.snapshot()
    assert newer is not first
    stage.look(60.0)
    stage.look(1.0)
    assert stage.view._snapshot is newer


def test_who_asks_first_waits_for_the_next_turn(stage):
    stage.step(SERIES, 5)
    stage.look()
    found = []
    asking = threading.Thread(target=lambda: found.append(stage.view.snapshot()))
    asking.start()
    while stage.view._asked_s < 0:
        pass
    stage.look(0.01)
    asking.join(10)
    assert [len(shard.survey.ids) for shard in found[0].shards] == [3]
