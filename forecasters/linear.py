"""Online linear autoregression: recursive least squares on 29 features, every step learning at its own time.

Letters: R rows, H horizon, F features (29).

Recursive least squares with forgetting (Haykin, Adaptive Filter Theory, 4th ed., table 9.1): for features x
with inverse covariance P, gain k = P x / (λ + x'P x), P ← (P - k x'P) / λ, and for each target d of that x
w ← w + k (d - w'x). The gain is computed when x is seen and kept until the target of each step arrives, so
that step h learns from its h-step-old origin exactly, and without waiting for the longest step.
"""

from __future__ import annotations

import torch

from forecasters.fields import Field, Fields
from forecasters.forecaster import Forecaster
from forecasters.memory import CLIP, LINEAR_FEATURES, Held, Memory, Wave

Tensor = torch.Tensor

FORGETTING = 0.9999
RIDGE = 10.0
NUM = 29


class Linear(Forecaster):
    """`linear`: one regression per series and step, on features in units of the series' scale."""

    def __init__(
        self, memory: Memory, device: torch.device, forgetting: float = FORGETTING, ridge: float = RIDGE
    ) -> None:
        self.memory = memory
        self.horizon = memory.horizon
        self.forgetting = forgetting
        self.prior = 1.0 / ridge
        self.fields = Fields(
            {
                "covariance": Field((NUM, NUM), apart=True),
                "weights": Field((self.horizon, NUM), apart=True),
                "gains": Field((memory.ring_length, NUM), torch.float16, ring=True),
            },
            device,
        )
        self._eye = torch.eye(NUM, device=device) * self.prior

    def reset(self, rows: Tensor) -> None:
        super().reset(rows)
        self.fields["covariance"][rows] = self._eye

    def observe(self, wave: Wave) -> None:
        """Learn from the targets that arrived, then prepare the gain of this origin."""
        path = wave.path
        assert path is not None
        dep_RH = path.dep.clamp(-CLIP, CLIP).t().contiguous()
        w_RHF = self.fields.read("weights", wave.rows)
        # of the columns that are used first, so that all that follows runs over whole memory
        x_RHF, k_RHF = (
            ring[..., columns].transpose(0, 1).to(torch.float32, memory_format=torch.contiguous_format)
            for ring, columns in (
                (self.memory.rings.take_ring("features", path.places), LINEAR_FEATURES),
                (self.fields.take_ring("gains", path.places), slice(NUM)),
            )
        )
        error = dep_RH - (w_RHF * x_RHF).sum(2)
        if not wave.all_valid:
            error = torch.where(path.valid.t(), error, 0.0)
        self.fields.write("weights", wave.rows, w_RHF.addcmul_(k_RHF, error[:, :, None]))
        self._gain(wave)

    def hold(self, held: Held) -> None:
        """Nothing is learnt of origins without a reading."""
        self.fields.rows("gains").index_fill_(0, held.place_P, 0.0)

    def _gain(self, wave: Wave) -> None:
        x = wave.x_FR[LINEAR_FEATURES].t().contiguous()
        p = self.fields.read("covariance", wave.rows)
        u = (p * x[:, None]).sum(2)  # a third of the time of a product of matrices as small as these
        k = u / (self.forgetting + (u * x).sum(1))[:, None]
        lift: Tensor | float = 1.0 / self.forgetting
        if wave.seen is not None:
            k = k * wave.seen.to(torch.float32)[:, None]
            lift = torch.where(wave.seen, lift, 1.0)[:, None]
        # forgetting inflates directions that are never excited; none may exceed the prior
        diagonal = (torch.diagonal(p, dim1=1, dim2=2) - k * u).clamp_(min=1e-12)
        s = (self.prior / diagonal).clamp_(max=lift).sqrt_()
        # S (P - k u') S
        p.mul_(s[:, :, None]).mul_(s[:, None, :]).baddbmm_(
            (k * s)[:, :, None], (u * s)[:, None, :], alpha=-1.0
        )
        self.fields.write("covariance", wave.rows, p)
        self.fields.put_ring("gains", wave.place, k.to(torch.float16)[None])

    def forecast(self, wave: Wave) -> Tensor:
        x = wave.x_FR[LINEAR_FEATURES].t().contiguous()
        return (self.fields.read("weights", wave.rows) * x[:, None]).sum(2).t()
