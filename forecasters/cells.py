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

MINUS_ONE, TWO = torch.tensor(-1.0), torch.tensor(2.0)
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

    def prepare(self) -> None:
        """Called whenever the weights have changed, before they are used."""
        f, parts = self.inputs, (self.w["wx"].t(), self.w["b"][:, None], self.w["wh"].t())
        self.weights = self._doubled(torch.cat(parts, 1))
        self.wx, self.b, self.wh = (
            self.weights[:, c] for c in (slice(f), slice(f, f + 1), slice(f + 1, None))
        )

    weights: Tensor
    """`[G, I]`, the gate with the tanh doubled; the next three are its columns."""
    wx: Tensor
    b: Tensor
    wh: Tensor

    def _doubled(self, by_gate: Tensor) -> Tensor:
        by_gate[self.through_tanh * self.hidden : (self.through_tanh + 1) * self.hidden].mul_(TWO)
        return by_gate

    @abstractmethod
    def step(self, x_FR: Tensor, state: Tensor) -> Tensor:
        """The state after one reading."""

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

    def _no_gradient(self) -> Tensor:
        """`[I, G]` zeros, turned round against `weights`: a product with as many columns as the gates have
        units takes three quarters of the time of one with an odd number."""
        return self.weights.new_zeros(self.weights.shape[::-1])

    def _finish(self, total_IG: Tensor) -> None:
        """The gradient by `weights` into `g`, by the parameters as they are."""
        f, total = self.inputs, self._doubled(total_IG.t())
        self.g["wx"].copy_(total[:, :f].t())
        self.g["b"].copy_(total[:, f])
        self.g["wh"].copy_(total[:, f + 1 :].t())


def _uniform(shape: tuple[int, ...], bound: float, generator: torch.Generator) -> Tensor:
    return (torch.rand(*shape, generator=generator) * 2.0 - 1.0) * bound


class Elman(Cell):
    """h' = tanh(W x + U h + b) (Elman 1990)."""

    gates = 1
    through_tanh = 0

    def step(self, x_FR: Tensor, state: Tensor) -> Tensor:
        return from_sigmoid(torch.addmm(self.b, self.wx, x_FR).addmm_(self.wh, state).sigmoid_())

    def forward(self, x_KFR: Tensor, state: Tensor) -> tuple[Tensor, Tape]:
        whole = self._inputs(x_KFR, state)
        outputs = self._outputs(whole)
        z = torch.empty_like(state)
        for before, after in zip(whole.unbind(0)[:-1], outputs.unbind(0)[1:], strict=True):
            from_sigmoid(torch.mm(self.weights, before, out=z).sigmoid_(), out=after)
        return outputs[1:], (whole,)

    def backward(self, dh_KDR: Tensor, saved: Tape) -> Tensor | None:
        whole, h, dhs = saved[0].unbind(0), self._outputs(saved[0]).unbind(0), dh_KDR.unbind(0)
        total, dx = self._no_gradient(), self._inputs_gradient(dh_KDR)
        wh_t, half = self.wh.t(), dh_KDR.new_full((), 0.5)
        dz = torch.empty_like(dhs[0])
        for k in range(len(dhs) - 1, -1, -1):
            # by 2z: half of 1 - h²
            torch.addcmul(half, h[k + 1], h[k + 1], value=-0.5, out=dz).mul_(dhs[k])
            if k:
                dhs[k - 1].addmm_(wh_t, dz)
            total.addmm_(whole[k], dz.t())
            if dx is not None:
                torch.mm(self.wx.t(), dz, out=dx[k])
        self._finish(total)
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

    def _advance(self, z: Tensor, c: Tensor, new: tuple[Tensor, Tensor], g: Tensor, t: Tensor) -> None:
        """Activate `z` `[4 D, R]` in place; write new output and cell, cell gate, tanh of the cell."""
        i, f, s, o = z.sigmoid_().split(self.hidden)
        h, c_new = new
        from_sigmoid(s, out=g)
        torch.mul(f, c, out=c_new).addcmul_(i, g)
        from_sigmoid(torch.mul(c_new, TWO, out=t).sigmoid_())
        torch.mul(o, t, out=h)

    def step(self, x_FR: Tensor, state: Tensor) -> Tensor:
        d = self.hidden
        h, c = state.split(d)
        new = torch.empty_like(state)
        z = torch.addmm(self.b, self.wx, x_FR).addmm_(self.wh, h)
        self._advance(z, c, (new[:d], new[d:]), z[2 * d : 3 * d], torch.empty_like(h))
        return new

    def forward(self, x_KFR: Tensor, state: Tensor) -> tuple[Tensor, Tape]:
        (k, _, r), d = x_KFR.shape, self.hidden
        whole = self._inputs(x_KFR, state[:d])
        outputs = self._outputs(whole)
        c_KDR, a_KGR = state.new_empty(k + 1, d, r), state.new_empty(k, 4 * d, r)
        g_KDR, t_KDR = state.new_empty(2, k, d, r)
        c_KDR[0] = state[d:]
        ins, h, c, a, g, t = (part.unbind(0) for part in (whole, outputs, c_KDR, a_KGR, g_KDR, t_KDR))
        for s in range(k):
            torch.mm(self.weights, ins[s], out=a[s])
            self._advance(a[s], c[s], (h[s + 1], c[s + 1]), g[s], t[s])
        return outputs[1:], (whole, c_KDR, a_KGR, g_KDR, t_KDR)

    def backward(self, dh_KDR: Tensor, saved: Tape) -> Tensor | None:
        whole, c, a, g, t = (part.unbind(0) for part in saved)
        dhs, d = dh_KDR.unbind(0), self.hidden
        total, dx = self._no_gradient(), self._inputs_gradient(dh_KDR)
        wh_t = self.wh.t()
        dc, through, dz = torch.zeros_like(dhs[0]), torch.empty_like(dhs[0]), torch.empty_like(a[0])
        dz_3DR, (dz_i, dz_f, dz_g, dz_o) = dz[: 3 * d].unflatten(0, (3, d)), dz.split(d)
        for k in range(len(dhs) - 1, -1, -1):
            i, f, _, o = a[k].split(d)
            # dc += dh · o (1 - t²)
            torch.addcmul(o, torch.mul(o, t[k], out=through), t[k], value=-1.0, out=through)
            dc.addcmul_(dhs[k], through)
            slope(a[k], out=dz)
            dz_i.mul_(g[k])
            dz_f.mul_(c[k])
            dz_g.mul_(i).mul_(TWO)  # g = 2 σ - 1
            dz_o.mul_(t[k]).mul_(dhs[k])
            dz_3DR.mul_(dc)
            if k:
                dhs[k - 1].addmm_(wh_t, dz)
                dc.mul_(f)
            total.addmm_(whole[k], dz.t())
            if dx is not None:
                torch.mm(self.wx.t(), dz, out=dx[k])
        self._finish(total)
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

    def prepare(self) -> None:
        super().prepare()
        self.bh = self.w["bh"][:, None] * TWO

    def _advance(self, x_FR: Tensor, h: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        d = self.hidden
        z, u = torch.addmm(self.b, self.wx, x_FR), torch.mm(self.wh, h)
        ru = torch.add(z[: 2 * d], u[: 2 * d]).sigmoid_()
        inner = u[2 * d :] + self.bh  # doubled
        n = from_sigmoid(torch.addcmul(z[2 * d :], ru[:d], inner).sigmoid_())
        return torch.lerp(n, h, ru[d:]), ru, inner, n

    def step(self, x_FR: Tensor, state: Tensor) -> Tensor:
        return self._advance(x_FR, state)[0]

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
        total, dx = self._no_gradient(), self._inputs_gradient(dh_KDR)
        dz, du = dh_KDR.new_empty(2, 3 * d, dh_KDR.shape[2])  # by the inputs, and by U h
        dbh = torch.zeros_like(self.bh)
        for k in range(len(dhs) - 1, -1, -1):
            h, n, dh = hs[k], ns[k], dhs[k]
            reset, update = rus[k].split(d)
            slope(rus[k], out=dz[: 2 * d])
            dn = (1.0 - update) * (1.0 - n * n) * dh * 0.5  # by 2z
            dz[2 * d :] = dn
            dz[:d].mul_(dn).mul_(inners[k])
            dz[d : 2 * d].mul_(dh).mul_(h - n)
            du[: 2 * d] = dz[: 2 * d]
            torch.mul(dn, reset, out=du[2 * d :])
            dbh.add_(du[2 * d :].sum(1, keepdim=True))
            if k:
                dhs[k - 1].addcmul_(dh, update).addmm_(self.wh.t(), du)
            total[: f + 1].addmm_(whole[k][: f + 1], dz.t())
            total[f + 1 :].addmm_(h, du.t())
            if dx is not None:
                torch.mm(self.wx.t(), dz, out=dx[k])
        self.g["bh"].copy_(dbh[:, 0] * TWO)
        self._finish(total)
        return dx
