"""What the page asks beside the overview: rows, the course of a series, errors over time, networks."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from pipeline.live.answers import Answers
from pipeline.live.listing import MOST_ROWS
from pipeline.ports import QuestionError
from tests.unit.live.conftest import START_MS, STEP_MS

SERIES = ("boiler/1", "boiler/2", "Ofen/Süd", "<b>&\"'")


@pytest.fixture
def answers(stage):
    return Answers(SimpleNamespace(holdings=stage.holdings), stage.view, champion="lstm")


@pytest.fixture
def rows(stage, answers):
    """Rows of a page, as the newest snapshot has them."""

    def ask(**given):
        stage.view.snapshot()
        stage.look(2.0)
        return answers.list_series({"limit": "100", **given})

    return ask


def names(answer):
    return [row["series"] for row in answer["rows"]]


def test_without_parameters_there_are_the_ids_by_partition(stage, answers):
    stage.step(SERIES, 2)
    (partition,) = answers.list_series({})["partitions"]
    assert partition["series"] == sorted(SERIES)
    assert partition["states"]["warming"] == 4


def test_before_the_first_snapshot_there_are_no_rows(answers):
    assert answers.list_series({"limit": "5"}) == {
        "version": 1, "total": 0, "found": 0, "offset": 0, "rows": [],
    }  # fmt: skip


def test_worst_first_alerts_before_all(stage, rows):
    def value(row, k):  # each further row is harder to forecast, in units of its own changes
        return float(k % 2) if row == 0 else float(np.sin(0.1 * k * k * row))

    stage.step(SERIES, 30, value=value)
    found = rows()
    errors = [row["error"] for row in found["rows"]]
    assert errors == sorted(errors, reverse=True)
    assert (found["total"], found["found"]) == (4, 4)
    assert all(row["skill"] < 1 for row in found["rows"])
    best = names(found)[-1]
    stage.step((best,), 2, fault=2)
    found = rows()
    assert names(found)[0] == best
    assert found["rows"][0]["firing"] == ["bad_quality"]
    assert names(rows(state="alert")) == [best]


def test_search_is_in_ids_and_names_whatever_the_case(stage, rows):
    stage.step(SERIES, 2)
    assert sorted(names(rows(search="BOILER"))) == ["boiler/1", "boiler/2"]
    assert names(rows(search="name of ofen/sÜd")) == ["Ofen/Süd"]
    assert names(rows(search='<b>&"')) == ["<b>&\"'"]
    assert names(rows(search="nowhere")) == []


def test_states_and_what_they_need(stage, rows):
    stage.step(SERIES[:1], 12)
    stage.step(SERIES[1:2], 3)
    assert names(rows(state="live")) == ["boiler/1"]
    (warming,) = rows(state="warming")["rows"]
    assert (warming["series"], warming["needed"], warming["unit"]) == ("boiler/2", 7, "°C")


def test_pages_by_name(stage, rows):
    series = tuple(f"s{n:02d}" for n in range(30))
    stage.step(series, 1)
    found = rows(order="name", offset="10", limit="3")
    assert (found["found"], found["offset"], names(found)) == (30, 10, ["s10", "s11", "s12"])


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (
            {"state": "happy"},
            "state: expected one of alert, cold, warming, live, stale, retired, got 'happy'",
        ),
        ({"order": "random"}, "order: expected one of worst, name, got 'random'"),
        ({"limit": "501"}, f"limit: expected a whole number from 0 to {MOST_ROWS}, got '501'"),
        ({"offset": "-1"}, "offset: expected a whole number from 0 to 1000000000, got '-1'"),
        ({"step": "x"}, "step: expected a whole number from 1 to 1000000, got 'x'"),
        ({"limit": "9" * 5000}, f"limit: expected a whole number from 0 to {MOST_ROWS}, got '999"),
    ],
)
def test_a_question_that_makes_no_sense_is_told_so(answers, given, says):
    with pytest.raises(QuestionError) as raised:
        answers.list_series(given)
    assert str(raised.value).startswith(says)


def test_course_of_a_series(stage, answers):
    stage.step(SERIES, 14)
    found = answers.describe_series("boiler/2", {"step": "2"})
    assert (found["state"], found["readings_needed"], found["unit"]) == ("live", 0, "°C")
    history = found["history"]
    assert history["newest"] == START_MS + 13 * STEP_MS
    assert len(history["time"]) == len(history["value"]) == 16
    assert history["value"][-2:] == [None, None]
    assert set(history["forecasts"]) == {"rnn", "lstm"}
    lstm = history["forecasts"]["lstm"]
    assert lstm["mean"][:2] == [None, None]
    assert all(
        low <= mean <= high
        for low, mean, high in zip(lstm["lower"][2:], lstm["mean"][2:], lstm["upper"][2:], strict=True)
    )
    said = zip(lstm["mean"][2:14], history["value"][2:14], strict=True)
    assert history["errors"]["lstm"] == pytest.approx(np.mean([abs(m - v) for m, v in said]), rel=1e-4)
    json.dumps(found, allow_nan=False)


def test_course_is_sent_again_only_with_a_new_reading(stage, answers):
    stage.step(SERIES, 14)
    newest = answers.describe_series("boiler/2", {"step": "2"})["history"]["newest"]
    given = {"step": "2", "after": str(newest)}
    assert answers.describe_series("boiler/2", given)["history"] is None
    stage.step(SERIES, 1)
    assert answers.describe_series("boiler/2", given)["history"]["newest"] == newest + STEP_MS


def test_without_a_step_there_is_what_is_known_and_nothing_is_followed(stage, answers):
    stage.step(SERIES, 3)
    found = answers.describe_series("boiler/1", {})
    assert "history" not in found
    assert found["mode"] == "sampled"
    assert answers.describe_series("pump", {}) is None
    with pytest.raises(QuestionError, match="step: expected one of 1, 2, 4, got 3"):
        answers.describe_series("boiler/1", {"step": "3"})
    with pytest.raises(QuestionError, match="after: expected a whole number, got 'soon'"):
        answers.describe_series("boiler/1", {"step": "1", "after": "soon"})


def test_errors_over_time_are_means_of_all_shards(stage, answers):
    assert answers.describe_errors({"step": "2"})["time"] == []
    stage.assign(1)
    for _ in range(150):
        stage.step(SERIES[:2])
        stage.made -= 1
        stage.step(("kiln",), partition=1)
    stage.view.snapshot()
    stage.look(2.0)
    found = answers.describe_errors({"step": "2"})
    assert set(found["errors"]) == {"naive", "rnn", "lstm"}
    assert 60 <= len(found["time"]) <= 120
    assert all(len(each) == len(found["time"]) for each in found["errors"].values())
    assert min(found["errors"]["naive"]) > 0
    assert (np.diff(found["time"]) > 0).all()
    assert START_MS + 140 * STEP_MS <= found["time"][-1] <= START_MS + 150 * STEP_MS
    with pytest.raises(QuestionError, match="step: expected one of 1, 2, 3, 4, got 9"):
        answers.describe_errors({"step": "9"})


def test_networks_tell_their_reach_training_and_cost(stage, answers, monkeypatch):
    monkeypatch.setattr("pipeline.live.networks.WAIT_S", 0.01)
    assert answers.describe_networks()["reach"] == {}
    stage.look()
    stage.step(SERIES, 60)
    stage.clock_s += 60.0
    answers.describe_networks()
    stage.look(1.0)
    found = answers.describe_networks()
    assert found["needed"] == 12  # horizon and two chunks
    for name in ("rnn", "lstm"):
        reach = found["reach"][name]
        assert len(reach["inputs"]) == 8
        assert reach["inputs"][0] == 1.0
        assert reach["series"] == 4
        assert found["training"][name]["applied"] + found["training"][name]["clipped"] > 0
        assert found["training"][name]["norm"] > 0
        assert found["cost"][name]["seconds_per_reading"] > 0
        assert found["cost"][name]["bytes_per_series"] > 0
    first = found["masked"][0]
    assert (first["masked_to"], first["step"]) == (0.01, 1)
    assert first["targets"] > 0
    assert first["error"]["lstm"] > 0
