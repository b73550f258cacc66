"""The blend: experts weighted online per series and step, with a shard-wide regression on them as one more.

Letters: R rows, X experts (X' = X + 1 with the stack), Q scored steps, H horizon, N readings of a tick.

Weights are exponential in the discounted sum of losses (Vovk 1990; Cesa-Bianchi & Lugosi 2006, §2.9), which
arrive with their targets. A loss is the squared error over the running mean square of the naive error, at
most 4. The stack is a ridge regression of what happened on what the experts said (Breiman 1996), summed over
the shard's series, and changes at ticks only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch

from forecasters.fields import Field, Fields
from forecasters.steps import interpolation, scored_steps

Tensor = torch.Tensor

ETA = 0.05
DISCOUNT = 0.999
LOSS_LIMIT = 4.0
VARIANCE_RATE = 1.0 / 500.0
STACK_FORGETTING = 0.9999
STACK_RIDGE = 10.0
WINSOR = 20.0


class Blend:
    def __init__(self, num_experts: int, horizon: int, device: torch.device) -> None:
        self.num_experts = num_experts
        self.scored = scored_steps(horizon)
        num_scored = len(self.scored)
        self.fields = Fields(
            {
                "losses": Field((num_experts + 1, num_scored)),
                "variance": Field((num_scored,), initial=1.0),
                "judged": Field((num_scored,)),
            },
            device,
        )
        self._interpolation = interpolation(horizon, device)
        self.cross = torch.zeros(num_scored, num_experts, num_experts, dtype=torch.float64, device=device)
        self.target = torch.zeros(num_scored, num_experts, dtype=torch.float64, device=device)
        self.coefficients = torch.full((num_scored, num_experts), 1.0 / num_experts, device=device)

    def learn(self, rows: Tensor, said_RXQ: Tensor, dep_RQ: Tensor, valid_RQ: Tensor) -> None:
        """Losses of the experts and of the stack `[R, X', Q]` whose targets arrived."""
        b = self.fields.take(rows)
        dep = dep_RQ.clamp(-WINSOR, WINSOR)
        b["judged"] = b["judged"] + valid_RQ.to(torch.float32)
        rate = (1.0 / (b["judged"] + 1.0)).clamp(min=VARIANCE_RATE)
        b["variance"] = torch.where(
            valid_RQ, b["variance"] + rate * (dep * dep - b["variance"]), b["variance"]
        )
        error = said_RXQ - dep[:, None, :]
        loss = (error * error / b["variance"].clamp(min=1e-9)[:, None, :]).clamp(max=LOSS_LIMIT)
        b["losses"] = torch.where(valid_RQ[:, None, :], b["losses"] * DISCOUNT + loss, b["losses"])
        self.fields.put(rows, b)

    def learn_stack(self, said_NXQ: Tensor, dep_NQ: Tensor, valid_NQ: Tensor) -> None:
        """At a tick: everything that arrived since the last one, in the order of series and time."""
        m = (said_NXQ * valid_NQ[:, None, :]).to(torch.float64).permute(2, 1, 0)  # [Q, X, N]
        d = (dep_NQ.clamp(-WINSOR, WINSOR) * valid_NQ).to(torch.float64).t()[:, :, None]
        # one reading of every series is one step of forgetting
        self.cross.mul_(STACK_FORGETTING).add_(torch.bmm(m, m.transpose(1, 2)))
        self.target.mul_(STACK_FORGETTING).add_(torch.bmm(m, d).squeeze(2))
        self.solve()

    def solve(self) -> None:
        """The stack's coefficients from its sums."""
        ridge = STACK_RIDGE * torch.eye(self.num_experts, dtype=torch.float64, device=self.cross.device)
        right = (self.target + STACK_RIDGE / self.num_experts)[:, :, None]
        solved = torch.linalg.solve_ex(self.cross + ridge, right)[0].squeeze(2).to(torch.float32)
        self.coefficients = torch.where(torch.isfinite(solved), solved, self.coefficients)

    def forecast(self, rows: Tensor, experts_RXH: Tensor) -> tuple[Tensor, Tensor]:
        """(blend, stack), both `[R, H]`."""
        by_step = torch.mm(self.coefficients.t(), self._interpolation)  # [X, H]
        stack = (experts_RXH * by_step).sum(1)
        losses = self.fields["losses"].index_select(0, rows)
        best = losses.amin(1, keepdim=True)
        weights = torch.exp(-ETA * (losses - best))
        weights = weights / weights.sum(1, keepdim=True)
        r, x, q = weights.shape
        spread = torch.mm(weights.reshape(r * x, q), self._interpolation).view(r, x, -1)
        everyone = torch.cat([experts_RXH, stack[:, None, :]], 1)
        return (spread * everyone).sum(1), stack

    def save(self) -> Iterator[tuple[str, Tensor]]:
        for name in ("cross", "target", "coefficients"):
            yield name, getattr(self, name).detach().clone().cpu()

    def load(self, state: Mapping[str, Tensor]) -> None:
        for name in ("cross", "target", "coefficients"):
            own = getattr(self, name)
            if state[name].shape != own.shape:
                raise ValueError(f"{name}: expected {tuple(own.shape)}, found {tuple(state[name].shape)}")
            setattr(self, name, state[name].to(own.device).clone())
