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
                "gains": Field((memory.ring_length, NUM), torch.float16),
            },
            device,
        )
        self._eye = torch.eye(NUM, device=device) * self.prior

    def reset(self, rows: Tensor) -> None:
        super().reset(rows)
        self.fields["covariance"][rows] = self._eye

    def observe(self, wave: Wave) -> None:
        """Learn from the targets that arrived, then prepare the gain of this origin."""
        rows = wave.rows
        w_RHF = self.fields["weights"].index_select(0, rows)
        shape = (*wave.past_RH.shape, -1)
        x_RHF, k_RHF = (
            ring.view(-1, ring.shape[-1]).index_select(0, wave.past_RH.view(-1)).view(shape).to(torch.float32)
            for ring in (self.memory.rings["features"], self.fields["gains"])
        )
        x_RHF = x_RHF[..., LINEAR_FEATURES]
        error = wave.dep_RH.clamp(-CLIP, CLIP) - (w_RHF * x_RHF).sum(2)
        error = torch.where(wave.valid_RH, error, torch.zeros_like(error))
        w_RHF.addcmul_(k_RHF, error[:, :, None])
        self.fields["weights"].index_copy_(0, rows, w_RHF)
        self._gain(wave)

    def hold(self, held: Held) -> None:
        """Nothing is learnt of origins without a reading."""
        self.fields["gains"].view(-1, NUM).index_fill_(0, held.place_P, 0.0)

    def _gain(self, wave: Wave) -> None:
        rows = wave.rows
        x = wave.x_RF[:, LINEAR_FEATURES]
        p = self.fields["covariance"].index_select(0, rows)
        u = torch.bmm(p, x[:, :, None])
        denominator = self.forgetting + (u[:, :, 0] * x).sum(1)
        seen = wave.seen.to(torch.float32)
        k = u[:, :, 0] / denominator[:, None] * seen[:, None]
        p.baddbmm_(k[:, :, None], u.transpose(1, 2), alpha=-1.0)
        # forgetting inflates directions that are never excited; none may exceed the prior
        diagonal = torch.diagonal(p, dim1=1, dim2=2)
        lift = torch.where(wave.seen, 1.0 / self.forgetting, 1.0)[:, None].expand(-1, NUM)
        s = torch.sqrt(torch.minimum(lift, self.prior / diagonal.clamp(min=1e-12)))
        p.mul_(s[:, :, None]).mul_(s[:, None, :])
        self.fields["covariance"].index_copy_(0, rows, p)
        self.fields["gains"].view(-1, NUM).index_copy_(0, wave.place_R, k.to(torch.float16))

    def forecast(self, wave: Wave) -> Tensor:
        w_RHF = self.fields["weights"].index_select(0, wave.rows)
        return torch.bmm(w_RHF, wave.x_RF[:, LINEAR_FEATURES, None]).squeeze(2)
