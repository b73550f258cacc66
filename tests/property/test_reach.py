"""Gradient reach against autograd on torch.nn's own layers, one series and one lag at a time.

Letters: K steps, R series, F inputs, D hidden units, H horizon.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasters import build
from forecasters.cells import GRU, LSTM, Cell, Elman
from forecasters.network import Network
from forecasters.reach import NOTICEABLE, gradient_reach, recent_reach
from forecasters.recurrent import HUBER_DELTA, Recurrent

CPU = torch.device("cpu")
F, D, H = 3, 5, 4
LAYERS: dict[type[Cell], type[torch.nn.RNNBase]] = {
    Elman: torch.nn.RNN,
    LSTM: torch.nn.LSTM,
    GRU: torch.nn.GRU,
}


def network(cell: type[Cell], layers: int, seed: int) -> Network:
    generator = torch.Generator().manual_seed(seed)
    made = Network(cell, F, D, layers, H, generator, CPU)
    for part in made.head.values():
        part.copy_(torch.randn(part.shape, generator=generator))
    return made


def torch_layers(net: Network, kind: type[torch.nn.RNNBase]) -> torch.nn.RNNBase:
    """The same weights in torch.nn."""
    theirs = kind(F, D, num_layers=len(net.layers))
    with torch.no_grad():
        for k, layer in enumerate(net.layers):
            getattr(theirs, f"weight_ih_l{k}").copy_(layer.w["wx"].t())
            getattr(theirs, f"weight_hh_l{k}").copy_(layer.w["wh"].t())
            getattr(theirs, f"bias_ih_l{k}").copy_(layer.w["b"])
            hidden_bias = getattr(theirs, f"bias_hh_l{k}").zero_()
            if "bh" in layer.w:
                hidden_bias[2 * D :] = layer.w["bh"]
    return theirs


def slow_norms(
    net: Network, kind: type[torch.nn.RNNBase], x_KF: torch.Tensor, target_H: torch.Tensor
) -> tuple[list[float], list[float]]:
    """Norms of the gradients by lag, of inputs 0 … K - 1 and states 1 … K - 1, for one series."""
    theirs = torch_layers(net, kind)
    num = x_KF.shape[0]

    def loss(h: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        said = h @ net.head["wo"] + x @ net.head["skip"] + net.head["bo"]
        valid = ~torch.isnan(target_H)
        return torch.nn.functional.huber_loss(
            said[valid], target_H[valid], reduction="sum", delta=HUBER_DELTA
        )

    inputs, states = [], []
    for lag in range(num):
        x = x_KF.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(theirs(x[:, None])[0][-1, 0], x[-1]), x)
        inputs.append(float(gradient[num - 1 - lag].norm()))
    for lag in range(1, num):
        with torch.no_grad():
            _, state = theirs(x_KF[: num - lag, None])
        parts = list(state) if isinstance(state, tuple) else [state]
        parts = [p.clone().requires_grad_() for p in parts]
        out, _ = theirs(x_KF[num - lag :, None], tuple(parts) if len(parts) > 1 else parts[0])
        gradients = torch.autograd.grad(loss(out[-1, 0], x_KF[-1]), parts)
        states.append(float(torch.cat([g.flatten() for g in gradients]).norm()))
    return inputs, states


@settings(deadline=None, max_examples=25)
@given(
    cell=st.sampled_from([Elman, LSTM, GRU]),
    layers=st.integers(1, 2),
    num=st.integers(2, 7),
    rows=st.integers(1, 4),
    seed=st.integers(0, 1000),
)
def test_reach_equals_slow_autograd(cell: type[Cell], layers: int, num: int, rows: int, seed: int) -> None:
    net = network(cell, layers, seed)
    generator = torch.Generator().manual_seed(seed + 1)
    x = torch.randn(num, rows, F, generator=generator)
    target = 4.0 * torch.randn(rows, H, generator=generator)
    target[:, 1] = float("nan")
    found = gradient_reach(net, x, target)
    slow = [slow_norms(net, LAYERS[cell], x[:, r], target[r]) for r in range(rows)]
    inputs = np.median([[n / norms[0] for n in norms] for norms, _ in slow], axis=0)
    states = np.median([[n / norms[0] for n in norms] for _, norms in slow], axis=0)
    np.testing.assert_allclose(found.inputs.numpy(), inputs, rtol=2e-3, atol=1e-6)
    np.testing.assert_allclose(found.states[1:].numpy(), states, rtol=2e-3, atol=1e-6)
    assert torch.isnan(found.states[0])
    assert found.memory_length == max(k for k, v in enumerate(inputs) if v > NOTICEABLE)
    assert found.series == rows


def test_reach_leaves_the_network_as_it_is() -> None:
    net = network(LSTM, 2, 1)
    weights, gradient = net.weights.clone(), net.gradient.clone()
    gradient_reach(net, torch.randn(4, 2, F), torch.randn(2, H))
    assert torch.equal(net.weights, weights)
    assert torch.equal(net.gradient, gradient)
    assert not net.weights.requires_grad


def test_an_open_gate_remembers_and_a_closed_one_forgets() -> None:
    """What the picture is for: with its forget gate open an LSTM's gradient reaches the start."""
    lengths = []
    for forget in (-6.0, 6.0):
        net = network(LSTM, 1, 3)
        net.layers[0].w["wh"].zero_()
        net.layers[0].w["b"][D : 2 * D] = forget
        x = 0.1 * torch.randn(60, 8, F, generator=torch.Generator().manual_seed(1))
        lengths.append(gradient_reach(net, x, torch.full((8, H), 3.0)).memory_length)
    assert lengths[0] == 0
    assert lengths[1] == 59


def test_an_untrained_head_has_no_reach() -> None:
    net = Network(Elman, F, D, 1, H, torch.Generator().manual_seed(1), CPU)
    found = gradient_reach(net, torch.randn(4, 2, F), torch.randn(2, H))
    assert found.memory_length is None
    assert found.series == 0
    assert torch.isnan(found.inputs).all()


def test_recent_reach_reads_the_history_of_a_bank() -> None:
    bank = build(["rnn", "lstm"], horizon=H, seed=1, chunk=4, device="cpu")
    slots = bank.add([f"s{k}" for k in range(6)], cadence_ms=60_000)
    generator = np.random.default_rng(1)
    for k in range(60):
        values = np.sin(k / 3.0 + slots) + 0.1 * generator.normal(size=slots.size)
        bank.step(slots, np.full(slots.size, 60_000 * (k + 1)), values)
    late = bank.add(["new"], cadence_ms=60_000)
    bank.step(late, np.array([60_000]), np.array([1.0]))
    before = {name: value.clone() for name, value in bank.save().items()}
    for name in ("rnn", "lstm"):
        model = bank.models[name]
        assert isinstance(model, Recurrent)
        found = recent_reach(model, torch.from_numpy(np.concatenate([slots, late])))
        assert found.series == 6
        assert found.inputs.shape == (bank.memory.ring_length - H,)
        assert found.memory_length is not None
        with pytest.raises(ValueError, match="slots: expected series with at least 12 readings since"):
            recent_reach(model, torch.from_numpy(late))
    after = bank.save()
    torch.testing.assert_close(after, before, rtol=0, atol=0, equal_nan=True)


def test_shapes_are_checked() -> None:
    with pytest.raises(ValueError, match=r"expected x \[K, R, 3\] and target \[R, 4\], got \(2, 1, 7\)"):
        gradient_reach(network(Elman, 1, 0), torch.zeros(2, 1, 7), torch.zeros(1, H))
