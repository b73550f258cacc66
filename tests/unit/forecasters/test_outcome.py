"""What comes to the host of a wave: in one go from a GPU, and the same where the host can look itself."""

from __future__ import annotations

import numpy as np
import torch

from forecasters.outcome import Made, Outcome


def make() -> Made:
    """Of a wave of 5 rows and 3 of padding, two forecasters, three steps, a horizon of four."""
    draw = torch.Generator().manual_seed(0)
    scored = torch.rand(3, 8, generator=draw) < 0.5

    def some(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, 8, generator=draw)

    return Made(
        error_EQR=some(2, 3), due_half_EQR=some(2, 3), missed_EQR=some(2, 3) > 0, scored_QR=scored,
        due_scale_QR=some(3), known_R=scored[0] | (torch.arange(8) % 2 > 0),
        move_R=some() * (torch.arange(8) != 3), level_R=some(), base_R=some().double() + 1e9, scale_R=some(),
        naive_error_R=some(), departure_EHR=some(2, 4), half_EHR=some(2, 4), replaced_E=torch.tensor([0, 7]),
    )  # fmt: skip


def test_padding_is_left_behind_and_moves_are_told_from_rests() -> None:
    made = make()
    outcome = Outcome.of(made, 5)
    assert outcome.error_EQN.shape == (2, 3, 5)
    np.testing.assert_array_equal(outcome.half_EQN, made.due_half_EQR[..., :5].numpy())
    np.testing.assert_array_equal(outcome.known_N, made.known_R[:5].numpy())
    assert outcome.known_N[3]
    assert not outcome.moved_N[3], "its value is the one before"
    others = np.delete(outcome.known_N, 3)
    np.testing.assert_array_equal(np.delete(outcome.moved_N, 3), others)


def test_all_comes_whole_through_one_piece() -> None:
    made = make()
    fetched = Made.unpack(made.pack(), made.shapes)
    for part, same in zip(made, fetched, strict=True):
        assert same.dtype == part.dtype
        assert torch.equal(same, part)
