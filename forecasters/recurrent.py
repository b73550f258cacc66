"""Recurrent forecasters that learn online: carried state, truncated backpropagation through time, a gate.

Letters: S slots, R rows, K chunk, B chunks of a batch, D hidden units, H horizon, Q scored steps.

The hidden state is carried from reading to reading, so a forecast costs one cell step however long the memory
(Williams & Peng 1990: truncated BPTT). A chunk is trained from the state that the previous chunk ended with,
as it was then.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from forecasters import nearest
from forecasters.cells import Cell
from forecasters.chunks import Batch, Chunks
from forecasters.fields import TILE, Field, Fields
from forecasters.forecaster import Forecaster
from forecasters.memory import CLIP, NET_FEATURES, NUM_FEATURES, Held, Memory, Wave
from forecasters.network import Adam, Network
from forecasters.steps import interpolation, scored_steps

Tensor = torch.Tensor

NUM_INPUTS = NET_FEATURES.stop
HUBER_DELTA = 3.0
EARLY_UPDATES = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class RecurrentOptions:
    """hidden: units per layer; layers: depth; rate, early_rate: Adam's, early for the first 500 updates;
    gate_ridge: squared corrections that must have been seen before half a correction is believed;
    gate_forgetting: weight of the past in the gate's sums, per reading."""

    hidden: int = 64
    layers: int = 1
    rate: float = 1e-3
    early_rate: float = 3e-3
    clip: float = 1.0
    gate_ridge: float = 1.0
    gate_forgetting: float = 0.999

    def __post_init__(self) -> None:
        for name in ("hidden", "layers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: expected a whole number of at least 1, got {getattr(self, name)}")
        for name in ("rate", "early_rate", "clip", "gate_ridge"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: expected a number above 0, got {getattr(self, name)}")
        if not 0 < self.gate_forgetting <= 1:
            raise ValueError(f"gate_forgetting: expected a number in (0, 1], got {self.gate_forgetting}")


class Recurrent(Forecaster):
    """One recurrent forecaster of one shard: shared weights, and a state per series."""

    def __init__(
        self,
        cell: type[Cell],
        memory: Memory,
        chunks: Chunks,
        options: RecurrentOptions,
        generator: torch.Generator,
        device: torch.device,
    ) -> None:
        self.memory = memory
        self.chunks = chunks
        self.options = options
        horizon = memory.horizon
        self.network = Network(cell, NUM_INPUTS, options.hidden, options.layers, horizon, generator, device)
        self.parameters = self.network.num_parameters
        self.adam = Adam(self.network.weights, clip=options.clip)
        self.loss = torch.zeros((), device=device)
        self.updates = 0
        self.kept = Chunks.states_kept(horizon, chunks.chunk)
        width = self.network.state_width
        num_scored = len(scored_steps(horizon))
        self.fields = Fields(
            {
                "state": Field((width,), apart=True),
                "states": Field((self.kept, width), torch.float16),
                "gate": Field((2, num_scored), apart=True),  # cross products and squares
                **nearest.FIELDS,
            },
            device,
        )
        self.pool_state = torch.zeros(chunks.pool, width, dtype=torch.float16, device=device)
        self._interpolation = interpolation(horizon, device)

    def reset(self, rows: Tensor) -> None:
        super().reset(rows)
        nearest.reset(self.fields, rows)

    def observe(self, wave: Wave) -> None:
        """Advance the state by one cell step, and keep it where a chunk ends."""
        state = self.fields["state"].index_select(0, wave.rows)
        state = self.network.step(wave.x_RF[:, NET_FEATURES], state)
        self.fields["state"].index_copy_(0, wave.rows, state)
        ends, at = self.chunks.ends(wave)
        if ends.numel():
            kept = state.index_select(0, ends).to(torch.float16)
            places = wave.rows[ends] * self.kept + at
            self.fields["states"].view(-1, state.shape[1]).index_copy_(0, places, kept)

    def hold(self, held: Held) -> None:
        """Advance the states step by step, of ever fewer series; each as `observe` would."""
        a = held.stretch
        states = self.fields["state"].index_select(0, held.rows)
        ends, at = self.chunks.find_ends(a.slots, a.step)
        start = 0
        for num in a.num:
            tiled = num + -num % TILE
            x = held.x_PF[start : start + tiled].clone()  # what follows a series' own rows is padding
            states[:num] = self.network.step(x[:, NET_FEATURES], states[:tiled])[:num]
            low, high = np.searchsorted(ends, (start, start + num))
            if low < high:
                rows, kept_at = (
                    torch.from_numpy(column[low:high]).to(states.device) for column in (ends - start, at)
                )
                places = held.rows[rows] * self.kept + kept_at
                kept = states.index_select(0, rows).to(torch.float16)
                self.fields["states"].view(-1, states.shape[1]).index_copy_(0, places, kept)
            start += num
        self.fields["state"].index_copy_(0, held.rows, states)

    def forecast(self, wave: Wave) -> Tensor:
        """The raw correction to the last value, before the gate."""
        state = self.fields["state"].index_select(0, wave.rows)
        return self.network.output(wave.x_RF[:, NET_FEATURES], state)

    def learn_own(self, wave: Wave, correction_RQ: Tensor, dep_RQ: Tensor, valid_RQ: Tensor) -> None:
        """What is each series' own: the gate of every scored step, and the regression of the first."""
        self.learn_gate(wave.rows, correction_RQ, dep_RQ, valid_RQ)
        features = self.memory.rings["features"].view(-1, NUM_FEATURES)
        origin = features.index_select(0, wave.past_RH[:, 0])
        nearest.learn(self.fields, wave.rows, correction_RQ[:, 0], origin, dep_RQ[:, 0], valid_RQ[:, 0])

    def publish(self, wave: Wave, correction_RH: Tensor) -> Tensor:
        """Departures `[R, H]` as they are published: the correction through the gate, the first step by its
        own regression."""
        said = correction_RH * self.gate(wave.rows)
        said[:, 0] = nearest.forecast(self.fields, wave.rows, correction_RH[:, 0], wave.x_RF)
        return said

    def learn_gate(self, rows: Tensor, correction_RQ: Tensor, dep_RQ: Tensor, valid_RQ: Tensor) -> None:
        """Two running sums per series and step: ridge regression of departures on corrections."""
        old = self.fields["gate"].index_select(0, rows)
        new = torch.stack([dep_RQ, correction_RQ], 1) * correction_RQ[:, None]
        new = torch.add(new, old, alpha=self.options.gate_forgetting)
        self.fields["gate"].index_copy_(0, rows, torch.where(valid_RQ[:, None], new, old))

    def gate(self, rows: Tensor) -> Tensor:
        """The share `[R, H]` in [0, 1] of the correction that has earned belief; 0 for a fresh series."""
        cross, square = self.fields["gate"].index_select(0, rows).unbind(1)
        return torch.mm((cross / (square + self.options.gate_ridge)).clamp(0.0, 1.0), self._interpolation)

    def learn(self, batch: Batch) -> None:
        """One truncated-BPTT step on a batch, and its complete chunks into the pool."""
        options = self.options
        at = torch.remainder(batch.fresh_chunk - 1, self.kept)
        fresh = self.fields["states"][batch.fresh_rows, at]
        states = torch.cat([fresh, self.pool_state[batch.replayed]]).float()
        missing = batch.x_KBF.shape[1] - states.shape[0]
        states = torch.nn.functional.pad(states, (0, 0, 0, missing))
        if batch.kept_at.numel():
            self.pool_state[batch.kept_at] = fresh[batch.kept_from]
        x = batch.x_KBF[..., NET_FEATURES]
        # inputs end there too: nothing that is fed could say more
        target = batch.target_KBH.clamp(-CLIP, CLIP)
        self.loss = self.network.accumulate(x, states, target, batch.weight_KBH, HUBER_DELTA)
        rate = options.early_rate if self.updates < EARLY_UPDATES else options.rate
        self.updates += 1
        self.adam.apply(self.network.gradient, self.loss, rate)
        self.network.refresh()

    def rebuild(self, rows: Tensor, steps: Tensor) -> None:
        """Set the state of `rows` by running over what the ring still holds, from a zero state."""
        state = self.fields["state"].new_zeros(rows.numel(), self.network.state_width)
        length = self.memory.ring_length
        for back in range(length - 1, -1, -1):
            at = steps - back
            x = self.memory.rings["features"][rows, torch.remainder(at, length), NET_FEATURES].float()
            state = torch.where((at >= 0)[:, None], self.network.step(x, state), state)
        self.fields["state"].index_copy_(0, rows, state)

    def save(self) -> Iterator[tuple[str, Tensor]]:
        yield "weights", self.network.weights.detach().clone().cpu()
        yield "pool_state", self.pool_state.cpu().clone()
        yield "updates", torch.tensor(self.updates)
        yield "loss", self.loss.detach().clone().cpu()
        for name, value in self.adam.save():
            yield f"adam.{name}", value

    def load(self, state: Mapping[str, Tensor]) -> None:
        for name, own in (("weights", self.network.weights), ("pool_state", self.pool_state)):
            if state[name].shape != own.shape:
                raise ValueError(f"{name}: expected {tuple(own.shape)}, found {tuple(state[name].shape)}")
            own.copy_(state[name])
        self.network.refresh()
        self.updates = int(state["updates"])
        self.loss = state["loss"].to(self.loss.device).clone()
        prefix = "adam."
        self.adam.load({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
