"""A GPU forecasts what a CPU does, and repeats itself bit for bit, recorded or not."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from forecasters import Bank
from tests.gpu.rounds import make_bank, step_rounds

ROUNDS = 60
SERIES = {"small": 96, "large": 320}


@pytest.fixture(params=SERIES.values(), ids=SERIES.keys())
def series(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.mark.gpu
def test_forecasts_and_errors_are_those_of_a_cpu(gpu: torch.device, series: int) -> None:
    """Within a fiftieth of the series' scale, after some dozens of training steps on either."""
    (ours, slots), (theirs, _) = make_bank(gpu, series), make_bank("cpu", series)
    pairs = zip(step_rounds(ours, slots, 0, ROUNDS), step_rounds(theirs, slots, 0, ROUNDS), strict=True)
    for mine, other in pairs:
        scale = other.scale[:, None, None]
        assert torch.equal(mine.scored, other.scored)
        assert (((mine.mean - other.mean) / scale).abs() < 0.02).all()
        assert (((mine.half - other.half) / scale).abs() < 0.02).all()
    trained = [
        bank.training()["lstm"]["applied"] + bank.training()["lstm"]["clipped"] for bank in (ours, theirs)
    ]
    assert trained[0] == trained[1] > 10


@pytest.mark.gpu
def test_a_gpu_repeats_itself_however_rounds_are_cut(gpu: torch.device, series: int) -> None:
    (whole, slots), (cut, _) = make_bank(gpu, series), make_bank(gpu, series)
    for _ in step_rounds(whole, slots, 0, ROUNDS):
        pass
    for _ in step_rounds(cut, slots, 0, ROUNDS, pieces=3):
        pass
    assert find_differing(whole, cut) == []


@pytest.mark.gpu
def test_what_is_recorded_does_what_was_written(
    gpu: torch.device, series: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    (recorded, slots), (written, _) = make_bank(gpu, series), make_bank(gpu, series)
    for _ in step_rounds(recorded, slots, 0, ROUNDS):
        pass
    assert recorded.recorded > 1
    monkeypatch.setattr("forecasters.programs.RUNS_BEFORE", 2 * ROUNDS)
    for _ in step_rounds(written, slots, 0, ROUNDS):
        pass
    assert written.recorded == 0
    assert find_differing(recorded, written) == []


def find_differing(ours: Bank, theirs: Bank) -> list[str]:
    """Names of what is saved."""
    one, other = ours.save(), theirs.save()
    assert one.keys() == other.keys()
    return [name for name in one if one[name].numpy().tobytes() != other[name].numpy().tobytes()]


def test_rounds_cut_in_pieces_are_the_same_on_a_cpu() -> None:
    """What the tests above compare, here where it can be run."""
    (whole, slots), (cut, _) = make_bank("cpu", 96), make_bank("cpu", 96)
    means = [result.mean for result in step_rounds(whole, slots, 0, 20)]
    pieces = [result.mean for result in step_rounds(cut, slots, 0, 20, pieces=3)]
    assert np.array_equal(torch.cat(means).numpy(), torch.cat(pieces).numpy())
