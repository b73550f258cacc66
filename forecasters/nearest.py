"""One step ahead, a network's forecast is made each series' own: a small regression per series.

Letters: R rows, M inputs (4).

All series of a shard share a network's weights, and what is right for one may be wrong for another: noise is
to be drawn back to its season's profile, a slow temperature is to follow that profile's change. Seven bad
neighbours cost the others 15 to 20 % at one step so, however losses were weighed, and nearly all of it lay in
two of the inputs. So the first step is forecast by recursive least squares with forgetting (Haykin, Adaptive
Filter Theory, 4th ed., table 9.1) on the network's correction and those inputs.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from forecasters.fields import Field, Fields
from forecasters.memory import CLIP, LAGS, PROFILE

Tensor = torch.Tensor

INPUTS = (LAGS.start, PROFILE.start, PROFILE.start + 1)
"""Of the features: the last difference, the departure from the profile, the profile's change in one step."""
NUM = 1 + len(INPUTS)
FORGETTING = 0.999
"""As that of the gate; .9998 is 1 % worse on ETTh1."""
RIDGE = 10.0
"""As that of `linear`: so many squared inputs before half of what they say is believed."""

FIELDS: Mapping[str, Field] = {
    "nearest_weights": Field((NUM,), apart=True),
    "nearest_covariance": Field((NUM, NUM), apart=True),
}


def reset(fields: Fields, rows: Tensor) -> None:
    """No belief in any input: a fresh series is forecast as by naive."""
    prior = torch.eye(NUM, device=rows.device) / RIDGE
    fields["nearest_covariance"][rows] = prior


def learn(
    fields: Fields, rows: Tensor, correction: Tensor, features_RF: Tensor, dep: Tensor, valid: Tensor
) -> None:
    """From what was said one step ago and the features that it was said from; `dep` [R] is what happened."""
    # in double: in single precision the covariance of a quiet series was no covariance any more after some
    # thousand readings, and the weights of ETTm1's third series went to a hundred
    z = _inputs(correction, features_RF).double()
    w = fields["nearest_weights"].index_select(0, rows).double()
    p = fields["nearest_covariance"].index_select(0, rows).double()
    u = (p * z[:, None, :]).sum(2)
    k = u / (FORGETTING + (u * z).sum(1))[:, None]
    error = dep.clamp(-CLIP, CLIP) - (w * z).sum(1)
    new_w = w + k * error[:, None]
    new_p = p - k[:, :, None] * u[:, None, :]
    # forgetting inflates directions that are never excited; none may exceed the prior
    diagonal = torch.diagonal(new_p, dim1=1, dim2=2)
    s = (1.0 / (RIDGE * diagonal.clamp(min=1e-12))).clamp(max=1.0 / FORGETTING).sqrt()
    new_p = new_p * s[:, :, None] * s[:, None, :]
    sound = torch.isfinite(new_w).all(1) & torch.isfinite(new_p).all(2).all(1) & (diagonal > 0).all(1)
    keep = valid & sound
    fields["nearest_weights"].index_copy_(0, rows, torch.where(keep[:, None], new_w, w).float())
    fields["nearest_covariance"].index_copy_(0, rows, torch.where(keep[:, None, None], new_p, p).float())


def forecast(fields: Fields, rows: Tensor, correction: Tensor, features_RF: Tensor) -> Tensor:
    """The departure `[R]` one step ahead, in units of scale. Reads only."""
    return (fields["nearest_weights"].index_select(0, rows) * _inputs(correction, features_RF)).sum(1)


def _inputs(correction: Tensor, features_RF: Tensor) -> Tensor:
    own = features_RF[:, list(INPUTS)].to(torch.float32)
    return torch.cat([correction[:, None].clamp(-CLIP, CLIP), own], 1)
