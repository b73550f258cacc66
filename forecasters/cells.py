"""Recurrent cells with forward and backward passes written out: Elman, LSTM and GRU.

Letters: R rows, K chunk, F inputs, D hidden units, G gates (1, 4, 3).

One layer is `x_KRF, state -> h_KRD`. The passes are by hand because autograd's bookkeeping costs more than
the arithmetic at these sizes; tests hold them equal to autograd on `torch.nn.RNN`, `LSTM` and `GRU`. Tanh is
computed as 2 σ(2z) - 1, several times faster than `torch.tanh` on a CPU.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar

import torch

Tensor = torch.Tensor
Tape = tuple[Tensor, ...]
"""What `backward` needs of a forward pass."""


def tanh(z: Tensor) -> Tensor:
    return from_sigmoid(torch.sigmoid(z * 2.0))


def from_sigmoid(s: Tensor) -> Tensor:
    """tanh(z), in place, from σ(2z)."""
    return s.mul_(2.0).sub_(1.0)


class Cell(ABC):
    """One recurrent layer over views of a flat parameter vector.

    `shapes` names the parameters; `w` and `g` map those names to views of the weights and of their gradient.
    State is one tensor `[R, state_width]`.
    """

    gates: ClassVar[int]
    state_parts: ClassVar[int] = 1

    def __init__(self, inputs: int, hidden: int, *, passes_on: bool = True) -> None:
        """passes_on: whether somebody below asks for the gradient of the inputs."""
        self.passes_on = passes_on
        self.inputs = inputs
        self.hidden = hidden
        self.w: dict[str, Tensor] = {}
        self.g: dict[str, Tensor] = {}

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        width = self.gates * self.hidden
        return {"wx": (self.inputs, width), "wh": (self.hidden, width), "b": (width,)}

    @property
    def state_width(self) -> int:
        return self.state_parts * self.hidden

    @property
    def flops(self) -> int:
        """Multiply-adds times two of one step of one row."""
        return 2 * self.gates * self.hidden * (self.inputs + self.hidden)

    def initialise(self, generator: torch.Generator) -> None:
        """Uniform ± 1/√D as in torch.nn; recurrent weights orthogonal per gate (Saxe et al. 2014)."""
        bound = 1.0 / math.sqrt(self.hidden)
        for name in ("wx", "b"):
            self.w[name].copy_(_uniform(self.shapes[name], bound, generator))
        for k in range(self.gates):
            q, r = torch.linalg.qr(torch.randn(self.hidden, self.hidden, generator=generator))
            self.w["wh"][:, k * self.hidden : (k + 1) * self.hidden].copy_(q * torch.sign(torch.diagonal(r)))

    def prepare(self) -> None:  # noqa: B027 (most cells need nothing)
        """Called whenever the weights have changed, before they are used."""

    @abstractmethod
    def step(self, x_RF: Tensor, state: Tensor) -> Tensor:
        """The state after one reading; the first `hidden` columns are the output."""

    @abstractmethod
    def forward(self, x_KRF: Tensor, state: Tensor) -> tuple[Tensor, Tape]:
        """Outputs `[K, R, D]` and what `backward` needs of each step."""

    @abstractmethod
    def backward(self, x_KRF: Tensor, dh_KRD: Tensor, saved: Tape) -> Tensor | None:
        """Add the gradients of the weights to `g`; returns that of the inputs `[K, R, F]` if it passes on."""

    def _project(self, x_KRF: Tensor) -> Tensor:
        k, r, f = x_KRF.shape
        return torch.addmm(self.w["b"], x_KRF.reshape(k * r, f), self.w["wx"]).view(k, r, -1)

    def _input_gradients(self, x_KRF: Tensor, dz_KRG: Tensor) -> Tensor | None:
        k, r, f = x_KRF.shape
        dz = dz_KRG.reshape(k * r, -1)
        self.g["wx"].addmm_(x_KRF.reshape(k * r, f).t(), dz)
        self.g["b"].add_(dz.sum(0))
        return torch.mm(dz, self.w["wx"].t()).view(k, r, f) if self.passes_on else None


def _uniform(shape: tuple[int, ...], bound: float, generator: torch.Generator) -> Tensor:
    return (torch.rand(*shape, generator=generator) * 2.0 - 1.0) * bound


class Elman(Cell):
    """h' = tanh(W x + U h + b) (Elman 1990)."""

    gates = 1

    def step(self, x_RF: Tensor, state: Tensor) -> Tensor:
        z = torch.addmm(self.w["b"], x_RF, self.w["wx"])
        return self._activate(z, state)

    def _activate(self, z: Tensor, h: Tensor) -> Tensor:
        return from_sigmoid(torch.addmm(z, h, self.w["wh"], beta=2.0, alpha=2.0).sigmoid_())

    def forward(self, x_KRF: Tensor, state: Tensor) -> tuple[Tensor, Tape]:
        z_KRD = self._project(x_KRF)
        h_KRD = z_KRD.new_empty(z_KRD.shape[0] + 1, *z_KRD.shape[1:])  # the first is the state before
        h_KRD[0] = state
        for k, z in enumerate(z_KRD):
            torch.addmm(z, h_KRD[k], self.w["wh"], beta=2.0, alpha=2.0, out=h_KRD[k + 1])
            from_sigmoid(h_KRD[k + 1].sigmoid_())
        return h_KRD[1:], (h_KRD,)

    def backward(self, x_KRF: Tensor, dh_KRD: Tensor, saved: Tape) -> Tensor | None:
        (h_KRD,) = saved
        slope_KRD = 1.0 - h_KRD[1:] * h_KRD[1:]
        dz_KRD = torch.empty_like(dh_KRD)
        wh_t = self.w["wh"].t()
        dh = dh_KRD[-1]
        for k in range(dh_KRD.shape[0] - 1, -1, -1):
            torch.mul(dh, slope_KRD[k], out=dz_KRD[k])
            if k:
                dh = torch.addmm(dh_KRD[k - 1], dz_KRD[k], wh_t)
        self.g["wh"].addmm_(h_KRD[:-1].view(-1, self.hidden).t(), dz_KRD.view(-1, self.hidden))
        return self._input_gradients(x_KRF, dz_KRD)


class LSTM(Cell):
    """Long short-term memory with forget gate (Hochreiter & Schmidhuber 1997; Gers et al. 2000).

    Gates in the order of torch.nn.LSTM: input, forget, cell, output. State is (h, c).
    """

    gates = 4
    state_parts = 2

    def initialise(self, generator: torch.Generator) -> None:
        super().initialise(generator)
        # an open forget gate at first (Jozefowicz et al. 2015)
        self.w["b"][self.hidden : 2 * self.hidden] += 1.0

    def prepare(self) -> None:
        """Weights with the cell gate doubled, so that one σ serves all gates: tanh z = 2 σ(2z) - 1."""
        cell = slice(2 * self.hidden, 3 * self.hidden)
        self._doubled = {name: self.w[name].clone() for name in ("wx", "wh", "b")}
        for w in self._doubled.values():
            w[..., cell] *= 2.0

    def _advance(self, z: Tensor, c: Tensor, c_new: Tensor, t: Tensor, h: Tensor) -> None:
        """Activate `z` `[R, 4 D]` in place; write the new cell, its tanh and the new output."""
        d = self.hidden
        i, f, g, o = z.sigmoid_().split(d, 1)
        from_sigmoid(g)
        torch.mul(f, c, out=c_new).addcmul_(i, g)
        from_sigmoid(torch.mul(c_new, 2.0, out=t).sigmoid_())
        torch.mul(o, t, out=h)

    def step(self, x_RF: Tensor, state: Tensor) -> Tensor:
        w, d = self._doubled, self.hidden
        z = torch.addmm(w["b"], x_RF, w["wx"]).addmm_(state[:, :d], w["wh"])
        new = torch.empty_like(state)
        self._advance(z, state[:, d:], new[:, d:], torch.empty_like(state[:, :d]), new[:, :d])
        return new

    def forward(self, x_KRF: Tensor, state: Tensor) -> tuple[Tensor, Tape]:
        w, d = self._doubled, self.hidden
        k, r, f = x_KRF.shape
        a_KRG = torch.addmm(w["b"], x_KRF.reshape(k * r, f), w["wx"]).view(k, r, -1)
        h_KRD, c_KRD = (a_KRG.new_empty(k + 1, r, d) for _ in range(2))  # the first is the state before
        t_KRD = a_KRG.new_empty(k, r, d)
        h_KRD[0], c_KRD[0] = state[:, :d], state[:, d:]
        for s in range(k):
            a_KRG[s].addmm_(h_KRD[s], w["wh"])
            self._advance(a_KRG[s], c_KRD[s], c_KRD[s + 1], t_KRD[s], h_KRD[s + 1])
        return h_KRD[1:], (h_KRD, c_KRD, a_KRG, t_KRD)

    def backward(self, x_KRF: Tensor, dh_KRD: Tensor, saved: Tape) -> Tensor | None:
        h_KRD, c_KRD, a_KRG, t_KRD = saved
        k, r, d = dh_KRD.shape
        i, f, g, o = a_KRG.split(d, 2)
        # everything that does not run backwards in time, for all steps at once
        through_KRD = o * (1.0 - t_KRD * t_KRD)
        slope_KR3D = a_KRG.new_empty(k, r, 3, d)
        torch.mul(g * i, 1.0 - i, out=slope_KR3D[:, :, 0])
        torch.mul(c_KRD[:-1] * f, 1.0 - f, out=slope_KR3D[:, :, 1])
        torch.mul(i, 1.0 - g * g, out=slope_KR3D[:, :, 2])
        slope_o_KRD = (t_KRD * o).mul_(1.0 - o)
        dz_KRG = a_KRG.new_empty(k, r, 4 * d)
        wh_t = self.w["wh"].t()
        dh, dc = dh_KRD[-1], torch.zeros_like(dh_KRD[-1])
        for s in range(k - 1, -1, -1):
            dc.addcmul_(dh, through_KRD[s])
            torch.mul(dc[:, None], slope_KR3D[s], out=dz_KRG[s, :, : 3 * d].unflatten(1, (3, d)))
            torch.mul(dh, slope_o_KRD[s], out=dz_KRG[s, :, 3 * d :])
            if s:
                dh = torch.addmm(dh_KRD[s - 1], dz_KRG[s], wh_t)
                dc.mul_(f[s])
        self.g["wh"].addmm_(h_KRD[:-1].view(-1, d).t(), dz_KRG.view(-1, 4 * d))
        return self._input_gradients(x_KRF, dz_KRG)


class GRU(Cell):
    """Gated recurrent unit (Cho et al. 2014), as torch.nn.GRU has it: n = tanh(Wx + b + r ∘ (U h + u))."""

    gates = 3

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {**super().shapes, "bh": (self.hidden,)}

    def initialise(self, generator: torch.Generator) -> None:
        super().initialise(generator)
        self.w["bh"].zero_()

    def _advance(self, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        d = self.hidden
        u = torch.mm(h, self.w["wh"])
        ru = torch.sigmoid(z[:, : 2 * d] + u[:, : 2 * d])
        inner = u[:, 2 * d :] + self.w["bh"]
        n = tanh(torch.addcmul(z[:, 2 * d :], ru[:, :d], inner))
        return torch.lerp(n, h, ru[:, d:]), ru, inner, n

    def step(self, x_RF: Tensor, state: Tensor) -> Tensor:
        return self._advance(torch.addmm(self.w["b"], x_RF, self.w["wx"]), state)[0]

    def forward(self, x_KRF: Tensor, state: Tensor) -> tuple[Tensor, Tape]:
        steps = [(state, state, state, state)]
        for z in self._project(x_KRF):
            h, ru, inner, n = self._advance(z, steps[-1][0])
            steps.append((h, ru, inner, n))
        h_KRD = torch.stack([s[0] for s in steps])
        return h_KRD[1:], (h_KRD, *(torch.stack([s[p] for s in steps[1:]]) for p in (1, 2, 3)))

    def backward(self, x_KRF: Tensor, dh_KRD: Tensor, saved: Tape) -> Tensor | None:
        h_KRD, ru_KRG, inner_KRD, n_KRD = saved
        k, r, d = dh_KRD.shape
        dz_KRG = dh_KRD.new_empty(k, r, 3 * d)  # by the inputs
        du_KRG = dh_KRD.new_empty(k, r, 3 * d)  # by U h
        wh_t = self.w["wh"].t()
        carried: Tensor | None = None
        for s in range(k - 1, -1, -1):
            previous, ru, inner, n = h_KRD[s], ru_KRG[s], inner_KRD[s], n_KRD[s]
            reset, update = ru[:, :d], ru[:, d:]
            dh = dh_KRD[s] if carried is None else dh_KRD[s] + carried
            dn = dh * (1.0 - update) * (1.0 - n * n)
            dz, du = dz_KRG[s], du_KRG[s]
            dz[:, 2 * d :] = dn
            torch.mul(dn * inner, reset * (1.0 - reset), out=dz[:, :d])
            torch.mul(dh * (previous - n), update * (1.0 - update), out=dz[:, d : 2 * d])
            du[:, : 2 * d] = dz[:, : 2 * d]
            torch.mul(dn, reset, out=du[:, 2 * d :])
            carried = torch.addmm(dh * update, du, wh_t)
        self.g["wh"].addmm_(h_KRD[:-1].view(-1, d).t(), du_KRG.view(-1, 3 * d))
        self.g["bh"].add_(du_KRG[:, :, 2 * d :].sum((0, 1)))
        return self._input_gradients(x_KRF, dz_KRG)
