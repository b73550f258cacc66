"""One step ahead, a network's forecast is made each series' own: a small regression per series.

Letters: R rows, M inputs (4).

All series of a shard share a network's weights, and what is right for one may be wrong for another: noise is
to be drawn back to its season's profile, a slow temperature is to follow that profile's change. Seven bad
neighbours cost the others 15 to 20 % at one step so, however losses were weighed, and nearly all of it lay in
two of the inputs. So the first step is forecast by recursive least squares with forgetting (Haykin, Adaptive
Filter Theory, 4th ed., table 9.1) on the network's correction and those inputs. What is kept is a square root
of the covariance (Potter 1963; Bierman, Factorization Methods for Discrete Sequential Estimation, § II.8):
in single precision a covariance itself was none any more after some thousand readings of a quiet series.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

from forecasters.fields import Block, Field, Fields
from forecasters.memory import CLIP, NEAREST

Tensor = torch.Tensor

NUM = 1 + len(NEAREST)
FORGETTING = 0.999
"""As that of the gate; .9998 is 1 % worse on ETTh1."""
RIDGE = 10.0
"""As that of `linear`: so many squared inputs before half of what they say is believed."""

FIELDS: Mapping[str, Field] = {
    "nearest_weights": Field((NUM,)),
    "nearest_root": Field((NUM, NUM)),  # S, where S S' is the covariance
}


def reset(fields: Fields, rows: Tensor) -> None:
    """No belief in any input: a fresh series is forecast as by naive."""
    fields["nearest_root"][rows] = torch.eye(NUM, device=rows.device) / math.sqrt(RIDGE)


def learn(b: Block, correction: Tensor, own_MR: Tensor, dep: Tensor, valid: Tensor | None) -> None:
    """From what was said one step ago and the features `NEAREST` that it was said from; `dep` [R] is what
    happened. valid `[R]`: where that was a target; None: everywhere."""
    z = torch.cat([correction.clamp(-CLIP, CLIP)[None], own_MR])
    weights, root = b["nearest_weights"], b["nearest_root"]
    w, s = (weights, root) if valid is None else (weights.clone(), root.clone())
    f = (s * z[:, None]).sum(0)
    u = (s * f).sum(1)
    alpha = (f * f).sum(0).add_(FORGETTING)
    error = dep.clamp(-CLIP, CLIP) - (w * z).sum(0)
    w.addcmul_(u, error.div_(alpha))
    u.div_((alpha * FORGETTING).sqrt_().add_(alpha))
    s.addcmul_(u[:, None], f, value=-1.0)
    # forgetting inflates directions that are never excited; none may exceed the prior
    lift = (s * s).sum(1).mul_(RIDGE).clamp_(min=FORGETTING).rsqrt_()
    s.mul_(lift[:, None])
    if valid is not None:
        weights.copy_(torch.where(valid, w, weights))
        root.copy_(torch.where(valid, s, root))


def forecast(b: Block, correction: Tensor, own_MR: Tensor) -> Tensor:
    """The departure `[R]` one step ahead, in units of scale, from the features `NEAREST` now. Reads only."""
    w = b["nearest_weights"]
    return (w[1:] * own_MR).sum(0).addcmul_(w[0], correction.clamp(-CLIP, CLIP))
