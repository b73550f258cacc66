"""Which stretches of which series are trained at a tick, and the pool of old ones that is replayed with them.

Letters: S slots, B chunks of a batch, K origins in a chunk, F features, H horizon, M pool.

A chunk is K consecutive origins. Chunk ends are staggered over the series by CRC32(id) mod K, so that a tick
trains about 1/K of them. A chunk is trained when all its targets have arrived; at the same moment the newest
chunk is trained too, masked to the targets that have arrived: what makes a cold start bearable, since
learning then begins after K readings instead of K + H.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from forecasters.fields import TILE
from forecasters.memory import MASKED, NUM_FEATURES, Memory, Wave

Tensor = torch.Tensor
Ints = npt.NDArray[np.int64]

SPAN = 672
"""Readings per series that the pool reaches back over on average."""
FINITE = 60_000.0
"""Just below the largest float16."""


@dataclass(slots=True)
class Batch:
    """What a recurrent forecaster trains on. Rows are padded to whole tiles; padding has no target.

    x_KBF: features; target_KBH: departures in units of scale, NaN where there is no target yet;
    fresh_rows, fresh_chunk: slot and chunk number of each fresh row, whose initial state the forecaster keeps
    in its own ring; replayed: pool places of the replayed rows; kept_from, kept_at: which fresh rows go into
    the pool, and where.
    """

    x_KBF: Tensor
    target_KBH: Tensor
    weight_KBH: Tensor
    fresh_rows: Tensor
    fresh_chunk: Tensor
    replayed: Tensor
    kept_from: Tensor
    kept_at: Tensor


class Chunks:
    """The schedule of training. Host side throughout: nothing here waits for the device."""

    def __init__(self, memory: Memory, chunk: int, replay: int, pool: int, device: torch.device) -> None:
        self.memory = memory
        self.chunk = chunk
        self.replay = replay
        self.horizon = memory.horizon
        self.device = device
        self.behind = self.horizon // chunk  # chunks between the newest and the newest complete one
        self.rest = self.horizon % chunk
        self.pool = pool
        self.pool_x = torch.zeros(pool, chunk, NUM_FEATURES, dtype=torch.float16, device=device)
        self.pool_target = torch.full(
            (pool, chunk, self.horizon), float("nan"), dtype=torch.float16, device=device
        )
        self.pool_filled = 0
        self.offset = np.zeros(0, np.int64)
        self.trained = np.zeros(0, np.int64)
        self.since = np.zeros(0, np.int64)  # steps before it can't be trained on
        self.ticks_waited = 0
        self._origins = torch.arange(chunk, device=device)
        self._ahead = torch.arange(1, self.horizon + 1, device=device)

    @staticmethod
    def ring_length(horizon: int, chunk: int) -> int:
        """Steps of the past that a chunk may need: horizon and chunk, and one chunk of waiting for a tick."""
        return horizon + 2 * chunk

    @staticmethod
    def states_kept(horizon: int, chunk: int) -> int:
        """Chunk ends whose recurrent state a forecaster has to keep."""
        return horizon // chunk + 3

    def grow(self, capacity: int) -> None:
        more = capacity - self.offset.size
        self.offset = np.concatenate([self.offset, np.zeros(more, np.int64)])
        self.trained = np.concatenate([self.trained, np.full(more, -1, np.int64)])
        self.since = np.concatenate([self.since, np.zeros(more, np.int64)])

    def add(self, slot: int, series: str) -> None:
        self.offset[slot] = zlib.crc32(series.encode()) % self.chunk
        self.trained[slot], self.since[slot] = -1, 0

    def ends(self, wave: Wave) -> tuple[Tensor, Tensor]:
        """(rows of the wave where a chunk ends, place of the next chunk among the kept states)."""
        rows, at = self.find_ends(wave.arrival.slots, wave.arrival.step)
        return torch.from_numpy(rows).to(self.device), torch.from_numpy(at).to(self.device)

    def find_ends(self, slots: Ints, steps: Ints) -> tuple[Ints, Ints]:
        """As `ends`, of these slots at these steps."""
        step = steps + 1 + self.offset[slots]
        rows = np.flatnonzero(step % self.chunk == 0)
        return rows, step[rows] // self.chunk % self.states_kept(self.horizon, self.chunk)

    def newest(self, slots: Ints, steps: Ints) -> Ints:
        """Number of the newest chunk due at `steps`; chunk c ends with step cK - offset - 1."""
        number: Ints = (steps + 1 + self.offset[slots] - self.rest) // self.chunk
        return number

    def due(self, slots: Ints, steps: Ints, order: npt.NDArray[np.uint64]) -> Ints:
        """Slots with a chunk to train, in the order of their series' keys; empty until it is worth a step.

        A step is taken once a tile of rows has gathered or K ticks have passed: steps on one series at a
        time do harm.
        """
        ready: Ints = slots[self.newest(slots, steps) > self.trained[slots]]
        self.ticks_waited += 1
        if not ready.size or (ready.size < TILE and self.ticks_waited < self.chunk):
            none: Ints = ready[:0]
            return none
        self.ticks_waited = 0
        in_order: Ints = ready[np.argsort(order[ready], kind="stable")]
        return in_order

    def batch(
        self, slots: Ints, steps: Ints, restart: Ints, live: int, generator: torch.Generator
    ) -> Batch | None:
        """Everything to train on now; marks the chunks as trained and puts the complete ones into the pool.

        None where no chunk lies wholly within its series.
        """
        newest = self.newest(slots, steps)
        self.trained[slots] = newest
        complete = newest - self.behind
        first = complete * self.chunk - self.offset[slots] - self.chunk
        whole = first >= restart
        partial = (newest * self.chunk - self.offset[slots] - self.chunk >= restart) & (self.behind > 0)
        fresh = np.concatenate([slots[whole], slots[partial]])
        if not fresh.size:
            return None
        number = np.concatenate([complete[whole], newest[partial]])
        now = np.concatenate([steps[whole], steps[partial]])
        since = np.concatenate([restart[whole], restart[partial]])
        x, target = self._gather(fresh, number, now, since)

        replayed = torch.zeros(0, dtype=torch.int64)
        if self.pool_filled and self.replay:
            replayed = torch.randint(self.pool_filled, (self.replay,), generator=generator)
        num_whole = int(whole.sum())
        kept_from, kept_at = self._keep(num_whole, live, generator)
        old = replayed.to(self.device)
        x_all = torch.cat([x, self.pool_x[old]])
        target_all = torch.cat([target, self.pool_target[old]])
        if num_whole:
            self.pool_x[kept_at] = x[kept_from]
            self.pool_target[kept_at] = target[kept_from]
        x_KBF, target_KBH, weight = self._tiled(x_all, target_all)
        return Batch(
            x_KBF=x_KBF, target_KBH=target_KBH, weight_KBH=weight,
            fresh_rows=torch.from_numpy(fresh).to(self.device),
            fresh_chunk=torch.from_numpy(number).to(self.device), replayed=old,
            kept_from=kept_from, kept_at=kept_at,
        )  # fmt: skip

    def _gather(self, slots: Ints, number: Ints, now: Ints, since: Ints) -> tuple[Tensor, Tensor]:
        """Features `[B, K, F]` and targets `[B, K, H]` (float16) of the chunks, read from the rings."""
        rows = torch.from_numpy(slots).to(self.device)[:, None]
        start = torch.from_numpy((number - 1) * self.chunk - self.offset[slots]).to(self.device)[:, None]
        step_now = torch.from_numpy(now).to(self.device)[:, None, None]
        restart = torch.from_numpy(since).to(self.device)[:, None, None]
        rings, length = self.memory.rings, self.memory.ring_length
        origin_BK = start + self._origins
        at = torch.remainder(origin_BK, length)
        x = rings["features"][rows, at]
        last, scale = rings["level"][rows, at].unbind(-1)
        target_step = origin_BK[:, :, None] + self._ahead
        span = torch.arange(self.chunk + self.horizon, device=self.device)
        window_at = torch.remainder(start + span, length)
        values = rings["level"][rows, window_at, 0]
        masked = rings["features"][rows, window_at, MASKED] > 0
        values = torch.where(masked, torch.full_like(values, float("nan")), values)
        shifted = values.unfold(1, self.horizon, 1)[
            :, 1 : self.chunk + 1
        ]  # [B, K, H]: values at origin + 1 …
        target = (shifted - last[:, :, None]) / scale[:, :, None]
        arrived = (target_step <= step_now) & (origin_BK[:, :, None] >= restart)
        target = torch.where(arrived, target, torch.full_like(target, float("nan")))
        return x, target.clamp(-FINITE, FINITE).to(torch.float16)

    def _keep(self, num_whole: int, live: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Which complete rows go into the pool, and where: (rows, places)."""
        share = min(1.0, self.pool * self.chunk / (SPAN * max(live, 1)))
        draw = torch.rand(num_whole, 2, generator=generator)
        rows = torch.nonzero(draw[:, 0] < share).squeeze(1)
        places = (draw[rows, 1] * self.pool).to(torch.int64).clamp(max=self.pool - 1)
        room = min(self.pool - self.pool_filled, rows.numel())
        places[:room] = torch.arange(self.pool_filled, self.pool_filled + room)
        self.pool_filled += room
        # one place drawn twice: the later row wins on every device
        last = {int(p): k for k, p in enumerate(places)}
        chosen = torch.tensor(sorted(last.values()), dtype=torch.int64)
        return rows[chosen].to(self.device), places[chosen].to(self.device)

    def _tiled(self, x_BKF: Tensor, target_BKH: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        missing = -x_BKF.shape[0] % TILE
        x = torch.nn.functional.pad(x_BKF.float(), (0, 0, 0, 0, 0, missing))
        target = torch.nn.functional.pad(
            target_BKH.float(), (0, 0, 0, 0, 0, missing), value=float("nan")
        ).transpose(0, 1)
        valid = ~torch.isnan(target)
        count = valid.sum().clamp(min=1)
        target = torch.where(valid, target, torch.zeros_like(target)).contiguous()
        return x.transpose(0, 1).contiguous(), target, valid.to(torch.float32) / count

    def save(self, num_slots: int) -> Iterator[tuple[str, Tensor]]:
        yield "chunks.pool_x", self.pool_x.cpu().clone()
        yield "chunks.pool_target", self.pool_target.cpu().clone()
        yield "chunks.counts", torch.tensor([self.pool_filled, self.ticks_waited])
        yield "chunks.trained", torch.from_numpy(self.trained[:num_slots].copy())
        yield "chunks.since", torch.from_numpy(self.since[:num_slots].copy())

    def load(self, state: Mapping[str, Tensor], num_slots: int) -> None:
        self.pool_x.copy_(state["chunks.pool_x"])
        self.pool_target.copy_(state["chunks.pool_target"])
        self.pool_filled, self.ticks_waited = (int(v) for v in state["chunks.counts"])
        self.trained[:num_slots] = state["chunks.trained"].numpy()
        self.since[:num_slots] = state["chunks.since"].numpy()
