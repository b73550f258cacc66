"""A GPU forecasts what a CPU does, and repeats itself bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.gpu.rounds import make_bank, step_rounds

ROUNDS = 60


@pytest.mark.gpu
def test_forecasts_and_errors_are_those_of_a_cpu(gpu: torch.device) -> None:
    """Within a fiftieth of the series' scale, after some dozens of training steps on either."""
    (ours, slots), (theirs, _) = make_bank(gpu, 96), make_bank("cpu", 96)
    pairs = zip(step_rounds(ours, slots, 0, ROUNDS), step_rounds(theirs, slots, 0, ROUNDS), strict=True)
    for mine, other in pairs:
        scale = other.scale[:, None, None]
        assert torch.equal(mine.scored.cpu(), other.scored)
        assert (((mine.mean.cpu() - other.mean) / scale).abs() < 0.02).all()
        assert (((mine.half.cpu() - other.half) / scale).abs() < 0.02).all()
    trained = [
        bank.training()["lstm"]["applied"] + bank.training()["lstm"]["clipped"] for bank in (ours, theirs)
    ]
    assert trained[0] == trained[1] > 20


@pytest.mark.gpu
def test_a_gpu_repeats_itself_however_rounds_are_cut(gpu: torch.device) -> None:
    (whole, slots), (cut, _) = make_bank(gpu, 96), make_bank(gpu, 96)
    for _ in step_rounds(whole, slots, 0, ROUNDS):
        pass
    for _ in step_rounds(cut, slots, 0, ROUNDS, pieces=3):
        pass
    one, other = whole.save(), cut.save()
    assert one.keys() == other.keys()
    differing = [name for name in one if one[name].numpy().tobytes() != other[name].numpy().tobytes()]
    assert differing == []


def test_rounds_cut_in_pieces_are_the_same_on_a_cpu() -> None:
    """What the test above compares, here where it can be run."""
    (whole, slots), (cut, _) = make_bank("cpu", 96), make_bank("cpu", 96)
    means = [result.mean for result in step_rounds(whole, slots, 0, 20)]
    pieces = [result.mean for result in step_rounds(cut, slots, 0, 20, pieces=3)]
    assert np.array_equal(torch.cat(means).numpy(), torch.cat(pieces).numpy())
