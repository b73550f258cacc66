"""The blend: experts weighted online per series and step, with a shard-wide regression on them as one more.

Letters: R rows (N of them no padding), X experts (X' = X + 1 with the stack), Q scored steps, H horizon.

Weights are exponential in the discounted sum of losses (Vovk 1990; Cesa-Bianchi & Lugosi 2006, §2.9), which
arrive with their targets. A loss is the squared error over the running mean square of the naive error, at
most 4. The stack is a ridge regression of what happened on what the experts said (Breiman 1996), summed over
the shard's series, and changes at every STACK_TICKS-th tick only. Its sums must not depend on the order of
the readings between two of these, since rows are sorted by slot and waves cut anywhere. So what is multiplied
is first rounded to GRAIN and bounded: all products and all their sums are then exact in float64.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch

from forecasters.fields import Field, Fields
from forecasters.products import matmul, solve
from forecasters.rows import Rows
from forecasters.steps import Interpolation, scored_steps

Tensor = torch.Tensor

ETA = 0.05
DISCOUNT = 0.999
LOSS_LIMIT = 4.0
VARIANCE_RATE = 1.0 / 500.0
STACK_TICKS = 4
"""Ticks for which the stack waits: to learn of all their readings takes as long as of one tick's."""
STACK_FORGETTING = 0.9999
"""Weight of the past, per tick."""
STACK_RIDGE = 10.0
WINSOR = 20.0
GRAIN = 2.0**-14
"""A number of at most 20 has 19 bits then, a product 38, and a sum of 4 096 of them (STACK_TICKS times
`pace.MAX_TICK`) 50 of the 53 that float64 has."""
SHARED = ("cross", "target", "tick_cross", "tick_target", "coefficients")
"""Tensors of the stack that are saved."""


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
        self._interpolate = Interpolation(horizon, device)
        self.cross = torch.zeros(num_scored, num_experts, num_experts, dtype=torch.float64, device=device)
        self.target = torch.zeros(num_scored, num_experts, dtype=torch.float64, device=device)
        self.tick_cross = torch.zeros_like(self.cross)  # of what came since it learnt, in GRAIN²
        self.tick_target = torch.zeros_like(self.target)
        self._ridge = STACK_RIDGE * torch.eye(num_experts, dtype=torch.float64, device=device)
        self.coefficients = torch.full((num_scored, num_experts), 1.0 / num_experts, device=device)

    def learn(
        self, rows: Rows, said_XQR: Tensor, dep_QR: Tensor, valid_QR: Tensor, *, all_valid: bool
    ) -> None:
        """Losses of the experts and of the stack `[X', Q, R]` whose targets arrived."""
        b = self.fields.take(rows)
        losses, variance, judged = b["losses"], b["variance"], b["judged"]
        dep = dep_QR.clamp(-WINSOR, WINSOR)
        judged.add_(1.0 if all_valid else valid_QR.to(torch.float32))
        rate = (judged + 1.0).reciprocal_().clamp_(min=VARIANCE_RATE)
        change = (dep * dep).sub_(variance).mul_(rate)
        variance.add_(change if all_valid else torch.where(valid_QR, change, 0.0))
        error = said_XQR - dep
        loss = error.square_().div_(variance.clamp(min=1e-9)).clamp_(max=LOSS_LIMIT)
        new = loss.add_(losses, alpha=DISCOUNT)
        losses.copy_(new if all_valid else torch.where(valid_QR, new, losses))
        self.fields.put(rows, b)

    def note(self, said_XQN: Tensor, dep_QN: Tensor, valid_QN: Tensor | None) -> None:
        """What experts said and what happened, for the stack to learn from; valid: None where all are."""
        both = torch.cat([said_XQN, dep_QN[None]]).clamp_(-WINSOR, WINSOR).mul_(1.0 / GRAIN).round_()
        if valid_QN is not None:
            both = torch.where(valid_QN, both, 0.0)  # padding may hold anything
        m = both.transpose(0, 1).to(torch.float64, memory_format=torch.contiguous_format)
        sums = matmul(m[:, :-1], m.transpose(1, 2))
        self.tick_cross.add_(sums[..., :-1])
        self.tick_target.add_(sums[..., -1])

    def learn_stack(self) -> None:
        """At every STACK_TICKS-th tick: everything that was noted since the last one."""
        for total, new in ((self.cross, self.tick_cross), (self.target, self.tick_target)):
            total.mul_(STACK_FORGETTING**STACK_TICKS).add_(new, alpha=GRAIN * GRAIN)
            new.zero_()
        self.solve()

    def solve(self) -> None:
        """The stack's coefficients from its sums."""
        right = self.target + STACK_RIDGE / self.num_experts
        solved = solve(self.cross + self._ridge, right).to(torch.float32)
        torch.where(torch.isfinite(solved), solved, self.coefficients, out=self.coefficients)

    def forecast(self, rows: Rows, experts_XHR: Tensor) -> tuple[Tensor, Tensor]:
        """(blend, stack), both `[H, R]`."""
        by_step_XH1 = self._interpolate(self.coefficients).t()[:, :, None]
        stack = (experts_XHR * by_step_XH1).sum(0)
        losses = self.fields.take(rows)["losses"]
        weights = (losses - losses.amin(0)).mul_(-ETA).exp_()
        weights.div_(weights.sum(0))
        spread = self._interpolate(weights)
        return (spread[:-1] * experts_XHR).sum(0).addcmul_(spread[-1], stack), stack

    def save(self) -> Iterator[tuple[str, Tensor]]:
        for name in SHARED:
            yield name, getattr(self, name).detach().clone().cpu()

    def load(self, state: Mapping[str, Tensor]) -> None:
        for name in SHARED:
            own = getattr(self, name)
            if state[name].shape != own.shape:
                raise ValueError(f"{name}: expected {tuple(own.shape)}, found {tuple(state[name].shape)}")
            own.copy_(state[name])
