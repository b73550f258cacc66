"""How the forecasts made for a wave's readings turned out, on the host.

Letters: N rows as given, R rows of a wave (padded), E forecasters, Q scored steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from forecasters.memory import Wave

Tensor = torch.Tensor
Floats = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Rows last. error: value less forecast, half: half-width of its interval, both in units of `scale`, that
    of the series when the forecast was made; valid: where there was a forecast and a target. known: where
    there is a value, and one a step before; moved: whether it is another one then. departure: value less its
    slow average before it, in the series' units.
    """

    error_EQN: Floats
    half_EQN: Floats
    valid_QN: Bools
    scale_QN: Floats
    known_N: Bools
    moved_N: Bools
    departure_N: Floats

    @classmethod
    def of(cls, wave: Wave, error_EQR: Tensor, half_EQR: Tensor, valid_QR: Tensor) -> Outcome:
        """Waits for the device, once a wave."""
        parts = [
            error_EQR,
            half_EQR,
            wave.scale_QR,
            wave.departure,
            wave.dep_QR[0],
            valid_QR,
            wave.valid_QR[0],
        ]
        if error_EQR.is_cuda:
            parts = _fetch(parts)
        error, half, scale, departure, moved, valid, known = (
            part.numpy()[..., : wave.rows.num] for part in parts
        )
        return cls(error, half, valid, scale, known, known & (moved != 0), departure)


def _fetch(parts: Sequence[Tensor]) -> list[Tensor]:
    """`[…, R]` each, to the host in one go, as float32."""
    flat = torch.cat([part.reshape(-1, part.shape[-1]) for part in parts]).cpu()
    rows = flat.split([part.shape[:-1].numel() for part in parts])
    return [row.view(part.shape).to(part.dtype) for row, part in zip(rows, parts, strict=True)]
