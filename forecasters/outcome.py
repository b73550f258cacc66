"""What the device made of a wave, and of that how the forecasts made for its readings turned out; on the
host.

Letters: N rows as given, R rows of a wave (padded), E forecasters, H horizon, Q scored steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

Tensor = torch.Tensor
Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]


class Made(NamedTuple):
    """error: value less forecast, due_half: half-width of its interval, both in units of `due_scale`, that
    of the series when the forecast was made; scored: where there was a forecast and a target; missed: where
    the value lay outside of the interval. known: where there is a value, and one a step before; move: by how
    much it changed, in units of that step's scale. level: value less its slow average before it; base: the
    value itself; scale, naive_error: of the series now. departure, half: what is forecast now, less base.
    All but the first five and move in the series' units. replaced: forecasts of each forecaster that were
    not believable.
    """

    error_EQR: Tensor
    due_half_EQR: Tensor
    missed_EQR: Tensor
    scored_QR: Tensor
    due_scale_QR: Tensor
    known_R: Tensor
    move_R: Tensor
    level_R: Tensor
    base_R: Tensor  # float64
    scale_R: Tensor
    naive_error_R: Tensor
    departure_EHR: Tensor
    half_EHR: Tensor
    replaced_E: Tensor

    def pack(self) -> Tensor:
        """All of it as one piece of float32, which goes to the host in one transfer."""
        parts = (
            part.view(torch.float32) if part.dtype == torch.float64 else part.to(torch.float32)
            for part in self
        )
        return torch.cat([part.reshape(-1) for part in parts])

    @classmethod
    def unpack(cls, flat: Tensor, like: Sequence[tuple[torch.Size, torch.dtype]]) -> Made:
        """The reverse, on the host; like: shape and dtype of each part."""
        sizes = [shape.numel() * (2 if dtype == torch.float64 else 1) for shape, dtype in like]
        parts = []
        for piece, (shape, dtype) in zip(flat.split(sizes), like, strict=True):
            parts.append((piece.view(dtype) if dtype == torch.float64 else piece.to(dtype)).view(shape))
        return cls(*parts)

    @property
    def shapes(self) -> list[tuple[torch.Size, torch.dtype]]:
        return [(part.shape, part.dtype) for part in self]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Rows last, as in `Made`. moved: whether there is another value than one step before."""

    error_EQN: Floats
    half_EQN: Floats
    valid_QN: Bools
    scale_QN: Floats
    known_N: Bools
    moved_N: Bools
    departure_N: Floats

    @classmethod
    def of(cls, made: Made, num: int) -> Outcome:
        """Of the first `num` rows; `made` is on the host."""
        error, half, valid, scale, known, move, level = (
            part.numpy()[..., :num]
            for part in (
                made.error_EQR, made.due_half_EQR, made.scored_QR, made.due_scale_QR, made.known_R,
                made.move_R, made.level_R,
            )
        )  # fmt: skip
        return cls(error, half, valid, scale, known, known & (move != 0), level)
