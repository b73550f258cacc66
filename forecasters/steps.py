"""Which steps of a path are scored, and how what is known there reaches the steps between.

Letters: R rows, H horizon, Q scored steps.
"""

from __future__ import annotations

import torch

Tensor = torch.Tensor

_DENSE = (1, 2, 3, 4, 6, 8, 12, 16)
_STRIDE = 8


def scored_steps(horizon: int) -> tuple[int, ...]:
    """1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 40, 48 … and the horizon itself.

    Intervals, gates, blend weights and scores live on these steps only, so that their memory and time grow
    with H / 8 and not with H.
    """
    if horizon < 1:
        raise ValueError(f"horizon: expected a whole number of at least 1, got {horizon}")
    steps = [h for h in _DENSE if h <= horizon]
    steps += range(_DENSE[-1] + _STRIDE, horizon + 1, _STRIDE)
    if steps[-1] != horizon:
        steps.append(horizon)
    return tuple(steps)


def interpolation(horizon: int, device: torch.device) -> Tensor:
    """Matrix `[Q, H]`: `a_Q @ interpolation` is `a` read at every step, linear between scored steps.

    Columns sum to one, so that convex weights stay convex.
    """
    steps = scored_steps(horizon)
    weights = torch.zeros(len(steps), horizon)
    right = 0
    for h in range(1, horizon + 1):
        while steps[right] < h:
            right += 1
        left = max(right - 1, 0)
        if steps[right] == h:
            weights[right, h - 1] = 1.0
        else:
            share = (h - steps[left]) / (steps[right] - steps[left])
            weights[left, h - 1] = 1.0 - share
            weights[right, h - 1] = share
    return weights.to(device)


class Interpolation:
    """What is known at the scored steps, read at every step."""

    def __init__(self, horizon: int, device: torch.device) -> None:
        self.horizon = horizon
        weights_QH = interpolation(horizon, device)
        self.dense = len(weights_QH) == horizon
        # whole groups of rows, so that products round every row of a wave alike
        self.weights_HQ = torch.nn.functional.pad(weights_QH, (0, -horizon % 8)).t().contiguous()

    def __call__(self, known: Tensor) -> Tensor:
        """`[…, Q, R]` to `[…, H, R]`; the same tensor where every step is scored."""
        if self.dense:
            return known
        return torch.matmul(self.weights_HQ, known)[..., : self.horizon, :]
