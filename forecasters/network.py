"""A stack of recurrent layers with one head for all steps, over one flat parameter vector, and its optimizer.

Letters: R rows, K chunk, F inputs, D hidden units, H horizon.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from forecasters.cells import Cell

Tensor = torch.Tensor


WHOLE_COLUMNS = 8
"""Products with 5 to 7 or 9 to 11 columns round neighbouring rows differently (MKL on AVX-512): a forecast
would depend on its row in the wave. With whole groups of columns it does not."""


class Network:
    """y_HR = Wᵀ h_DR + Vᵀ x_FR + b, with h from the layers. The head starts at zero: untrained means naive.

    `weights` and `gradient` are flat; every parameter is a view of them, so that clipping, the check for
    finite numbers and Adam are a few operations whatever the depth.
    """

    def __init__(
        self,
        cell: type[Cell],
        inputs: int,
        hidden: int,
        layers: int,
        horizon: int,
        generator: torch.Generator,
        device: torch.device,
    ) -> None:
        self.layers = [cell(inputs if k == 0 else hidden, hidden, passes_on=k > 0) for k in range(layers)]
        self.state_width = sum(layer.state_width for layer in self.layers)
        self.hidden = hidden
        self.horizon = horizon
        head = {"wo": (hidden, horizon), "skip": (inputs, horizon), "bo": (horizon,)}
        shapes = [(f"{k}.{n}", s) for k, layer in enumerate(self.layers) for n, s in layer.shapes.items()]
        shapes += list(head.items())
        self.shapes = dict(shapes)
        self.num_parameters = sum(math.prod(s) for s in self.shapes.values())
        # drawn on the host, so that one seed means one network on every device
        host = torch.zeros(self.num_parameters)
        self._bind("w", host)
        for layer in self.layers:
            layer.initialise(generator)
        self.weights = host.to(device)
        self.gradient = torch.zeros_like(self.weights)
        self._bind("w", self.weights)
        self._bind("g", self.gradient)
        for layer in self.layers:
            layer.make_room()
        self._make_room()
        self.refresh()

    def refresh(self) -> None:
        """Make what is derived from the weights anew; called after each change of them."""
        for layer in self.layers:
            layer.prepare()
        if self._narrow is not self._head_weights:
            self._narrow.copy_(self._head_weights)

    def _make_room(self) -> None:
        """For the head in whole groups of columns; where it has no others, it is taken as it is."""
        hidden, inputs = self.head["wo"].shape[0], self.head["skip"].shape[0]
        self._head_weights = self.weights[-(hidden + inputs + 1) * self.horizon :].view(-1, self.horizon)
        wide = self._narrow = self._head_weights
        if missing := -self.horizon % WHOLE_COLUMNS:
            wide = wide.new_zeros(hidden + inputs + 1, self.horizon + missing)
            self._narrow = wide[:, : self.horizon]
        wo, skip, bo = wide.split([hidden, inputs, 1])
        self._wide = [bo.t(), skip.t(), wo.t()]

    def _bind(self, which: str, flat: Tensor) -> None:
        head: dict[str, Tensor] = {}
        for name, view in self.views(flat):
            layer, _, parameter = name.rpartition(".")
            (getattr(self.layers[int(layer)], which) if layer else head)[parameter] = view
        if which == "w":
            self.head = head
        else:
            self.head_gradient = head

    def views(self, flat: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Each parameter by name, as a view of a flat vector of all."""
        at = 0
        for name, shape in self.shapes.items():
            size = math.prod(shape)
            yield name, flat[at : at + size].view(shape)
            at += size

    @property
    def flops(self) -> int:
        """Floating-point operations of one forecast of one series."""
        return sum(layer.flops for layer in self.layers) + 2 * self.horizon * (
            self.hidden + self.layers[0].inputs
        )

    def step(self, x_FR: Tensor, state: Tensor) -> None:
        """Turn the state `[state_width, R]` into that after one reading, in place."""
        if len(self.layers) == 1:
            self.layers[0].step(x_FR, state)
            return
        x = x_FR
        for layer, part in zip(self.layers, self._parts(state), strict=True):
            layer.step(x, part)
            x = part[: self.hidden]

    def _parts(self, state: Tensor) -> Sequence[Tensor]:
        parts: Sequence[Tensor] = state.split([layer.state_width for layer in self.layers])
        return parts

    def output(self, x_FR: Tensor, state: Tensor) -> Tensor:
        """Departures `[H, R]` in units of scale, from the state after this reading."""
        last = state.shape[0] - self.layers[-1].state_width
        bo, skip, wo = self._wide
        return torch.addmm(bo, skip, x_FR).addmm_(wo, state[last : last + self.hidden])[: self.horizon]

    def accumulate(
        self, x_KFR: Tensor, state: Tensor, target_KHR: Tensor, weight_KHR: Tensor, delta: float
    ) -> Tensor:
        """Put the gradient of the weighted Huber loss (Huber 1964) into `gradient`; returns the loss (0-dim).

        Truncated at the chunk: `state` `[state_width, R]` is a constant. x may be float16.
        """
        outputs, tapes = x_KFR, []
        for layer, part in zip(self.layers, self._parts(state), strict=True):
            outputs, saved = layer.forward(outputs, part)
            tapes.append(saved)
        head, gradient = self.head, self.head_gradient
        x_KFR = self.layers[0].converted(tapes[0])
        error = torch.matmul(head["wo"].t(), outputs).sub_(target_KHR)
        error.add_(torch.matmul(head["skip"].t(), x_KFR)).add_(head["bo"][:, None])
        bounded = error.clamp(-delta, delta)
        dy_KHR = weight_KHR * bounded
        loss = error.sub_(bounded, alpha=0.5).mul_(dy_KHR).sum()
        gradient["wo"].copy_(torch.matmul(outputs, dy_KHR.transpose(1, 2)).sum(0))
        gradient["skip"].copy_(torch.matmul(x_KFR, dy_KHR.transpose(1, 2)).sum(0))
        gradient["bo"].copy_(dy_KHR.sum((0, 2)))
        # of one step a product of matrices is an outer one, for which a batched one takes five times as long
        dh: Tensor | None = head["wo"] * dy_KHR if self.horizon == 1 else torch.matmul(head["wo"], dy_KHR)
        for layer, saved in zip(reversed(self.layers), reversed(tapes), strict=True):
            assert dh is not None
            dh = layer.backward(dh, saved)
        return loss


@dataclass
class Adam:
    """Adam (Kingma & Ba 2015, algorithm 1) on a flat vector; the norm is clipped (Pascanu et al. 2013).

    A gradient or loss that is not finite changes nothing. What happened is counted on the device, so that no
    step waits for the host: steps `applied`, of these `clipped`, and those `skipped`; the last `norm`.
    """

    weights: Tensor
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    clip: float = 1.0

    def __post_init__(self) -> None:
        new = self.weights.new_tensor
        self.first = torch.zeros_like(self.weights)
        self.second = torch.zeros_like(self.weights)
        self.norm = new(0.0)
        self._tried = new(0.0)
        self._tally = new([0.0, 0.0])
        self.applied, self.clipped = self._tally.unbind(0)
        # on the device, once: each number of Python's in an expression costs as much as the operation
        self._zero, self._one, self._clip = new(0.0), new(1.0), new(self.clip)
        self._bars = new([-1.0, self.clip])
        self._betas = new([self.beta1, self.beta2])

    @property
    def skipped(self) -> Tensor:
        return self._tried - self.applied

    def apply(self, gradient: Tensor, loss: Tensor, rate: float) -> None:
        norm = torch.linalg.vector_norm(gradient)
        sound = torch.addcmul(norm, torch.add(norm, loss), self._zero)  # NaN unless both are finite
        passed = torch.gt(sound, self._bars)  # applied, clipped
        self._tried.add_(self._one)
        self._tally.add_(passed)
        keep = passed[0]
        torch.where(keep, norm, self.norm, out=self.norm)
        factor = torch.div(self._clip, norm.clamp(min=self.clip))
        gradient = torch.where(keep, gradient * factor, self._zero)
        # without keep every factor below is one or zero: nothing moves
        self.first.lerp_(gradient, keep * (1.0 - self.beta1))
        self.second.lerp_(gradient.square(), keep * (1.0 - self.beta2))
        n = self.applied.clamp(min=1.0)
        known_first, known_second = torch.sub(self._one, torch.pow(self._betas, n)).unbind(0)
        size = torch.div(keep * rate, known_first)
        root = torch.div(self.second, known_second).sqrt_().add_(self.epsilon)
        self.weights.addcdiv_(self.first * size, root, value=-1.0)

    def save(self) -> Iterator[tuple[str, Tensor]]:
        for name in ("first", "second", "applied", "clipped", "skipped", "norm"):
            yield name, getattr(self, name).detach().clone().cpu()

    def load(self, state: Mapping[str, Tensor]) -> None:
        for name in ("first", "second", "applied", "clipped", "skipped", "norm"):
            expected = getattr(self, name).shape
            if state[name].shape != expected:
                raise ValueError(
                    f"optimizer {name}: expected {tuple(expected)}, found {tuple(state[name].shape)}"
                )
            if name != "skipped":
                getattr(self, name).copy_(state[name])
        self._tried.copy_(state["applied"] + state["skipped"])
