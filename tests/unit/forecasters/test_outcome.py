"""What comes to the host of a wave: in one go from a GPU, and the same where the host can look itself."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch

from forecasters.outcome import Outcome, _fetch


def make_parts() -> tuple[SimpleNamespace, torch.Tensor, torch.Tensor, torch.Tensor]:
    """A wave of 5 rows and 3 of padding, two forecasters, three steps."""
    draw = torch.Generator().manual_seed(0)
    error, half = torch.randn(2, 2, 3, 8, generator=draw)
    valid = torch.rand(3, 8, generator=draw) < 0.5
    wave = SimpleNamespace(
        rows=SimpleNamespace(num=5), scale_QR=torch.rand(3, 8, generator=draw),
        departure=torch.randn(8, generator=draw), valid_QR=valid | (torch.arange(8) % 2 > 0),
        dep_QR=torch.randn(3, 8, generator=draw) * (torch.arange(8) != 3),
    )  # fmt: skip
    return wave, error, half, valid


def test_padding_is_left_behind_and_moves_are_told_from_rests() -> None:
    wave, error, half, valid = make_parts()
    outcome = Outcome.of(wave, error, half, valid)
    assert outcome.error_EQN.shape == (2, 3, 5)
    np.testing.assert_array_equal(outcome.half_EQN, half[..., :5].numpy())
    np.testing.assert_array_equal(outcome.known_N, wave.valid_QR[0, :5].numpy())
    assert outcome.known_N[3]
    assert not outcome.moved_N[3], "its value is the one before"
    others = np.delete(outcome.known_N, 3)
    np.testing.assert_array_equal(np.delete(outcome.moved_N, 3), others)


def test_parts_come_whole_through_one_copy() -> None:
    _, error, half, valid = make_parts()
    parts = [error, half, valid, error[0, 0]]
    for part, fetched in zip(parts, _fetch(parts), strict=True):
        assert fetched.dtype == part.dtype
        assert torch.equal(fetched, part)
