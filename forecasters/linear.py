"""Online linear autoregression: recursive least squares on 29 features, every step learning at its own time.

Letters: R rows, H horizon, F features (29), C features of the memory filled up (32), N readings learnt from
at once.

Recursive least squares with forgetting (Haykin, Adaptive Filter Theory, 4th ed., table 9.1): for features x
with inverse covariance P, gain k = P x / (λ + x'P x), P ← (P - k x'P) / λ, and for each target d of that x
w ← w + k (d - w'x). The gain is computed when x is learnt from and kept until the target of each step
arrives, so that step h learns from its h-step-old origin exactly, and without waiting for the longest step.

Forgetting inflates directions that are never excited; none may exceed the prior. So P grows by factors of
its own per feature, P ← S (P - k x'P) S, and what is kept is P = D Q D with a diagonal D: S then goes into D,
and Q is touched once a reading.

What costs is not the arithmetic: a series has 6 kB of weights and covariance, and many series have more than
the caches hold. So in a large shard a settled series learns from four readings at a time, one after the other
while its numbers are near; its forecasts are then made with weights that are up to three readings old. Where
a tick is a round of readings all learn after every fourth one, since few calls on many rows cost less than
many on few; where rounds have many ticks, each at every fourth step of its own. For the caches' sake, too,
everything of a step lies side by side for all series, the longest step first, as origins do
in the rings. Features stand where they do in the memory, with a weight of 0 for what is none of the 29.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping

import numpy as np
import numpy.typing as npt
import torch

from forecasters import chunks
from forecasters.fields import Field, Fields, Places
from forecasters.forecaster import Forecaster
from forecasters.host import is_host
from forecasters.memory import CLIP, FILLED_UP, LINEAR_FEATURES, MASKED, NUM_FEATURES, Held, Memory, Wave
from forecasters.pace import MAX_TICK
from forecasters.products import dot, matmul
from forecasters.rows import Rows
from forecasters.timetable import Arrival, modulo

Tensor = torch.Tensor
Ints = npt.NDArray[np.int64]

FORGETTING = 0.9999
RIDGE = 10.0
NUM = 29
TOGETHER = 4
"""Readings that a settled series of a large shard learns from at once, at most; where it has so many, it does
not wait for its turn."""
ROWS = 1024
"""Rows learnt from at a time on a CPU: as many as a tick has readings. A quarter of them stays nearer, but
its calls take longer than that saves."""
LARGEST = 2.0**20
"""Where a number of D passes it, D gives it to Q: a power of two, so that no product changes."""


class Linear(Forecaster):
    """`linear`: one regression per series and step, on features in units of the series' scale."""

    def __init__(
        self, memory: Memory, device: torch.device, forgetting: float = FORGETTING, ridge: float = RIDGE
    ) -> None:
        self.memory = memory
        self.horizon = memory.horizon
        self.forgetting = forgetting
        self.prior = 1.0 / ridge
        self.device = device
        self.together = min(TOGETHER, memory.ring_length - memory.horizon)
        self.fields = Fields(
            {
                "covariance": Field((NUM, NUM), apart=True),  # Q
                "spread": Field((NUM,), initial=1.0, apart=True),  # D
                "weights": Field((self.horizon, NUM_FEATURES), ring=True),
                "gains": Field((memory.ring_length, NUM_FEATURES), torch.float16, ring=True),
            },
            device,
        )
        self.live = 0  # series, at the last tick
        self.ticks = 0
        self._waiting: tuple[Arrival | None, Ints] = (None, np.zeros(0, np.int64))  # of the last one
        self._eye = torch.eye(NUM, device=device) * self.prior
        self._ages_H1 = np.arange(self.horizon, 0, -1)[:, None]

    def reset(self, rows: Tensor) -> None:
        super().reset(rows)
        self.fields["covariance"][rows] = self._eye

    def form(self, a: Arrival) -> Hashable | None:
        """How many readings are learnt from at once, and whether each has all its targets."""
        num = self._find_common(waiting := self._find_waiting(a))
        return None if num is None else (num, bool(waiting.any()) and self._has_targets(a.since, num))

    def observe(self, wave: Wave) -> None:
        """Learn, of those series whose turn it is."""
        a, rows = wave.arrival, wave.rows
        waiting = self._find_waiting(a)
        num = self._find_common(waiting)
        if num is None:
            self._learn_late(rows, a.step, waiting)
        elif num:
            valid = None
            if not self._has_targets(a.since, num):
                valid = self.memory.courier.send(lambda a: self._find_targets(a.rows, a.since, num))
            self._learn(rows, wave.place, valid, num)

    def note(self, a: Arrival) -> None:
        is_due, learnt = self._find_waiting(a) > 0, self.memory.timetable["learnt"]
        learnt[a.rows.slots[is_due]] = a.step[is_due]

    def catch_up(self, slots: Ints) -> None:
        own = self.memory.timetable
        slots = slots[own["learnt"][slots] < own["step"][slots]]
        if slots.size:
            rows, step = Rows(slots, 0, self.fields.capacity, self.device), own["step"][slots]
            self._learn_late(rows, step, np.minimum(step - own["learnt"][slots], self.together))
            own["learnt"][slots] = step

    def _find_waiting(self, a: Arrival) -> Ints:
        """`[N]`, how many readings are to be learnt from now: 0 where it is not the series' turn."""
        if self._waiting[0] is a:
            return self._waiting[1]
        waiting: Ints = np.minimum(a.step - self.memory.timetable["learnt"][a.rows.host], self.together)
        is_round = self.live <= MAX_TICK  # that comes between two ticks
        if self.live >= chunks.LARGE and (self.ticks % self.together or not is_round):
            is_due = waiting == self.together
            if not is_round:
                is_due |= modulo(a.step + 1, self.together) == 0
            if int(a.since.min()) < chunks.YOUNG:
                is_due |= a.since < chunks.YOUNG
            waiting *= is_due
        self._waiting = a, waiting
        return waiting

    @staticmethod
    def _find_common(waiting: Ints) -> int | None:
        """Of all; None where they differ."""
        first = int(waiting[0])
        return first if (waiting == first).all() else None

    def _learn_late(self, rows: Rows, step: Ints, waiting: Ints) -> None:
        """From the last `waiting` readings `[N]` up to these steps."""
        # each number by itself: products of other sizes would round otherwise
        for num in np.unique(waiting[waiting > 0]).tolist():
            some = waiting == num
            part, at = Rows(rows.slots[some], rows.num_slots, self.fields.capacity, self.device), step[some]
            place = self.memory.rings.places(part, modulo(at, self.memory.ring_length)[None])
            since, valid = at - self.memory.timetable["restart"][part.host], None
            if not self._has_targets(since, num):
                targets = self._find_targets(part, since, num)
                valid = torch.from_numpy(targets).to(self.device, non_blocking=True)
            self._learn(part, place, valid, num)

    def hold(self, held: Held) -> None:
        """Nothing is learnt of origins without a reading."""
        self.fields.rows("gains").index_fill_(0, held.place_P, 0.0)
        slots = held.rows.slots
        self.memory.timetable["learnt"][slots] = self.memory.timetable["step"][slots]

    def tick(self, live: int) -> None:
        self.live = live
        self.ticks += 1

    def forecast(self, wave: Wave) -> Tensor:
        w_RHC = self.fields.read_ring("weights", wave.rows).transpose(0, 1)
        said_RH1 = matmul(w_RHC, wave.x_FR.t().contiguous()[:, :, None])
        return said_RH1[..., 0].t().flip(0)

    def _learn(self, rows: Rows, place: Places, valid: Tensor | None, num: int) -> None:
        """From the last `num` readings, each in its turn, the last of which has this place in the rings.
        valid `[N, H, R]`: whether each step has a target; None: all."""
        rings, horizon = self.memory.rings, self.horizon
        window = self.memory.earlier(place, range(horizon + num - 1, -1, -1))
        values, scales = rings.take_ring("level", window).unbind(-1)
        dep = [
            torch.sub(values[horizon + n], values[n : n + horizon]).div_(scales[n : n + horizon])
            for n in range(num)
        ]
        for some in self._blocks(rows.padded):
            taught = window.part(slice(horizon, horizon + num), some)
            x_NRC = rings.take_ring("features", taught, torch.float32)
            seen_NR = 1.0 - x_NRC[..., MASKED]
            gains = self._learn_covariances(rows, some, x_NRC[..., LINEAR_FEATURES], seen_NR)
            self.fields.put_ring("gains", taught, gains)
            origins = window.part(slice(horizon + num - 1), some)
            x = rings.take_ring("features", origins, torch.float32)
            k = self.fields.take_ring("gains", origins, torch.float32)
            w = self.fields.read_ring("weights", rows, some)
            for n in range(num):
                own = slice(n, n + horizon)
                error = dep[n][:, some].clamp(-CLIP, CLIP).sub_(dot(w, x[own]))
                if valid is not None:
                    error = torch.where(valid[n][:, some], error, 0.0)
                w.addcmul_(k[own], error.mul_(seen_NR[n])[:, :, None])
            self.fields.write_ring("weights", rows, w, some)

    def _has_targets(self, since: Ints, num: int) -> bool:
        """Whether every step has a target, of the last `num` readings."""
        return int(since.min()) + 1 - num >= self.horizon

    def _find_targets(self, rows: Rows, since: Ints, num: int) -> npt.NDArray[np.bool_]:
        """`[N, H, R]`, which have."""
        nth = np.arange(num)[:, None] + 1 - num
        valid = np.zeros((num, self.horizon, rows.padded), np.bool_)
        np.greater_equal((since + nth)[:, None], self._ages_H1, out=valid[..., : rows.num])
        return valid

    def _learn_covariances(self, rows: Rows, some: slice, x_NRF: Tensor, seen_NR: Tensor) -> Tensor:
        """Learn from these readings; returns the gains of them as origins `[N, R, C]`.

        With z = D x one would do for each: u = Q z, k = u / (λ + u'z), Q ← Q - k u'. Here Q z is taken of all
        z at once, and each u then made what Q would have given after those before; what they share of each
        other, c = u'z, is a matter of few numbers. Forgetting comes in S, after the last.
        """
        q, d = (self.fields.read(name, rows, some) for name in ("covariance", "spread"))
        z_RNF = (x_NRF * d).transpose(0, 1).contiguous()
        u_RNF = matmul(z_RNF, q)
        c_NNR = matmul(u_RNF, z_RNF.transpose(1, 2)).permute(1, 2, 0).contiguous()
        inverse: list[Tensor] = []
        for n, seen in enumerate(seen_NR):
            for m in range(n):
                share = c_NNR[n, m] * inverse[m]
                u_RNF[:, n].addcmul_(u_RNF[:, m], share[:, None], value=-1.0)
                c_NNR[n:, n].addcmul_(c_NNR[n:, m], share, value=-1.0)
            inverse.append(seen / (c_NNR[n, n] + self.forgetting))
        k_RNF = u_RNF * torch.stack(inverse, 1)[:, :, None]
        q.baddbmm_(k_RNF.transpose(1, 2), u_RNF, alpha=-1.0)
        gains = x_NRF.new_zeros(*x_NRF.shape[:2], FILLED_UP, dtype=torch.float16)
        gains[..., LINEAR_FEATURES] = (k_RNF * d[:, None]).transpose(0, 1)
        diagonal = torch.diagonal(q, dim1=1, dim2=2).mul(d).mul_(d).clamp_(min=1e-12)
        lift = torch.pow(1.0 / self.forgetting, seen_NR.sum(0))[:, None]
        d.mul_(torch.div(self.prior, diagonal).clamp_(max=lift).sqrt_())
        self._shift(q, d)
        self.fields.write("covariance", rows, q, some)
        self.fields.write("spread", rows, d, some)
        return gains

    def _shift(self, q: Tensor, d: Tensor) -> None:
        """Keep D from growing beyond all bounds. A matter of the series' own numbers, and exact."""
        is_large = d >= LARGEST
        if not is_host(self.device) or is_large.numpy().any():
            factor = torch.where(is_large, LARGEST, 1.0)
            d.div_(factor)
            q.mul_(factor[:, :, None]).mul_(factor[:, None, :])

    def _blocks(self, num: int) -> Iterator[slice]:
        """Some rows each; elsewhere than on a CPU all of them, as there calls are what costs."""
        high = ROWS if is_host(self.device) else num
        return (slice(low, min(low + high, num)) for low in range(0, num, high))

    def save(self) -> Iterator[tuple[str, Tensor]]:
        yield "live", torch.tensor(self.live)
        yield "ticks", torch.tensor(self.ticks)

    def load(self, state: Mapping[str, Tensor]) -> None:
        self.live = int(state["live"])
        self.ticks = int(state["ticks"]) if "ticks" in state else 0  # an earlier build did not save them
