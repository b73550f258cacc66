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


def tanh(z: Tensor) -> Tensor:
    return torch.sigmoid(z * 2.0).mul_(2.0).sub_(1.0)


class Cell(ABC):
    """One recurrent layer over views of a flat parameter vector.

    `shapes` names the parameters; `w` and `g` map those names to views of the weights and of their gradient.
    State is one tensor `[R, state_width]`.
    """

    gates: ClassVar[int]
    state_parts: ClassVar[int] = 1

    def __init__(self, inputs: int, hidden: int) -> None:
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

    @abstractmethod
    def step(self, x_RF: Tensor, state: Tensor) -> Tensor:
        """The state after one reading; the first `hidden` columns are the output."""

    @abstractmethod
    def forward(self, x_KRF: Tensor, state: Tensor) -> tuple[Tensor, list[tuple[Tensor, ...]]]:
        """Outputs `[K, R, D]` and what `backward` needs of each step."""

    @abstractmethod
    def backward(self, x_KRF: Tensor, dh_KRD: Tensor, saved: list[tuple[Tensor, ...]]) -> Tensor:
        """Add the gradients of the weights to `g`; returns that of the inputs `[K, R, F]`."""

    def _project(self, x_KRF: Tensor) -> Tensor:
        k, r, f = x_KRF.shape
        return torch.addmm(self.w["b"], x_KRF.reshape(k * r, f), self.w["wx"]).view(k, r, -1)

    def _input_gradients(self, x_KRF: Tensor, dz_KRG: Tensor) -> Tensor:
        k, r, f = x_KRF.shape
        dz = dz_KRG.reshape(k * r, -1)
        self.g["wx"].addmm_(x_KRF.reshape(k * r, f).t(), dz)
        self.g["b"].add_(dz.sum(0))
        return torch.mm(dz, self.w["wx"].t()).view(k, r, f)


def _uniform(shape: tuple[int, ...], bound: float, generator: torch.Generator) -> Tensor:
    return (torch.rand(*shape, generator=generator) * 2.0 - 1.0) * bound


class Elman(Cell):
    """h' = tanh(W x + U h + b) (Elman 1990)."""

    gates = 1

    def step(self, x_RF: Tensor, state: Tensor) -> Tensor:
        z = torch.addmm(self.w["b"], x_RF, self.w["wx"])
        return tanh(torch.addmm(z, state, self.w["wh"]))

    def forward(self, x_KRF: Tensor, state: Tensor) -> tuple[Tensor, list[tuple[Tensor, ...]]]:
        z_KRD = self._project(x_KRF)
        outputs, h = [], state
        saved: list[tuple[Tensor, ...]] = []
        for z in z_KRD:
            previous, h = h, tanh(torch.addmm(z, h, self.w["wh"]))
            outputs.append(h)
            saved.append((previous, h))
        return torch.stack(outputs), saved

    def backward(self, x_KRF: Tensor, dh_KRD: Tensor, saved: list[tuple[Tensor, ...]]) -> Tensor:
        dz_KRD = torch.empty_like(dh_KRD)
        wh_t = self.w["wh"].t()
        carried: Tensor | None = None
        for k in range(len(saved) - 1, -1, -1):
            h = saved[k][1]
            dh = dh_KRD[k] if carried is None else dh_KRD[k] + carried
            torch.mul(dh, 1.0 - h * h, out=dz_KRD[k])
            carried = torch.mm(dz_KRD[k], wh_t)
        previous = torch.cat([p for p, _ in saved])
        self.g["wh"].addmm_(previous.t(), dz_KRD.view(-1, self.hidden))
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

    def _gates(self, z: Tensor) -> Tensor:
        """Activate `[R, 4 D]` in place: σ everywhere, and tanh = 2 σ(2z) - 1 for the cell gate."""
        d = self.hidden
        z[:, 2 * d : 3 * d].mul_(2.0)
        torch.sigmoid(z, out=z)
        z[:, 2 * d : 3 * d].mul_(2.0).sub_(1.0)
        return z

    def _advance(self, z: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        a = self._gates(z)
        i, f, g, o = a.chunk(4, 1)
        c_new = torch.addcmul(f * c, i, g)
        t = tanh(c_new)
        return o * t, c_new, a, t

    def step(self, x_RF: Tensor, state: Tensor) -> Tensor:
        h, c = state[:, : self.hidden], state[:, self.hidden :]
        z = torch.addmm(torch.addmm(self.w["b"], x_RF, self.w["wx"]), h, self.w["wh"])
        h, c, _, _ = self._advance(z, c)
        return torch.cat([h, c], 1)

    def forward(self, x_KRF: Tensor, state: Tensor) -> tuple[Tensor, list[tuple[Tensor, ...]]]:
        z_KRG = self._project(x_KRF)
        h, c = state[:, : self.hidden], state[:, self.hidden :]
        outputs: list[Tensor] = []
        saved: list[tuple[Tensor, ...]] = []
        for z in z_KRG:
            h_before, c_before = h, c
            h, c, a, t = self._advance(torch.addmm(z, h, self.w["wh"]), c)
            outputs.append(h)
            saved.append((h_before, c_before, a, t))
        return torch.stack(outputs), saved

    def backward(self, x_KRF: Tensor, dh_KRD: Tensor, saved: list[tuple[Tensor, ...]]) -> Tensor:
        k, r, d = dh_KRD.shape
        dz_KRG = dh_KRD.new_empty(k, r, 4 * d)
        wh_t = self.w["wh"].t()
        dh_next: Tensor | None = None
        dc: Tensor | None = None
        for s in range(k - 1, -1, -1):
            _, c_before, a, t = saved[s]
            i, f, g, o = a.chunk(4, 1)
            dh = dh_KRD[s] if dh_next is None else dh_KRD[s] + dh_next
            inner = dh * o * (1.0 - t * t)
            dc = inner if dc is None else dc + inner
            dz = dz_KRG[s]
            slope = a * (1.0 - a)
            torch.mul(dc * g, slope[:, :d], out=dz[:, :d])
            torch.mul(dc * c_before, slope[:, d : 2 * d], out=dz[:, d : 2 * d])
            torch.mul(dc * i, 1.0 - g * g, out=dz[:, 2 * d : 3 * d])
            torch.mul(dh * t, slope[:, 3 * d :], out=dz[:, 3 * d :])
            dh_next = torch.mm(dz, wh_t)
            dc = dc * f
        previous = torch.cat([p[0] for p in saved])
        self.g["wh"].addmm_(previous.t(), dz_KRG.view(-1, 4 * d))
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

    def forward(self, x_KRF: Tensor, state: Tensor) -> tuple[Tensor, list[tuple[Tensor, ...]]]:
        outputs, h = [], state
        saved: list[tuple[Tensor, ...]] = []
        for z in self._project(x_KRF):
            previous = h
            h, ru, inner, n = self._advance(z, h)
            outputs.append(h)
            saved.append((previous, ru, inner, n))
        return torch.stack(outputs), saved

    def backward(self, x_KRF: Tensor, dh_KRD: Tensor, saved: list[tuple[Tensor, ...]]) -> Tensor:
        k, r, d = dh_KRD.shape
        dz_KRG = dh_KRD.new_empty(k, r, 3 * d)  # by the inputs
        du_KRG = dh_KRD.new_empty(k, r, 3 * d)  # by U h
        wh_t = self.w["wh"].t()
        carried: Tensor | None = None
        for s in range(k - 1, -1, -1):
            previous, ru, inner, n = saved[s]
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
        self.g["wh"].addmm_(torch.cat([p[0] for p in saved]).t(), du_KRG.view(-1, 3 * d))
        self.g["bh"].add_(du_KRG[:, :, 2 * d :].sum((0, 1)))
        return self._input_gradients(x_KRF, dz_KRG)
