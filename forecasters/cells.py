"""Recurrent cells with forward and backward passes written out: Elman, LSTM and GRU.

Letters: R rows, K chunk, F inputs, D hidden units, G gates times D, I = F + 1 + D.

One layer is `x_KFR, state -> h_KDR`. Everything has the rows last: a gate is then one piece of memory, and
what runs over the units of a gate runs over all rows at once. What goes into a step, `[x; 1; h]`, lies in one
piece `[I, R]`, so that a step is one product with all weights, and their gradient another. The passes are by
hand because autograd's bookkeeping costs more than the arithmetic at these sizes; tests hold them equal to it
on `torch.nn.RNN`, `LSTM` and `GRU`. Tanh is computed as 2 σ(2z) - 1, several times faster than `torch.tanh`
on a CPU; the weights into a tanh are therefore kept doubled (`prepare`).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar

import torch

Tensor = torch.Tensor
Tape = tuple[Tensor, ...]
"""What `backward` needs of a forward pass; what `Cell._inputs` gave comes first."""

MINUS_TWO, MINUS_ONE, TWO = (torch.tensor(n) for n in (-2.0, -1.0, 2.0))
"""Numbers given as tensors: wrapping Python ones costs more than the arithmetic on a small wave."""


def from_sigmoid(s: Tensor, out: Tensor | None = None) -> Tensor:
    """tanh(z) from σ(2z); in place unless `out` is given."""
    return torch.add(MINUS_ONE, s, alpha=2.0, out=s if out is None else out)


def slope(s: Tensor, out: Tensor | None = None) -> Tensor:
    """The derivative of s = σ(z) by z: s - s²."""
    return torch.addcmul(s, s, s, value=-1.0, out=out)


class Cell(ABC):
    """One recurrent layer over views of a flat parameter vector.

    `shapes` names the parameters; `w` and `g` map those names to views of the weights and of their gradient.
    State is one tensor `[state_width, R]`, the output first.
    """

    gates: ClassVar[int]
    state_parts: ClassVar[int] = 1
    through_tanh: ClassVar[int]
    """The gate that goes through a tanh; the others go through a sigmoid."""

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

    def make_room(self) -> None:
        """Called once `w` and `g` are there."""
        w, f = self.w, self.inputs
        self._by_gate = w["wx"].t(), w["b"][:, None], w["wh"].t()
        self.weights = w["wx"].new_empty(self.gates * self.hidden, f + 1 + self.hidden)
        self.wx, self.b, self.wh = self.weights.split([f, 1, self.hidden], 1)
        tanh = slice(self.through_tanh * self.hidden, (self.through_tanh + 1) * self.hidden)
        self._to_double = self.weights[tanh]
        self._total = self.weights.new_empty(self.weights.shape[::-1])
        self._total_by_part = self._total.split([f, 1, self.hidden])
        # not every operation takes a number of the host beside a device's
        self._zero, self._one = w["b"].new_tensor([0.0, 1.0]).unbind(0)

    def prepare(self) -> None:
        """Called whenever the weights have changed, before they are used."""
        torch.cat(self._by_gate, 1, out=self.weights)
        self._to_double.mul_(TWO)

    weights: Tensor
    """`[G, I]`, the gate with the tanh doubled; the next three are its columns."""
    wx: Tensor
    b: Tensor
    wh: Tensor

    @abstractmethod
    def step(self, x_FR: Tensor, state: Tensor) -> None:
        """Turn the state into that after one reading, in place."""

    @abstractmethod
    def forward(self, x_KFR: Tensor, state: Tensor) -> tuple[Tensor, Tape]:
        """Outputs `[K, D, R]` and what `backward` needs of each step."""

    @abstractmethod
    def backward(self, dh_KDR: Tensor, saved: Tape) -> Tensor | None:
        """Put the gradients of the weights into `g`; returns that of the inputs `[K, F, R]` if it passes on.
        Uses up `dh_KDR`."""

    def _inputs(self, x_KFR: Tensor, h_DR: Tensor) -> Tensor:
        """`[K + 1, I, R]`: inputs of each step, with room for the outputs; the first ones are h."""
        k, f, r = x_KFR.shape
        whole = h_DR.new_empty(k + 1, f + 1 + self.hidden, r)
        whole[:k, :f] = x_KFR
        whole[:, f] = 1.0
        whole[0, f + 1 :] = h_DR
        return whole

    def converted(self, saved: Tape) -> Tensor:
        """The inputs of a forward pass `[K, F, R]` as it took them, float32."""
        return saved[0][:-1, : self.inputs]

    def _outputs(self, whole_KIR: Tensor) -> Tensor:
        """`[K + 1, D, R]`; the first is the state before."""
        return whole_KIR[:, self.inputs + 1 :]

    def _inputs_gradient(self, dh_KDR: Tensor) -> Tensor | None:
        k, _, r = dh_KDR.shape
        return dh_KDR.new_empty(k, self.inputs, r) if self.passes_on else None

    def _add_up(self, whole_IR: Tensor, dz_GR: Tensor, *, is_first: bool) -> None:
        """What a step gives to the gradient by the weights as they are, `[I, G]`: turned round against
        `weights`, since a product with as many columns as the gates have units takes three quarters of the
        time of one with an odd number."""
        if is_first:
            torch.mm(whole_IR, dz_GR.t(), out=self._total)
        else:
            self._total.addmm_(whole_IR, dz_GR.t())

    def _finish(self) -> None:
        """That gradient into `g`."""
        wx, b, wh = self._total_by_part
        self.g["wx"].copy_(wx)
        self.g["b"].copy_(b[0])
        self.g["wh"].copy_(wh)


def _uniform(shape: tuple[int, ...], bound: float, generator: torch.Generator) -> Tensor:
    return (torch.rand(*shape, generator=generator) * 2.0 - 1.0) * bound


def _parts(steps: Tensor) -> tuple[Tensor, ...]:
    """`[K, N, …]` as K · N views."""
    return steps.flatten(0, 1).unbind(0)


class Elman(Cell):
    """h' = tanh(W x + U h + b) (Elman 1990)."""

    gates = 1
    through_tanh = 0

    def step(self, x_FR: Tensor, state: Tensor) -> None:
        from_sigmoid(torch.addmm(self.b, self.wx, x_FR).addmm_(self.wh, state).sigmoid_(), out=state)

    def forward(self, x_KFR: Tensor, state: Tensor) -> tuple[Tensor, Tape]:
        whole = self._inputs(x_KFR, state)
        outputs = self._outputs(whole)
        for before, after in zip(whole.unbind(0)[:-1], outputs.unbind(0)[1:], strict=True):
            from_sigmoid(torch.mm(self.weights, before, out=after).sigmoid_())
        return outputs[1:], (whole,)

    def backward(self, dh_KDR: Tensor, saved: Tape) -> Tensor | None:
        whole, dhs, dx = saved[0], dh_KDR.unbind(0), self._inputs_gradient(dh_KDR)
        h_KDR = self._outputs(whole)[1:]
        h = h_KDR.unbind(0)
        dz = torch.empty_like(dhs[0])
        last = len(dhs) - 1
        for k in range(last, -1, -1):
            torch.addcmul(self._one, h[k], h[k], value=-1.0, out=dz).mul_(dhs[k])
            if k:
                dhs[k - 1].addmm_(self.w["wh"], dz)
            self._add_up(whole[k], dz, is_first=k == last)
            if dx is not None:
                torch.mm(self.w["wx"], dz, out=dx[k])
        self._finish()
        return dx


class LSTM(Cell):
    """Long short-term memory with forget gate (Hochreiter & Schmidhuber 1997; Gers et al. 2000).

    Gates in the order of torch.nn.LSTM: input, forget, cell, output. State is (h, c).
    """

    gates = 4
    state_parts = 2
    through_tanh = 2

    def initialise(self, generator: torch.Generator) -> None:
        super().initialise(generator)
        # an open forget gate at first (Jozefowicz et al. 2015)
        self.w["b"][self.hidden : 2 * self.hidden] += 1.0

    def step(self, x_FR: Tensor, state: Tensor) -> None:
        h, c = state.chunk(2)
        i, f, g, o = torch.addmm(self.b, self.wx, x_FR).addmm_(self.wh, h).sigmoid_().chunk(4)
        from_sigmoid(g)
        c.mul_(f).addcmul_(i, g)
        t = from_sigmoid(torch.mul(c, TWO, out=g).sigmoid_())
        torch.mul(o, t, out=h)

    def forward(self, x_KFR: Tensor, state: Tensor) -> tuple[Tensor, Tape]:
        (k, _, r), d = x_KFR.shape, self.hidden
        whole = self._inputs(x_KFR, state[:d])
        outputs = self._outputs(whole)
        a_K4DR, t_KDR = state.new_empty(k, 4, d, r), state.new_empty(k, d, r)
        # cell gate and cell before, doubled: the cell can then go through a sigmoid as it is
        gc_K2DR = state.new_empty(k + 1, 2, d, r)
        torch.mul(state[d:], TWO, out=gc_K2DR[0, 1])
        # all views at once: each call for one costs as much as the arithmetic on a small wave
        z, a, gc = a_K4DR.flatten(1, 2).unbind(0), _parts(a_K4DR), _parts(gc_K2DR)
        ins, t, h = whole.unbind(0), t_KDR.unbind(0), outputs.unbind(0)
        for s in range(k):
            torch.mm(self.weights, ins[s], out=z[s]).sigmoid_()
            i, f, sigma, o = a[4 * s : 4 * s + 4]
            g, c, _, c_new = gc[2 * s : 2 * s + 4]
            torch.add(MINUS_TWO, sigma, alpha=4.0, out=g)
            torch.mul(f, c, out=c_new).addcmul_(i, g)
            from_sigmoid(torch.sigmoid(c_new, out=t[s]))
            torch.mul(o, t[s], out=h[s + 1])
        return outputs[1:], (whole, gc_K2DR, a_K4DR, t_KDR)

    def backward(self, dh_KDR: Tensor, saved: Tape) -> Tensor | None:
        whole, gc, a, t = (part.unbind(0) for part in saved)
        by_gate = _parts(saved[2])
        h, dhs, dx = self._outputs(saved[0]).unbind(0), dh_KDR.unbind(0), self._inputs_gradient(dh_KDR)
        dc, through = torch.zeros_like(dhs[0]), torch.empty_like(dhs[0])  # dc: by the doubled cell
        dz_4DR = torch.empty_like(a[0])
        dz, dz_2DR, dz_3DR, dz_g, dz_o = dz_4DR.flatten(0, 1), dz_4DR[:2], dz_4DR[:3], dz_4DR[2], dz_4DR[3]
        last = len(dhs) - 1
        for k in range(last, -1, -1):
            i, f, _, o = by_gate[4 * k : 4 * k + 4]
            # dc += dh · o (1 - t²) / 2, and o t is the output
            torch.addcmul(o, h[k + 1], t[k], value=-1.0, out=through)
            dc.addcmul_(dhs[k], through, value=0.5)
            slope(a[k], out=dz_4DR)
            dz_2DR.mul_(gc[k])
            torch.addcmul(self._zero, dz_g, i, value=8.0, out=dz_g)  # twice g = 4 σ(2z) - 2
            dz_o.mul_(t[k]).mul_(dhs[k])
            dz_3DR.mul_(dc)
            if k:
                dhs[k - 1].addmm_(self.w["wh"], dz)
                dc.mul_(f)
            self._add_up(whole[k], dz, is_first=k == last)
            if dx is not None:
                torch.mm(self.w["wx"], dz, out=dx[k])
        self._finish()
        return dx


class GRU(Cell):
    """Gated recurrent unit (Cho et al. 2014), as torch.nn.GRU has it: n = tanh(Wx + b + r ∘ (U h + u))."""

    gates = 3
    through_tanh = 2

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {**super().shapes, "bh": (self.hidden,)}

    def initialise(self, generator: torch.Generator) -> None:
        super().initialise(generator)
        self.w["bh"].zero_()

    def make_room(self) -> None:
        super().make_room()
        self.bh = self.w["bh"].new_empty(self.hidden, 1)

    def prepare(self) -> None:
        super().prepare()
        torch.mul(self.w["bh"][:, None], TWO, out=self.bh)

    def _advance(self, x_FR: Tensor, h: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        d = self.hidden
        z, u = torch.addmm(self.b, self.wx, x_FR), torch.mm(self.wh, h)
        ru = torch.add(z[: 2 * d], u[: 2 * d]).sigmoid_()
        inner = u[2 * d :] + self.bh  # doubled
        n = from_sigmoid(torch.addcmul(z[2 * d :], ru[:d], inner).sigmoid_())
        return torch.lerp(n, h, ru[d:]), ru, inner, n

    def step(self, x_FR: Tensor, state: Tensor) -> None:
        state.copy_(self._advance(x_FR, state)[0])

    def forward(self, x_KFR: Tensor, state: Tensor) -> tuple[Tensor, Tape]:
        whole = self._inputs(x_KFR, state)
        outputs = self._outputs(whole)
        tape = []
        for k, x in enumerate(whole[:-1, : self.inputs].unbind(0)):
            h, *rest = self._advance(x, outputs[k])
            outputs[k + 1] = h
            tape.append(rest)
        return outputs[1:], (whole, *(torch.stack(part) for part in zip(*tape, strict=True)))

    def backward(self, dh_KDR: Tensor, saved: Tape) -> Tensor | None:
        whole, rus, inners, ns = (part.unbind(0) for part in saved)
        hs, dhs, d, f = self._outputs(saved[0]).unbind(0), dh_KDR.unbind(0), self.hidden, self.inputs
        total, dx = self._total.zero_(), self._inputs_gradient(dh_KDR)
        dz, du = dh_KDR.new_empty(2, 3 * d, dh_KDR.shape[2])  # by the inputs, and by U h
        dbh = torch.zeros_like(self.bh)
        for k in range(len(dhs) - 1, -1, -1):
            h, n, dh = hs[k], ns[k], dhs[k]
            reset, update = rus[k].split(d)
            slope(rus[k], out=dz[: 2 * d])
            dn = (1.0 - update) * (1.0 - n * n) * dh
            dz[2 * d :] = dn
            dz[:d].mul_(dn).mul_(inners[k] * 0.5)  # which is doubled
            dz[d : 2 * d].mul_(dh).mul_(h - n)
            du[: 2 * d] = dz[: 2 * d]
            torch.mul(dn, reset, out=du[2 * d :])
            dbh.add_(du[2 * d :].sum(1, keepdim=True))
            if k:
                dhs[k - 1].addcmul_(dh, update).addmm_(self.w["wh"], du)
            total[: f + 1].addmm_(whole[k][: f + 1], dz.t())
            total[f + 1 :].addmm_(h, du.t())
            if dx is not None:
                torch.mm(self.w["wx"], dz, out=dx[k])
        self.g["bh"].copy_(dbh[:, 0])
        self._finish()
        return dx
