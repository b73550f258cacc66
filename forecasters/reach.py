"""How far back a network's last loss reaches: the vanishing gradient, made visible.

Letters: K steps of a stretch, R series, F inputs, H horizon.

With L_t the loss of the *last* step of a stretch alone (a sum of losses would add a fresh gradient at every
step and hide what decays), reach at lag k is the median over series of ‖∂L_t/∂x_{t-k}‖ / ‖∂L_t/∂x_t‖,
untruncated; and of ‖∂L_t/∂s_{t-k}‖ / ‖∂L_t/∂s_{t-1}‖ for the state s of all layers, h and c together
(Bengio, Simard & Frasconi 1994; Pascanu, Mikolov & Bengio 2013, eq. 5).

Runs now and then, on a copy of the weights and by autograd: the hand-written passes overwrite in place.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from forecasters.cells import GRU, LSTM, Cell, Elman
from forecasters.memory import MASKED, NET_FEATURES, Memory
from forecasters.network import Network
from forecasters.recurrent import HUBER_DELTA, Recurrent

Tensor = torch.Tensor

NOTICEABLE = 0.01
"""Memory ends where a reading moves the loss by less than a hundredth of what the newest one does."""


@dataclass(frozen=True, slots=True)
class Reach:
    """inputs `[K]`: by lag 0 … K - 1, the first is 1; states `[K]`: NaN at lag 0, 1 at lag 1. NaN where the
    loss has no gradient yet, as with an untrained head.

    memory_length: largest lag whose `inputs` exceed 1 %, None without a gradient; K - 1 means that the
    stretch was too short to tell. series: how many had a gradient.
    """

    inputs: Tensor
    states: Tensor
    memory_length: int | None
    series: int


def gradient_reach(
    network: Network,
    x_KRF: Tensor,
    target_RH: Tensor,
    state: Tensor | None = None,
    delta: float = HUBER_DELTA,
) -> Reach:
    """Reach over stretches of R series. state `[R, state_width]` is the one before the first step, else zero.

    target_RH: departures of the last step in units of scale, NaN where there is none.
    Raises ValueError where shapes do not fit the network.
    """
    _check(network, x_KRF, target_RH)
    weights = {k: v.detach().clone() for k, v in network.views(network.weights)}
    start = x_KRF.new_zeros(x_KRF.shape[1], network.state_width) if state is None else state
    inputs = [x.detach().clone().requires_grad_() for x in x_KRF]
    with torch.enable_grad():
        states = [start.detach().clone().requires_grad_()]
        for x in inputs:
            states.append(_step(network, weights, x, states[-1]))
        last_h = states[-1][:, network.state_width - network.layers[-1].state_width :][:, : network.hidden]
        said_RH = weights["bo"] + last_h @ weights["wo"] + inputs[-1] @ weights["skip"]
        valid = ~torch.isnan(target_RH)
        error = torch.where(valid, said_RH - torch.where(valid, target_RH, 0.0), 0.0)
        bounded = error.clamp(-delta, delta).detach()
        loss = (bounded * (error - 0.5 * bounded)).sum()  # Huber's gradient: rows are independent
        gradients = torch.autograd.grad(loss, [*inputs, *states[:-1]])
    by_input = torch.stack([g.norm(dim=1) for g in gradients[: len(inputs)]]).flip(0)  # [K, R] by lag
    by_state = torch.stack([g.norm(dim=1) for g in gradients[len(inputs) :]]).flip(0)
    return _reach(by_input, by_state)


def _reach(by_input_KR: Tensor, by_state_KR: Tensor) -> Reach:
    felt = by_input_KR[0] > 0
    inputs = _median(by_input_KR[:, felt] / by_input_KR[0, felt])
    moved = by_state_KR[0] > 0
    # row k of the states is the state before the input of lag k: lag k + 1
    states = _median(by_state_KR[:, moved] / by_state_KR[0, moved])
    states = torch.cat([states.new_full((1,), float("nan")), states[:-1]])
    above = torch.nonzero(inputs > NOTICEABLE)
    return Reach(
        inputs=inputs.cpu(),
        states=states.cpu(),
        memory_length=int(above.max()) if above.numel() else None,
        series=int(felt.sum()),
    )


def _median(ratio_KR: Tensor) -> Tensor:
    """By row, the mean of the middle two where their number is even; NaN without any."""
    if not ratio_KR.shape[1]:
        return ratio_KR.new_full((ratio_KR.shape[0],), float("nan"))
    return ratio_KR.quantile(0.5, dim=1)


@dataclass(frozen=True, slots=True)
class Stretches:
    """What `gradient_reach` runs on: features `[K, R, F]`, and the targets of the last step `[R, H]`."""

    x_KRF: Tensor
    target_RH: Tensor


def recent_reach(model: Recurrent, slots: Tensor) -> Reach:
    """Reach on what the memory still holds of these series, from a zero state; see `recent_stretches`."""
    found = recent_stretches(model.memory, slots)
    return gradient_reach(model.network, found.x_KRF, found.target_RH)


def recent_stretches(memory: Memory, slots: Tensor) -> Stretches:
    """Stretches that end H steps ago, where all targets have arrived. Series with less history are left out.

    Lags go to the ring's length less H. Reads only, and gives copies. Raises ValueError where no series has
    enough history.
    """
    horizon = memory.horizon
    length = memory.ring_length - horizon
    slots = slots.to(memory.device)
    step, restart = (
        torch.from_numpy(memory.timetable[name][slots.cpu().numpy()]).to(slots.device)
        for name in ("step", "restart")
    )
    whole = step - memory.ring_length + 1 >= restart
    if not whole.any():
        raise ValueError(
            f"slots: expected series with at least {memory.ring_length} readings since their start or last "
            f"restart, got none among {slots.numel()}"
        )
    rows, step = slots[whole][:, None], step[whole][:, None]
    ago = torch.arange(memory.ring_length - 1, -1, -1, device=slots.device)
    at = torch.remainder(step - ago, memory.ring_length)  # [R, L], oldest first
    x_RLF = memory.rings["features"][rows, at][..., NET_FEATURES].float()
    last_RL, scale_RL = memory.rings["level"][rows, at].unbind(-1)
    origin = length - 1
    masked = memory.rings["features"][rows, at[:, origin + 1 :]][:, :, MASKED] > 0
    target = (last_RL[:, origin + 1 :] - last_RL[:, origin, None]) / scale_RL[:, origin, None]
    target = torch.where(masked, float("nan"), target)
    return Stretches(x_RLF[:, :length].transpose(0, 1), target)


def _step(network: Network, weights: dict[str, Tensor], x_RF: Tensor, state: Tensor) -> Tensor:
    parts = state.split([layer.state_width for layer in network.layers], 1)
    new = []
    for k, (layer, part) in enumerate(zip(network.layers, parts, strict=True)):
        part = _cell_step(layer, {n: weights[f"{k}.{n}"] for n in layer.shapes}, x_RF, part)
        x_RF = part[:, : layer.hidden]
        new.append(part)
    return torch.cat(new, 1)


def _cell_step(layer: Cell, w: dict[str, Tensor], x_RF: Tensor, state: Tensor) -> Tensor:
    """torch's own cells, which autograd knows, on the layer's weights."""
    wx, wh, b = w["wx"].t(), w["wh"].t(), w["b"]
    zero = torch.zeros_like(b)
    if isinstance(layer, Elman):
        return torch.rnn_tanh_cell(x_RF, state, wx, wh, b, zero)
    if isinstance(layer, LSTM):
        h, c = state.split(layer.hidden, 1)
        return torch.cat(torch.lstm_cell(x_RF, (h, c), wx, wh, b, zero), 1)
    if isinstance(layer, GRU):
        inner = torch.cat([zero[: 2 * layer.hidden], w["bh"]])
        return torch.gru_cell(x_RF, state, wx, wh, b, inner)
    raise TypeError(f"cell: expected Elman, LSTM or GRU, got {type(layer).__name__}; add its step here")


def _check(network: Network, x_KRF: Tensor, target_RH: Tensor) -> None:
    steps, rows, features = x_KRF.shape
    if features != network.layers[0].inputs or target_RH.shape != (rows, network.horizon) or not steps:
        raise ValueError(
            f"expected x [K, R, {network.layers[0].inputs}] and target [R, {network.horizon}], "
            f"got {tuple(x_KRF.shape)} and {tuple(target_RH.shape)}"
        )
