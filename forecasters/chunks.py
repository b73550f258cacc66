"""Which stretches of which series are trained at a tick, and the pool of old ones that is replayed with them.

Letters: S slots, B chunks of a batch, K origins in a chunk, F features, H horizon, M pool.

A chunk is K consecutive origins. Chunk ends are staggered over the series by CRC32(id) mod K, so that a tick
trains about 1/K of them. A chunk is trained when all its targets have arrived; at the same moment the newest
chunk is trained too, masked to the targets that have arrived: what makes a cold start bearable, since
learning then begins after K readings instead of K + H. Many series teach a network enough without that: in a
large shard only young ones are trained in part, and nothing old is replayed.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from forecasters.memory import MASKED, NUM_FEATURES, Memory, Wave
from forecasters.rows import TILE
from forecasters.timetable import modulo

Tensor = torch.Tensor
Ints = npt.NDArray[np.int64]

LARGE = 4 * TILE
"""From so many live series on a shard is a large one."""
YOUNG = 256
"""Steps since its (re)start for which a series is young."""
SPAN = 672
"""Readings per series that the pool reaches back over on average."""
LARGE_SHARE = 4
"""A step waits for a quarter of the series where a quarter is more than a tile, four tiles at most."""
FINITE = 60_000.0
"""Just below the largest float16."""


@dataclass(slots=True)
class Batch:
    """What a recurrent forecaster trains on. Rows are padded to whole tiles; padding has no target.

    x_KFB: features; target_KHB: departures in units of scale, 0 where there is none yet, as then is their
    weight. Fresh rows come first: begun_at are the places of their initial states in the flattened ring that
    a forecaster keeps; then those replayed, by their places in the pool. kept_from, kept_at: which fresh rows
    go into the pool, and where.
    """

    x_KFB: Tensor
    target_KHB: Tensor
    weight_KHB: Tensor
    begun_at: Tensor
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
        self._ahead = np.arange(1, self.horizon + 1)[:, None]

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
        """(rows of the wave where a chunk ends, places of their states in the flattened ring); the same for
        all networks."""
        if wave.ends is None:
            rows, at = self.find_ends(wave.rows.slots, wave.arrival.step)
            wave.ends = torch.from_numpy(rows).to(self.device), torch.from_numpy(at).to(self.device)
        return wave.ends

    def find_ends(self, slots: Ints, steps: Ints) -> tuple[Ints, Ints]:
        """As `ends`, of these slots at these steps."""
        step, kept = self.offset[slots] + steps, self.states_kept(self.horizon, self.chunk)
        step += 1
        rows = np.flatnonzero(modulo(step, self.chunk) == 0)
        return rows, slots[rows] * kept + step[rows] // self.chunk % kept

    def newest(self, slots: Ints, steps: Ints) -> Ints:
        """Number of the newest chunk due at `steps`; chunk c ends with step cK - offset - 1."""
        number: Ints = (steps + 1 + self.offset[slots] - self.rest) // self.chunk
        return number

    def due(self, steps_S: Ints, order: npt.NDArray[np.uint64]) -> Ints:
        """Slots with a chunk to train, in the order of their series' keys; empty until it is worth a step.
        steps: by slot, -1 where there was no reading yet: such a series is added at no certain place of the
        log.

        A step is taken once enough rows have gathered or K ticks have passed: steps on one series at a time
        do harm, and a step on few rows costs almost as much as one on many.
        """
        num = steps_S.size
        live = steps_S >= 0
        # where the newest chunk is later than the one that was trained, see `newest`
        number = steps_S + self.offset[:num]
        number += 1 - self.rest
        number //= self.chunk
        is_ready = number > self.trained[:num]
        is_ready &= live
        num_ready, num_live = int(np.count_nonzero(is_ready)), int(np.count_nonzero(live))
        self.ticks_waited += 1
        enough = min(max(num_live // LARGE_SHARE, TILE), LARGE)
        if not num_ready or (num_ready < enough and self.ticks_waited < self.chunk):
            return np.zeros(0, np.int64)
        self.ticks_waited = 0
        ready = np.flatnonzero(is_ready)
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
        partial = newest * self.chunk - self.offset[slots] - self.chunk >= restart
        partial &= (self.behind > 0) & ((live < LARGE) | (steps - restart < YOUNG))
        fresh = np.concatenate([slots[whole], slots[partial]])
        if not fresh.size:
            return None
        number = np.concatenate([complete[whole], newest[partial]])
        now = np.concatenate([steps[whole], steps[partial]])
        since = np.concatenate([restart[whole], restart[partial]])
        replayed, replay = torch.zeros(0, dtype=torch.int64), self.replay if live < LARGE else 0
        if self.pool_filled and replay:
            replayed = torch.randint(self.pool_filled, (replay,), generator=generator)
        kept_from, kept_at = self._keep(int(whole.sum()) if replay else 0, live, generator)
        x, target = self._gather(fresh, number, now, since, replayed.to(self.device))
        if kept_at.numel():
            self.pool_x[kept_at] = x[..., kept_from].permute(2, 0, 1).to(torch.float16)
            self.pool_target[kept_at] = target[..., kept_from].permute(2, 0, 1).to(torch.float16)
        kept = self.states_kept(self.horizon, self.chunk)
        valid = ~torch.isnan(target)
        return Batch(
            x_KFB=x, target_KHB=torch.nan_to_num(target, nan=0.0),
            weight_KHB=valid.to(torch.float32).div_(valid.sum().clamp_(min=1)),
            begun_at=torch.from_numpy(fresh * kept + (number - 1) % kept).to(self.device),
            replayed=replayed.to(self.device), kept_from=kept_from, kept_at=kept_at,
        )  # fmt: skip

    def _gather(
        self, slots: Ints, number: Ints, now: Ints, since: Ints, replayed: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Features `[K, F, B]` and targets `[K, H, B]`, NaN where there is none: of the chunks, read from the
        rings, of the replayed ones, and of padding."""
        chunk, fresh = self.chunk, slots.size
        used = fresh + replayed.numel()
        rings, length = self.memory.rings, self.memory.ring_length
        start = (number - 1) * chunk - self.offset[slots]
        steps_WB = start + np.arange(chunk + self.horizon)[:, None]  # the origins, then H steps more
        places = torch.from_numpy(steps_WB % length * rings.stride + slots).to(self.device).view(-1)
        features = rings.take_rows("features", places).view(len(steps_WB), fresh, -1)
        values, scale = rings.take_rows("level", places).view(-1, fresh, 2).unbind(2)
        x = scale.new_zeros(chunk, NUM_FEATURES, used + -used % TILE)
        x[..., :fresh] = features[:chunk, :, :NUM_FEATURES].transpose(1, 2).contiguous()
        masked = features[..., MASKED] > 0
        ahead = torch.where(masked, float("nan"), values)[1:].unfold(0, self.horizon, 1).transpose(1, 2)
        own = (ahead - values[:chunk, None]).div_(scale[:chunk, None]).clamp_(-FINITE, FINITE)
        origins_KB = steps_WB[:chunk]
        if (origins_KB[-1] + self.horizon > now).any():
            arrived = (origins_KB[:, None] + self._ahead <= now) & (origins_KB >= since)[:, None]
            own = torch.where(torch.from_numpy(arrived).to(self.device), own, float("nan"))
        target = own.new_full((chunk, self.horizon, x.shape[2]), float("nan"))
        target[..., :fresh] = own
        if used > fresh:
            x[..., fresh:used] = self.pool_x[replayed].permute(1, 2, 0)
            target[..., fresh:used] = self.pool_target[replayed].permute(1, 2, 0)
        return x, target

    def _keep(self, num_whole: int, live: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Which complete rows go into the pool, and where: (rows, places)."""
        if not num_whole:
            none = torch.zeros(0, dtype=torch.int64, device=self.device)
            return none, none
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
