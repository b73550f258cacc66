"""Many small products at once: of the vectors and matrices that each series has of its own.

Letters: R rows or other small problems, F features, in front of them any dimensions (…).

On a CPU torch multiplies, writes all products down and then adds them up, or calls its BLAS with what a large
product needs; NumPy adds up at once, and calls its BLAS for each small product of matrices as it lies there,
in a third to a half of the time for 29 to 32 numbers. Each result follows from its own numbers alone,
wherever it stands.
"""

from __future__ import annotations

import numpy as np
import torch

from forecasters.host import is_host

Tensor = torch.Tensor


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Σ_f a·b `[…]` of a and b `[…, F]`, which are broadcast; the last dimension lies side by side."""
    if is_host(a.device):
        with np.errstate(all="ignore"):  # as torch has it
            return torch.from_numpy(np.einsum("...f,...f->...", a.numpy(), b.numpy()))
    return (a * b).sum(-1)


def matmul(a: Tensor, b: Tensor) -> Tensor:
    """`[R, I, J]` of a `[R, I, K]` and b `[R, K, J]`."""
    if is_host(a.device):
        with np.errstate(all="ignore"):
            return torch.from_numpy(np.matmul(a.numpy(), b.numpy()))
    return torch.bmm(a, b)


def solve(a: Tensor, b: Tensor) -> Tensor:
    """x `[R, N]` of a x = b, a `[R, N, N]` symmetric and positive definite, b `[R, N]`; not finite where a is
    singular."""
    if is_host(a.device):
        solved: Tensor = torch.linalg.solve_ex(a, b[:, :, None])[0]
        return solved.squeeze(2)
    # a library's call there takes a tenth of a wave's time; such matrices need no pivots
    whole = torch.cat([a, b[:, :, None]], 2)
    for k in range(b.shape[1]):
        row = whole[:, k : k + 1] / whole[:, k : k + 1, k : k + 1]
        whole = torch.baddbmm(whole, whole[:, :, k : k + 1], row, alpha=-1.0)
        whole[:, k : k + 1] = row
    return whole[:, :, -1]
