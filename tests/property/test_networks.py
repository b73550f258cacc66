"""Cells, networks and the optimizer against torch.nn and torch.optim."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasters.cells import GRU, LSTM, Cell, Elman
from forecasters.network import Adam, Network

PAIRS = {"rnn": (Elman, torch.nn.RNN), "lstm": (LSTM, torch.nn.LSTM), "gru": (GRU, torch.nn.GRU)}
INPUTS, HIDDEN, HORIZON, CHUNK, ROWS = 5, 7, 4, 6, 3


def copy_weights(network: Network, module: torch.nn.RNNBase, which: str = "w") -> None:
    """Ours into torch's. torch has two biases per gate; only GRU's candidate needs both."""
    for k, layer in enumerate(network.layers):
        own = getattr(layer, which)
        bias, hidden_bias = own["b"], torch.zeros_like(own["b"])
        if "bh" in own:
            hidden_bias[2 * HIDDEN :] = own["bh"]
        for name, value in (
            ("weight_ih", own["wx"].t()), ("weight_hh", own["wh"].t()),
            ("bias_ih", bias), ("bias_hh", hidden_bias),
        ):  # fmt: skip
            getattr(module, f"{name}_l{k}").data.copy_(value)


def paired(
    name: str, layers: int, seed: int
) -> tuple[Network, torch.nn.RNNBase, torch.Tensor, torch.Tensor, torch.Generator]:
    cell, reference = PAIRS[name]
    generator = torch.Generator().manual_seed(seed)
    network = Network(cell, INPUTS, HIDDEN, layers, HORIZON, generator, torch.device("cpu"))
    network.weights.add_(0.3 * torch.randn(network.weights.shape, generator=generator))
    network.refresh()
    module = reference(INPUTS, HIDDEN, layers)
    copy_weights(network, module)
    x_KRF = torch.randn(CHUNK, ROWS, INPUTS, generator=generator)
    state = 0.5 * torch.randn(ROWS, network.state_width, generator=generator)
    return network, module, x_KRF, state, generator


def initial(network: Network, state: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    parts = state.split([layer.state_width for layer in network.layers], 1)
    h = torch.stack([p[:, :HIDDEN] for p in parts]).contiguous()
    if network.layers[0].state_parts == 1:
        return h
    return h, torch.stack([p[:, HIDDEN:] for p in parts]).contiguous()


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("name", PAIRS)
@settings(deadline=None, max_examples=5)
@given(seed=st.integers(0, 10_000))
def test_steps_equal_torch(name: str, layers: int, seed: int) -> None:
    network, module, x_KRF, state, _ = paired(name, layers, seed)
    expected, _ = module(x_KRF, initial(network, state))
    state = state.clone()
    for k in range(CHUNK):
        network.step(x_KRF[k].t(), state.t())
        last = state[:, state.shape[1] - network.layers[-1].state_width :][:, :HIDDEN]
        torch.testing.assert_close(last, expected[k].detach(), rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("name", PAIRS)
@settings(deadline=None, max_examples=8)
@given(seed=st.integers(0, 10_000), delta=st.sampled_from([0.1, 1.0, 3.0]))
def test_loss_and_gradients_equal_autograd(name: str, layers: int, seed: int, delta: float) -> None:
    network, module, x_KRF, state, generator = paired(name, layers, seed)
    target = 2.0 * torch.randn(CHUNK, ROWS, HORIZON, generator=generator)
    weight = torch.rand(CHUNK, ROWS, HORIZON, generator=generator)
    weight = weight * (torch.rand(weight.shape, generator=generator) < 0.7) / weight.numel()
    head = {n: v.clone().requires_grad_() for n, v in network.head.items()}
    h_KRD, _ = module(x_KRF, initial(network, state))
    said = h_KRD @ head["wo"] + x_KRF @ head["skip"] + head["bo"]
    expected = (weight * torch.nn.functional.huber_loss(said, target, reduction="none", delta=delta)).sum()
    expected.backward()
    network.gradient.fill_(float("nan"))  # whatever was there does not count
    x, y, w = (t.transpose(1, 2).contiguous() for t in (x_KRF, target, weight))
    loss = network.accumulate(x, state.t(), y, w, delta)
    torch.testing.assert_close(loss, expected.detach(), rtol=1e-5, atol=1e-7)
    close = {"rtol": 1e-3, "atol": 1e-6}
    for n, v in head.items():
        torch.testing.assert_close(network.head_gradient[n], v.grad, **close)
    for k, layer in enumerate(network.layers):
        torch.testing.assert_close(layer.g["wx"], getattr(module, f"weight_ih_l{k}").grad.t(), **close)
        torch.testing.assert_close(layer.g["wh"], getattr(module, f"weight_hh_l{k}").grad.t(), **close)
        torch.testing.assert_close(layer.g["b"], getattr(module, f"bias_ih_l{k}").grad, **close)
        if "bh" in layer.g:
            bias = getattr(module, f"bias_hh_l{k}").grad[2 * HIDDEN :]
            torch.testing.assert_close(layer.g["bh"], bias, **close)


@pytest.mark.parametrize("name", PAIRS)
def test_float16_inputs_are_taken_as_they_are(name: str) -> None:
    network, _, x_KRF, state, generator = paired(name, 2, 0)
    x = x_KRF.transpose(1, 2).to(torch.float16)
    target = torch.randn(CHUNK, HORIZON, ROWS, generator=generator)
    losses, gradients = [], []
    for x_KFR in (x, x.to(torch.float32)):
        losses.append(network.accumulate(x_KFR, state.t(), target, torch.ones_like(target), 1.0))
        gradients.append(network.gradient.clone())
    assert torch.equal(*losses)
    assert torch.equal(*gradients)


@pytest.mark.parametrize("cell", [Elman, LSTM, GRU])
def test_recurrent_weights_begin_orthogonal_and_the_head_at_zero(cell: type[Cell]) -> None:
    network = Network(cell, INPUTS, HIDDEN, 2, HORIZON, torch.Generator().manual_seed(1), torch.device("cpu"))
    for layer in network.layers:
        for k in range(cell.gates):
            u = layer.w["wh"][:, k * HIDDEN : (k + 1) * HIDDEN]
            torch.testing.assert_close(u @ u.t(), torch.eye(HIDDEN), rtol=0, atol=1e-5)
    assert all((v == 0).all() for v in network.head.values())


@settings(deadline=None, max_examples=15)
@given(
    seed=st.integers(0, 10_000), rate=st.sampled_from([1e-4, 1e-3, 1e-1]), clip=st.sampled_from([0.1, 1.0])
)
def test_adam_equals_torch(seed: int, rate: float, clip: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    ours = torch.randn(20, generator=generator)
    theirs = torch.nn.Parameter(ours.clone())
    adam = Adam(ours, clip=clip)
    optimizer = torch.optim.Adam([theirs], lr=rate)
    clipped = 0
    for _ in range(30):
        gradient = torch.randn(20, generator=generator) * 10.0 ** torch.empty(1).uniform_(
            -3, 1, generator=generator
        )
        adam.apply(gradient.clone(), torch.tensor(1.0), rate)
        theirs.grad = gradient.clone()
        clipped += float(torch.nn.utils.clip_grad_norm_([theirs], clip)) > clip
        optimizer.step()
        torch.testing.assert_close(ours, theirs.detach(), rtol=1e-4, atol=1e-3 * rate)
    assert (float(adam.applied), float(adam.clipped), float(adam.skipped)) == (30, clipped, 0)


@pytest.mark.parametrize("poison", [float("nan"), float("inf"), -float("inf")])
def test_adam_skips_what_is_not_finite(poison: float) -> None:
    weights = torch.randn(6, generator=torch.Generator().manual_seed(0))
    adam = Adam(weights)
    good, loss = torch.ones(6), torch.tensor(1.0)
    adam.apply(good, loss, 1e-2)
    before = [t.clone() for t in (weights, adam.first, adam.second, adam.norm)]
    bad = good.clone()
    bad[2] = poison
    adam.apply(bad, loss, 1e-2)
    adam.apply(good, torch.tensor(poison), 1e-2)
    adam.apply(torch.full((6,), 1e30), loss, 1e-2)  # finite, but its norm is not
    for a, b in zip(before, (weights, adam.first, adam.second, adam.norm), strict=True):
        assert torch.equal(a, b)
    assert float(adam.skipped) == 3
    adam.apply(good, loss, 1e-2)
    assert float(adam.applied) == 2


@pytest.mark.parametrize("horizon", [1, 5, 6, 7, 9, 10, 11, 12, 24, 48])
@pytest.mark.parametrize("name", PAIRS)
def test_a_row_does_not_depend_on_its_place_in_a_tile(name: str, horizon: int) -> None:
    """BLAS kernels may round one row differently from the next; forecasts must not depend on company."""
    for hidden in (8, 16, 64):
        generator = torch.Generator().manual_seed(hidden)
        network = Network(PAIRS[name][0], 30, hidden, 1, horizon, generator, torch.device("cpu"))
        network.weights.add_(0.1 * torch.randn(network.weights.shape, generator=generator))
        for tiles in (1, 2):
            x = torch.randn(30, 1, generator=generator).repeat(1, 64 * tiles)
            state = torch.randn(network.state_width, 1, generator=generator).repeat(1, 64 * tiles)
            said = network.output(x, state)
            network.step(x, state)
            for rows in (said, state):
                assert (rows == rows[:, :1]).all(), (hidden, tiles)
