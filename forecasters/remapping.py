"""Moves tensors of state to other scored steps, other rings and other companions.

Letters: N series, L ring length, Q scored steps.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

Tensor = torch.Tensor


def to_ring(old: Tensor, fresh: Tensor, newest_N: Tensor) -> Tensor:
    """A ring `[N, L, …]` that holds at `i % L` what belongs to number i, in the length of `fresh`.

    newest_N: the last number of each series, below 0 where there is none. What the old ring no longer has
    stays as in `fresh`.
    """
    new = fresh.clone()
    for back in range(min(old.shape[1], new.shape[1])):
        at = newest_N - back
        rows = torch.nonzero(at >= 0).squeeze(1)
        new[rows, at[rows] % new.shape[1]] = old[rows, at[rows] % old.shape[1]]
    return new


def to_steps(old: Tensor, fresh: Tensor, old_steps: Sequence[int], new_steps: Sequence[int]) -> Tensor:
    """`[…, Q]` at other scored steps: copied where a step was scored, interpolated between two that were, and
    as in `fresh` beyond them."""
    if tuple(old_steps) == tuple(new_steps):
        return old.clone()
    new = fresh.clone()
    for k, h in enumerate(new_steps):
        if h in old_steps:
            new[..., k] = old[..., old_steps.index(h)]
        elif h < old_steps[-1]:
            right = next(j for j, other in enumerate(old_steps) if other > h)
            left = max(right - 1, 0)
            share = (h - old_steps[left]) / max(old_steps[right] - old_steps[left], 1)
            new[..., k] = old[..., left] + share * (old[..., right] - old[..., left])
    return new


def places(old: Sequence[str], new: Sequence[str], kept: Sequence[str]) -> tuple[Tensor, Tensor]:
    """(places in `old`, places in `new`) of the names in both that are kept."""
    both = [name for name in new if name in old and name in kept]
    return torch.tensor([old.index(n) for n in both]), torch.tensor([new.index(n) for n in both])


def to_names(
    old: Tensor,
    fresh: Tensor,
    dim: int,
    at: tuple[Tensor, Tensor],
    old_steps: Sequence[int],
    steps: Sequence[int],
) -> Tensor:
    """As `to_steps`, and along `dim` one entry a name; names that are new are as in `fresh`."""
    source, target = (indices.to(torch.int64) for indices in at)
    if not target.numel():
        return fresh.clone()
    part = to_steps(old.index_select(dim, source), fresh.index_select(dim, target), old_steps, steps)
    return fresh.clone().index_copy_(dim, target, part)
