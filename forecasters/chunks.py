"""Which stretches of which series are trained at a tick, and the pool of old ones that is replayed with them.

Letters: S slots, B chunks of a batch, K origins in a chunk, F features, H horizon, M pool, W steps that a
chunk looks at, the origins and H more, V those after the first.

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

from forecasters.host import is_host
from forecasters.memory import CLIP, MASKED, NUM_FEATURES, Memory, Wave
from forecasters.rows import TILE, Rows
from forecasters.timetable import Arrival, modulo

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
FILLED_TO = 4 * TILE
"""What is trained elsewhere than on a CPU has a multiple of so many rows: few shapes, each recorded once."""
FINITE = 60_000.0
"""Just below the largest float16."""
ONE = torch.tensor(1.0)
"""A number given as a tensor: `1.0 - t` goes a long way round in Python."""


@dataclass(slots=True)
class Batch:
    """What a recurrent forecaster trains on. Rows are padded to whole tiles; padding has no target.

    x_KFB: features, filled up as in their ring, float16: each network converts them into a piece of its own
    anyway. target_KHB: departures in units of scale, clipped as features are, since nothing that is fed could
    say more; weight_KHB: 0 where there is none, and the target then any finite number. Fresh rows come first:
    begun_at are the places of their initial states in the flattened ring that a forecaster keeps; then those
    replayed, by their places in the pool. kept_from, kept_at: which fresh rows go into the pool, and where.
    """

    x_KFB: Tensor
    target_KHB: Tensor
    weight_KHB: Tensor
    begun_at: Tensor
    replayed: Tensor
    kept_from: Tensor
    kept_at: Tensor


@dataclass(frozen=True, slots=True)
class Plan:
    """What a tick trains on. rows `[4, B]`: slots, first steps and numbers of the chunks, steps now; the
    first `num_whole` are complete. replayed, kept_from, kept_at: as in `Batch`; padded: rows of that, whole
    tiles. is_repeatable: plans of as many rows take the same operations."""

    rows: Ints
    num_whole: int
    padded: int
    replayed: Tensor
    kept_from: Tensor
    kept_at: Tensor
    is_repeatable: bool

    @property
    def num_chunks(self) -> int:
        return int(self.rows.shape[1]) + self.replayed.numel()


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
        self._kept = self.states_kept(memory.horizon, chunk)
        self.pool = pool
        self.pool_x = torch.zeros(pool, chunk, NUM_FEATURES, dtype=torch.float16, device=device)
        self.pool_target = torch.full(
            (pool, chunk, self.horizon), float("nan"), dtype=torch.float16, device=device
        )
        self.pool_filled = 0
        self.offset = np.zeros(0, np.int64)
        self._last = np.zeros(0, np.int64)
        """The step that ends a chunk, modulo a chunk: follows from `offset`."""
        self._known_ends: tuple[Rows | None, dict[int, tuple[Tensor, Tensor]]] = (None, {})
        """`ends` by step, of the rows of the last wave."""
        self.trained = np.zeros(0, np.int64)
        self.since = np.zeros(0, np.int64)  # steps before it can't be trained on
        self.ready_at = np.zeros(0, np.int64)
        """The step from which the next chunk can be trained: follows from `trained`, and is not saved."""
        self._by_key: Ints | None = None  # slots in the order of their series' keys, where known
        self.ticks_waited = 0
        self._steps_W = np.arange(chunk + self.horizon)  # the origins, then H steps more
        # how many origins have a step after the first one among their H steps ahead
        often = np.minimum(np.minimum(self._steps_W, self._steps_W[::-1] + 1), min(chunk, self.horizon))[1:]
        self._often_V = torch.from_numpy(often).to(device, torch.float32)
        self._far_W1 = self._steps_W[:, None]  # between the places of a slot in the rings
        self._no_rows = torch.zeros(0, dtype=torch.int64, device=device)

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
        self._last = np.concatenate([self._last, np.zeros(more, np.int64)])
        self.trained = np.concatenate([self.trained, np.full(more, -1, np.int64)])
        self.since = np.concatenate([self.since, np.zeros(more, np.int64)])
        self.ready_at = np.concatenate([self.ready_at, np.zeros(more, np.int64)])
        self._by_key = None
        self._far_W1 = (self._steps_W * self.memory.rings.stride)[:, None]

    def add(self, slot: int, series: str) -> None:
        self.offset[slot] = zlib.crc32(series.encode()) % self.chunk
        self._last[slot] = self.chunk - 1 - self.offset[slot]
        self.trained[slot], self.since[slot] = -1, 0
        self.ready_at[slot] = self._next_ready(self.trained[slot], self.offset[slot])
        self._by_key = None

    def _next_ready(self, trained: Ints, offset: Ints) -> Ints:
        """From which step on a later chunk than `trained` is the newest one, see `newest`; at least 0, so
        that a series without a reading is never ready."""
        ready_at: Ints = np.maximum((trained + 1) * self.chunk + self.rest - offset - 1, 0)
        return ready_at

    def ends(self, wave: Wave) -> tuple[Tensor | None, Tensor]:
        """(rows of the wave where a chunk ends, places of their states in the flattened ring); the same for
        all networks. Elsewhere than on a CPU all rows, None, those where none ends to a place that no series
        has."""
        if wave.ends is not None:
            return wave.ends
        if not is_host(self.device):
            wave.ends = None, self.memory.courier.send(self._find_all_ends)
            return wave.ends
        common, known = wave.arrival.common, self._known_ends
        if known[0] is not wave.rows:
            known = self._known_ends = wave.rows, {}
        # of series at the same step they come again when the ring of states has gone round
        key = None if common is None else common % (self.chunk * self._kept)
        if key is None or key not in known[1]:
            rows, at = self.find_ends(wave.rows.slots, wave.arrival.step, self._last[wave.rows.host])
            wave.ends = torch.from_numpy(rows).to(self.device), torch.from_numpy(at).to(self.device)
            if key is not None:
                known[1][key] = wave.ends
        else:
            wave.ends = known[1][key]
        return wave.ends

    def _find_all_ends(self, a: Arrival) -> Ints:
        rows, at = self.find_ends(a.rows.slots, a.step, self._last[a.rows.host])
        places = np.full(a.rows.padded, a.rows.scratch * self._kept)
        places[rows] = at
        return places

    def find_ends(self, slots: Ints, steps: Ints, last: Ints | None = None) -> tuple[Ints, Ints]:
        """As `ends`, of these slots at these steps. last: of these slots, where it is there."""
        last = self._last[slots] if last is None else last
        (rows,) = (modulo(steps, self.chunk) == last).nonzero()
        number = steps[rows] // self.chunk
        number += 1
        return rows, slots[rows] * self._kept + modulo(number, self._kept)

    def newest(self, slots: Ints, steps: Ints) -> Ints:
        """Number of the newest chunk due at `steps`; chunk c ends with step cK - offset - 1."""
        number: Ints = (steps + 1 + self.offset[slots] - self.rest) // self.chunk
        return number

    def due(self, steps_S: Ints, order_S: npt.NDArray[np.uint64], live: int) -> Ints:
        """Slots with a chunk to train, in the order of their series' keys; empty until it is worth a step.
        steps: by slot, -1 where there was no reading yet: such a series is added at no certain place of the
        log. live: series with one.

        A step is taken once enough rows have gathered or K ticks have passed: steps on one series at a time
        do harm, and a step on few rows costs almost as much as one on many.
        """
        is_ready = steps_S >= self.ready_at
        num_ready = np.count_nonzero(is_ready)
        self.ticks_waited += 1
        enough = min(max(live // LARGE_SHARE, TILE), LARGE)
        if not num_ready or (num_ready < enough and self.ticks_waited < self.chunk):
            return np.zeros(0, np.int64)
        self.ticks_waited = 0
        if self._by_key is None:
            self._by_key = np.argsort(order_S, kind="stable")
        in_order: Ints = self._by_key[is_ready[self._by_key]]
        return in_order

    def plan(
        self, slots: Ints, steps: Ints, restart: Ints, live: int, generator: torch.Generator
    ) -> Plan | None:
        """Everything to train on now; marks the chunks as trained.

        None where no chunk lies wholly within its series.
        """
        newest, offset = self.newest(slots, steps), self.offset[slots]
        self.trained[slots] = newest
        self.ready_at[slots] = self._next_ready(newest, offset)
        rows, num_whole = self._rows(slots, steps, restart, newest, offset, live)
        if not rows.shape[1]:
            return None
        replayed, kept_from, kept_at = self._no_rows, self._no_rows, self._no_rows
        if live < LARGE and self.replay:
            if self.pool_filled:
                drawn = torch.randint(self.pool_filled, (self.replay,), generator=generator)
                replayed = drawn.to(self.device)
            kept_from, kept_at = self._keep(num_whole, live, generator)
        is_repeatable = not (is_host(self.device) or replayed.numel() or kept_at.numel())
        used = rows.shape[1] + replayed.numel()
        return Plan(
            rows=rows, num_whole=num_whole, replayed=replayed, kept_from=kept_from, kept_at=kept_at,
            padded=used + -used % (FILLED_TO if is_repeatable else TILE), is_repeatable=is_repeatable,
        )  # fmt: skip

    def batch(self, plan: Plan) -> Batch:
        """What a plan says, read from the rings and the pool; complete chunks that it keeps go into the
        pool."""
        x, target, weight = self._gather(plan)
        if plan.kept_at.numel():
            kept = (t.index_select(2, plan.kept_from) for t in (x, target, weight))
            self._put_into_pool(plan.kept_at, *kept)
        return Batch(
            x_KFB=x, target_KHB=target.clamp_(-CLIP, CLIP), weight_KHB=weight,
            begun_at=self.memory.courier.send(self._find_begun), replayed=plan.replayed,
            kept_from=plan.kept_from, kept_at=plan.kept_at,
        )  # fmt: skip

    def _find_begun(self, plan: Plan) -> Ints:
        slots, _, number, _ = plan.rows
        begun: Ints = slots * self._kept + (number - 1) % self._kept
        return np.pad(begun, (0, plan.padded - begun.size), "edge") if plan.is_repeatable else begun

    def _rows(
        self, slots: Ints, steps: Ints, restart: Ints, newest: Ints, offset: Ints, live: int
    ) -> tuple[Ints, int]:
        """`[4, B]`: slots, first steps and numbers of the chunks, steps now; how many of them, which come
        first, are complete."""
        chunk, behind = self.chunk, self.behind
        first = (newest - 1) * chunk - offset
        whole = first >= restart + behind * chunk
        rows = np.array((slots, first - behind * chunk, newest - behind, steps))
        if not whole.all():
            rows = rows[:, whole]
        num_whole = rows.shape[1]
        if behind:
            partial = first >= restart
            if live >= LARGE:
                partial &= steps - restart < YOUNG
            if partial.any():
                young = np.array((slots, first, newest, steps))[:, partial]
                rows = np.concatenate([rows, young], 1)
        return rows, num_whole

    def _gather(self, plan: Plan) -> tuple[Tensor, Tensor, Tensor]:
        """Features, targets and their weights; of the chunks, read from the rings, then of the replayed ones.
        What is left of the last tile repeats the first chunk, without targets."""
        chunk, rings, replayed = self.chunk, self.memory.rings, plan.replayed
        fresh, num = plan.rows.shape[1], plan.padded
        used = fresh + replayed.numel()
        places = self.memory.courier.send(self._find_places)
        origins = places[:chunk].view(-1)
        features, level = rings.rows("features"), rings.rows("level")
        # first single numbers, of rows of which many can then be on their way into the cache at once
        is_masked = features[:, MASKED].index_select(0, places.view(-1)).view(-1, num)
        x = rings.take_rows("features", origins).view(chunk, num, -1).transpose(1, 2).contiguous()
        values = level[:, 0].index_select(0, places.view(-1)).view(-1, num)
        scale = level[:, 1].index_select(0, origins).view(chunk, 1, num)
        # finite wherever there is an origin: rings begin with zeros, and its scale is above 0
        target = torch.sub(self._ahead(values[1:]), values[:chunk, None], out=self._room(values)).div_(scale)
        old_KHM = None
        if replayed.numel():
            old_KHM = self.pool_target[replayed].permute(1, 2, 0).to(torch.float32)
            x[:, :NUM_FEATURES, fresh:used] = self.pool_x[replayed].permute(1, 2, 0)
            target[..., fresh:used] = torch.nan_to_num(old_KHM, nan=0.0)
        return x, target, self._weigh(plan, is_masked[1:], old_KHM)

    def _weigh(self, plan: Plan, is_masked_VB: Tensor, old_KHM: Tensor | None) -> Tensor:
        """`[K, H, B]`: where there is a target, one by the number of them. old: targets of the replayed ones,
        NaN where there is none."""
        fresh = plan.rows.shape[1]
        there_VB = torch.sub(ONE, is_masked_VB.to(torch.float32))
        if plan.is_repeatable:
            there_VB.mul_(self.memory.courier.send(self._find_passed))
        else:
            if plan.num_whole < fresh:
                arrived = torch.from_numpy(self._find_arrived(plan)).to(self.device)
                there_VB[:, plan.num_whole : fresh].mul_(arrived)
            there_VB[:, fresh:] = 0.0
        count = torch.dot(there_VB.sum(1), self._often_V)
        if old_KHM is not None:
            is_target = ~torch.isnan(old_KHM)
            count += is_target.sum()
        count.clamp_(min=1.0)
        weight = self._room(there_VB).copy_(self._ahead(there_VB.div_(count)))
        if old_KHM is not None:
            weight[..., fresh : fresh + old_KHM.shape[2]] = is_target / count
        return weight

    def _find_arrived(self, plan: Plan) -> npt.NDArray[np.bool_]:
        """`[V, B]` of the chunks that are not complete: which of the steps after their first have passed."""
        _, first, _, now = plan.rows[:, plan.num_whole :]
        arrived: npt.NDArray[np.bool_] = self._steps_W[1:, None] <= now - first
        return arrived

    def _find_passed(self, plan: Plan) -> npt.NDArray[np.bool_]:
        """`[V, B]`, likewise of all; nothing of what fills up the last tile."""
        passed = np.zeros((self._steps_W.size - 1, plan.padded), np.bool_)
        passed[:, : plan.num_whole] = True
        passed[:, plan.num_whole : plan.rows.shape[1]] = self._find_arrived(plan)
        return passed

    def _room(self, like_WB: Tensor) -> Tensor:
        """`[K, H, B]`"""
        return like_WB.new_empty(self.chunk, self.horizon, like_WB.shape[1])

    def _ahead(self, by_step: Tensor) -> Tensor:
        """`[K, H, R]`, a view of the H steps after each origin."""
        return by_step.unfold(0, self.horizon, 1).transpose(1, 2)

    def _find_places(self, plan: Plan) -> Ints:
        """In the rings, `[W, R]`: of the steps from the first of each chunk on; filled up with the first
        row."""
        stride, length = self.memory.rings.stride, self.memory.ring_length
        slots, first = plan.rows[:2]
        begun = np.empty(plan.padded, np.int64)
        begun[: slots.size] = modulo(first, length) * stride + slots
        begun[slots.size :] = begun[0]
        places = begun + self._far_W1
        # those beyond the end go on at the beginning; the others, less the whole, are huge without a sign
        wrapped = (places - length * stride).view(np.uint64)
        np.minimum(places.view(np.uint64), wrapped, out=wrapped)
        return wrapped.view(np.int64)

    def _put_into_pool(self, at: Tensor, x_KFB: Tensor, target_KHB: Tensor, weight_KHB: Tensor) -> None:
        target = torch.where(weight_KHB > 0, target_KHB.clamp(-FINITE, FINITE), float("nan"))
        self.pool_x[at] = x_KFB[:, :NUM_FEATURES].permute(2, 0, 1)
        self.pool_target[at] = target.permute(2, 0, 1).to(torch.float16)

    def _keep(self, num_whole: int, live: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Which complete rows go into the pool, and where: (rows, places)."""
        if not num_whole:
            return self._no_rows, self._no_rows
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
        self.ready_at = self._next_ready(self.trained, self.offset)
