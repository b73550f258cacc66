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
from forecasters.memory import CLIP, FAR_FEATURES, NEAR_FEATURES

Tensor = torch.Tensor

INPUTS = (NEAR_FEATURES.start, FAR_FEATURES.start, FAR_FEATURES.start + 1)
"""Of the features: the last difference, the departure from the profile, the profile's change in one step."""
NUM = 1 + len(INPUTS)
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


def learn(b: Block, correction: Tensor, features_FR: Tensor, dep: Tensor, valid: Tensor | None) -> None:
    """From what was said one step ago and the features that it was said from; `dep` [R] is what happened.
    valid `[R]`: where that was a target; None: everywhere."""
    z = _inputs(correction, features_FR)
    w, root = b["nearest_weights"], b["nearest_root"]
    s = root if valid is None else root.clone()
    f = (s * z[:, None]).sum(0)
    u = (s * f).sum(1)
    alpha = (f * f).sum(0).add_(FORGETTING)
    error = dep.clamp(-CLIP, CLIP).sub_((w * z).sum(0)).div_(alpha)
    new_w = torch.addcmul(w, u, error)
    share = (alpha * FORGETTING).sqrt_().add_(alpha)
    s.sub_((u / share)[:, None] * f)
    # forgetting inflates directions that are never excited; none may exceed the prior
    diagonal = (s * s).sum(1)
    lift = diagonal.mul_(RIDGE).clamp_(min=FORGETTING).rsqrt_()
    s.mul_(lift[:, None])
    if valid is not None:
        new_w, s = torch.where(valid, new_w, w), torch.where(valid, s, root)
        root.copy_(s)
    w.copy_(new_w)


def forecast(b: Block, correction: Tensor, features_FR: Tensor) -> Tensor:
    """The departure `[R]` one step ahead, in units of scale. Reads only."""
    return (b["nearest_weights"] * _inputs(correction, features_FR)).sum(0)


def _inputs(correction: Tensor, features_FR: Tensor) -> Tensor:
    """`[M, R]`."""
    z = correction.new_empty(NUM, correction.shape[0])
    torch.clamp(correction, -CLIP, CLIP, out=z[0])
    for k, feature in enumerate(INPUTS, 1):
        z[k] = features_FR[feature]
    return z
