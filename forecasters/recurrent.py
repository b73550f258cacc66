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
from forecasters.fields import Field, Fields
from forecasters.forecaster import Forecaster
from forecasters.memory import NET_FEATURES, Held, Memory, Wave
from forecasters.network import Adam, Network
from forecasters.rows import TILE
from forecasters.steps import Interpolation, scored_steps

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
                "state": Field((width,)),
                "states": Field((self.kept, width), torch.float16),
                "gate": Field((2, num_scored)),  # cross products and squares
                **nearest.FIELDS,
            },
            device,
        )
        self.pool_state = torch.zeros(chunks.pool, width, dtype=torch.float16, device=device)
        self._interpolate = Interpolation(horizon, device)

    def reset(self, rows: Tensor) -> None:
        super().reset(rows)
        nearest.reset(self.fields, rows)

    def observe(self, wave: Wave) -> None:
        """Advance the state by one cell step, and keep it where a chunk ends."""
        b = self.fields.take(wave.rows)
        state = b["state"]
        self.network.step(wave.x_FR[NET_FEATURES], state)
        self.fields.put(wave.rows, b, ("state",))
        wave.states[id(self)] = state
        ends, at = self.chunks.ends(wave)
        if at.numel():
            kept = (state if ends is None else state.index_select(1, ends)).t().to(torch.float16)
            self.fields["states"].view(-1, state.shape[0]).index_copy_(0, at, kept)

    def hold(self, held: Held) -> None:
        """Advance the states step by step, of ever fewer series; each as `observe` would."""
        a = held.stretch
        b = self.fields.take(held.rows)
        state = b["state"]
        running = state.clone(memory_format=torch.contiguous_format)
        ring = self.fields["states"].view(-1, state.shape[0])
        ends, at = self.chunks.find_ends(a.slots, a.step)
        starts = np.concatenate([[0], np.cumsum(a.num)])
        bounds = np.searchsorted(ends, starts).tolist()
        before = a.num[0]
        for k, (num, start) in enumerate(zip(a.num, starts.tolist(), strict=False)):
            if num < before:
                state[:, num:before] = running[:, num:before]  # these are through
                before, tiled = num, num + -num % TILE
                if tiled < running.shape[1]:
                    running = running[:, :tiled].contiguous()
            # what follows a series' own columns is padding
            self.network.step(held.x_FP[NET_FEATURES, start : start + running.shape[1]], running)
            low, high = bounds[k : k + 2]
            if low < high:
                rows, places = (
                    torch.from_numpy(column[low:high]).to(state.device) for column in (ends - start, at)
                )
                ring.index_copy_(0, places, running.index_select(1, rows).t().to(torch.float16))
        state[:, :before] = running[:, :before]
        self.fields.put(held.rows, b)

    def forecast(self, wave: Wave) -> Tensor:
        """The raw correction `[H, R]` to the last value, before the gate."""
        return self.network.output(wave.x_FR[NET_FEATURES], wave.states[id(self)])

    def learn_own(self, wave: Wave, correction_QR: Tensor, valid_QR: Tensor) -> None:
        """What is each series' own: the gate of every scored step, and the regression of the first.
        valid: which corrections have a target."""
        b = self.fields.take(wave.rows)
        valid = None if wave.all_valid else valid_QR
        if self.memory.horizon > 1:  # the first step has its own regression
            self.learn_gate(b["gate"], correction_QR, wave.dep_QR, valid)
        first = None if valid is None else valid[0]
        nearest.learn(b, correction_QR[0], wave.nearest_before_MR, wave.dep_QR[0], first)
        self.fields.put(wave.rows, b, ("gate", *nearest.FIELDS))

    def publish(self, wave: Wave, correction_HR: Tensor) -> Tensor:
        """Departures `[H, R]` as they are published: the correction through the gate, the first step by its
        own regression."""
        b = self.fields.take(wave.rows)
        first = nearest.forecast(b, correction_HR[0], wave.nearest_MR)
        if self.memory.horizon == 1:
            return first[None]
        said = correction_HR * self.gate(b["gate"])
        said[0] = first
        return said

    def learn_gate(
        self, sums: Tensor, correction_QR: Tensor, dep_QR: Tensor, valid_QR: Tensor | None
    ) -> None:
        """Two running sums `[2, Q, R]` per series and step: ridge regression of departures on corrections.
        valid: where there was a target; None: everywhere."""
        new = torch.stack([dep_QR, correction_QR]).mul_(correction_QR)
        new.add_(sums, alpha=self.options.gate_forgetting)
        sums.copy_(new if valid_QR is None else torch.where(valid_QR, new, sums))

    def gate(self, sums: Tensor) -> Tensor:
        """The share `[H, R]` in [0, 1] of the correction that has earned belief; 0 for a fresh series."""
        cross, square = sums
        return self._interpolate((cross / (square + self.options.gate_ridge)).clamp_(0.0, 1.0))

    def learn(self, batch: Batch) -> None:
        """One truncated-BPTT step on a batch, and its complete chunks into the pool."""
        options, width = self.options, self.network.state_width
        fresh = self.fields["states"].view(-1, width).index_select(0, batch.begun_at)
        states = torch.zeros(width, batch.x_KFB.shape[2], device=fresh.device)
        states[:, : fresh.shape[0]] = fresh.t()
        if batch.replayed.numel():
            used = fresh.shape[0] + batch.replayed.numel()
            states[:, fresh.shape[0] : used] = self.pool_state[batch.replayed].t()
        if batch.kept_at.numel():
            self.pool_state[batch.kept_at] = fresh[batch.kept_from]
        x = batch.x_KFB[:, NET_FEATURES]
        loss = self.network.accumulate(x, states, batch.target_KHB, batch.weight_KHB, HUBER_DELTA)
        self.loss.copy_(loss)
        self.adam.apply(self.network.gradient, loss, options.early_rate if self.is_early else options.rate)
        self.network.refresh()

    def count_step(self) -> None:
        """After each `learn`, which counts nothing on the host."""
        self.updates += 1

    @property
    def is_early(self) -> bool:
        return self.updates < EARLY_UPDATES

    def rebuild(self, rows: Tensor, steps: Tensor) -> None:
        """Set the state of `rows` by running over what the ring still holds, from a zero state."""
        state = self.fields["state"].new_zeros(self.network.state_width, rows.numel())
        length = self.memory.ring_length
        for back in range(length - 1, -1, -1):
            at = steps - back
            x = self.memory.rings["features"][rows, torch.remainder(at, length), NET_FEATURES].t().float()
            stepped = state.clone()
            self.network.step(x.contiguous(), stepped)
            state = torch.where(at >= 0, stepped, state)
        self.fields["state"].index_copy_(0, rows, state.t())

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
        self.loss.copy_(state["loss"])
        prefix = "adam."
        self.adam.load({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
