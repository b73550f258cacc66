"""The study RNN against LSTM: tasks, verdicts from figures, and the command on something small.

Letters: K steps of a chunk, R streams, F inputs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from forecasters.cells import Elman
from forecasters.network import Network
from forecasters.reach import gradient_reach
from pipeline.cli import main
from pipeline.study import command, plan
from pipeline.study.claims import FAILS, HOLDS, OPEN, join_seeds, judge, list_claims
from pipeline.study.drills import Drill, run_drill
from pipeline.study.plan import QUICK_PLANT, Source, Study
from pipeline.study.plant import make_plant, mask_share
from pipeline.study.tasks import AddingStream, RecallStream


def test_recall_asks_for_the_cue_that_came_lag_steps_before() -> None:
    stream = RecallStream(5, 7, 0)
    asked = 0
    for _ in range(6):
        lesson = stream.draw(23)
        x, target, weight = lesson.x_KRF, lesson.target_KR1, lesson.weight_KR1
        assert float(weight.sum()) == pytest.approx(1.0)
        for k, row in torch.nonzero(weight[:, :, 0] > 0).tolist():
            assert x[k, row, 2] == 1.0
            assert x[k - 5, row, 1] == 1.0
            assert x[k - 5, row, 0] == target[k, row, 0]
            assert abs(float(target[k, row, 0])) == 1.0
            asked += 1
        assert int((x[:, :, 2] > 0).sum()) == int((weight > 0).sum())
    assert asked > 6 * 7
    x, target = stream.stretch(11)
    assert (x[-1, :, 2] == 1).all()
    assert torch.equal(x[5, :, 0], target[:, 0])
    with pytest.raises(ValueError, match="expected more than the lag, which is 5, got 5"):
        stream.draw(5)


def test_adding_asks_for_the_sum_of_the_flagged() -> None:
    lesson = AddingStream(12, 9, 0).draw(12)
    total = (lesson.x_KRF[:, :, 0] * lesson.x_KRF[:, :, 1]).sum(0)
    assert (lesson.x_KRF[:, :, 1].sum(0) == 2).all()
    assert torch.allclose(lesson.target_KR1[-1, :, 0] + 1.0, total)
    assert float(lesson.weight_KR1[:-1].abs().sum()) == 0


def test_both_networks_meet_the_same_lessons() -> None:
    one, other = RecallStream(4, 3, 8), RecallStream(4, 3, 8)
    assert torch.equal(one.draw(9).x_KRF, other.draw(9).x_KRF)
    assert not torch.equal(one.draw(9).x_KRF, RecallStream(4, 3, 9).draw(9).x_KRF)


def test_a_short_lag_is_learnt_and_an_absurd_one_is_not() -> None:
    near = run_drill(Drill(task="recall", net="rnn", lag=4, chunk=16, seed=0, updates=300))
    assert near["score"] > 0.95
    assert near["updates_taken"] < 300
    assert len(near["reach"]) == 16
    assert near["reach"][0] == 1.0
    assert 0 < near["norm_median"] <= near["norm_p99"] <= near["norm_max"]
    far = run_drill(Drill(task="recall", net="rnn", lag=60, chunk=120, seed=0, updates=25))
    assert 0.2 < far["score"] < 0.8


def test_reach_of_a_drill_equals_slow_autograd() -> None:
    """One stream and one lag at a time, on torch's own layer."""
    generator = torch.Generator().manual_seed(3)
    network = Network(Elman, 3, 6, 1, 1, generator, torch.device("cpu"))
    network.head["wo"].copy_(torch.randn(6, 1, generator=generator))
    x_KRF, target_R1 = RecallStream(6, 5, 1).stretch(12)
    found = gradient_reach(network, x_KRF, target_R1)
    theirs = torch.nn.RNN(3, 6)
    with torch.no_grad():
        theirs.weight_ih_l0.copy_(network.layers[0].w["wx"].t())
        theirs.weight_hh_l0.copy_(network.layers[0].w["wh"].t())
        theirs.bias_ih_l0.copy_(network.layers[0].w["b"])
        theirs.bias_hh_l0.zero_()
    ratios = []
    for row in range(5):
        x = x_KRF[:, row : row + 1].clone().requires_grad_()
        said = theirs(x)[0][-1] @ network.head["wo"] + x[-1] @ network.head["skip"] + network.head["bo"]
        torch.nn.functional.huber_loss(said, target_R1[row : row + 1], delta=3.0).backward()
        assert x.grad is not None
        norms = x.grad[:, 0].norm(dim=1).flip(0)
        ratios.append((norms / norms[0]).numpy())
    np.testing.assert_allclose(found.inputs.numpy(), np.median(np.stack(ratios), 0), rtol=2e-4, atol=1e-7)


@pytest.mark.parametrize(
    ("gains", "verdict"),
    [
        ([0.3, 0.31, 0.29], HOLDS),
        ([-0.3, -0.31, -0.29], FAILS),
        ([0.01, -0.01, 0.0], FAILS),
        ([0.06, 0.061, 0.059], FAILS),  # sure, and immaterial
        ([0.5, -0.4, 0.3], OPEN),
        ([0.5], OPEN),
        ([], OPEN),
        ([0.5, float("nan")], OPEN),
    ],
)
def test_verdicts_follow_from_the_interval(gains: list[float], verdict: str) -> None:
    assert judge(gains, 0.1)[0] == verdict


def test_seeds_on_one_history_are_no_independent_evidence_of_time() -> None:
    pairs = [{"difference": -0.05, "half_width": 0.03} for _ in range(50)]
    difference, half, verdict = join_seeds(pairs)
    assert (round(difference, 6), round(half, 6), verdict) == (-0.05, 0.03, "better")
    assert join_seeds([{"difference": 0.0, "half_width": None}])[2] == "undecided"


def drill(net: str, lag: int, seed: int, score: float, **more: float) -> dict[str, Any]:
    figures = {"reach_at_lag": 1.0, "norm_median": 1.0, "norm_p99": 2.0, "norm_max": 3.0}
    return {"task": "recall", "net": net, "lag": lag, "seed": seed, "score": score, "clipped": 0.0,
            "skipped": 0.0, **figures, **more}  # fmt: skip


def test_claims_turn_with_the_figures() -> None:
    """The same study with the networks' names exchanged says the opposite."""
    rows = [drill("rnn", 64, s, 0.5 + 0.01 * s, reach_at_lag=1e-6) for s in range(4)]
    rows += [drill("lstm", 64, s, 1.0, reach_at_lag=0.5 + 0.1 * s) for s in range(4)]
    turned = [{**row, "net": {"rnn": "lstm", "lstm": "rnn"}[row["net"]]} for row in rows]
    said = {c.name: c.verdict for c in list_claims({"drills": rows, "streams": [], "speed": []}, "")}
    other = {c.name: c.verdict for c in list_claims({"drills": turned, "streams": [], "speed": []}, "")}
    assert (said["limited memory"], said["vanishing gradients"]) == (HOLDS, HOLDS)
    assert (other["limited memory"], other["vanishing gradients"]) == (FAILS, FAILS)


def test_where_neither_learnt_nothing_is_said() -> None:
    rows = [drill(net, 256, s, 0.5) for net in ("rnn", "lstm") for s in range(4)]
    said = {c.name: c.verdict for c in list_claims({"drills": rows, "streams": [], "speed": []}, "")}
    assert said["limited memory"] == OPEN


def test_masks_hide_that_share_and_nothing_else() -> None:
    history = make_plant(4, 3, 0, warmup=0.2, score_from=0.25)
    masked = mask_share(history, 0.4, 1)
    hidden = np.isnan(masked.value) & ~np.isnan(history.value)
    assert 0.3 < hidden.mean() < 0.5
    kept = ~np.isnan(masked.value)
    assert (masked.value[kept] == history.value[kept]).all()
    assert mask_share(history, 0.0, 1) is history


@pytest.mark.slow
def test_the_command_prints_draws_and_writes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    small = Study(seeds=2, updates=50, lags=(4,), lengths=(8,), layers=(1, 2), shares=(0.5,), repeats=1)
    monkeypatch.setattr(command, "QUICK", small)
    monkeypatch.setattr(command, "QUICK_PLANT", Source(series=3, days=4))
    monkeypatch.setattr("pipeline.study.speed.ROWS", (64, 256))
    out = tmp_path / "study.json"
    arguments = ["compare", "--quick", "--jobs", "1", "--json", str(out), "--plots", str(tmp_path / "p")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    report = json.loads(out.read_text())
    assert report["version"] == 1
    assert {c["verdict"] for c in report["claims"]} <= {HOLDS, FAILS, OPEN}
    assert {c["name"] for c in report["claims"]} == {
        "vanishing gradients", "exploding gradients", "limited memory", "worse forecasts",
        "irregular streams", "depth", "cost", "no parallel speed",
    }  # fmt: skip
    assert len(report["drills"]) == 8
    assert len(report["streams"]) == 6
    nets = report["streams"][0]["nets"]
    assert nets["lstm"]["parameters"] > nets["rnn"]["parameters"]
    assert nets["lstm"]["flops"] > 2 * nets["rnn"]["flops"] > 0
    assert {path.name for path in (tmp_path / "p").iterdir()} >= {"recall.png", "masked.png", "depth.png"}
    assert "what is said of the plain RNN" in result.output
    assert report["sentence"] in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--tasks", "recal"], "expected none or some of recall, adding, plant with commas, found 'recal'"),
        (["--tasks", "none"], "expected a task where no FILE is given"),
        (["--rows", "5"], "--rows is about FILE, which is not given"),
        (["x.csv", "--tasks", "plant"], "expected no plant beside FILE"),
        (["--json", "/nowhere/at/all.json"], "expected a file in a folder that exists"),
        (["/nowhere/x.csv", "--jobs", "1"], "/nowhere/x.csv"),
    ],
)
def test_what_cannot_be_run_is_said_in_one_sentence(arguments: list[str], words: str) -> None:
    result = CliRunner().invoke(main, ["compare", *arguments])
    assert result.exit_code == 2
    assert words in result.output
    assert "Traceback" not in result.output


def test_a_quick_look_is_smaller() -> None:
    assert plan.QUICK.seeds < Study().seeds
    assert QUICK_PLANT.series * QUICK_PLANT.days < Source().series * Source().days
