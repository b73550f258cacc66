"""The bank: all forecasters of one shard, and the one place that orders what happens in a wave.

Letters: S slots, R rows of a wave (padded), N rows as given, E forecasters, X experts of the blend,
H horizon, Q scored steps.

For each wave: *score* what was forecast for these readings, *observe* them, *forecast*; after the
reading that completes a tick, *learn*. Learning comes last so that a forecast does not wait for it, and so
that what a series gets depends on the log alone: every reading before the tick sees the same weights.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch

from forecasters import snapshot
from forecasters.anomaly import Alarms, AlertOptions, Anomaly
from forecasters.backlog import Backlog, Task
from forecasters.blend import STACK_TICKS, Blend
from forecasters.champion import LEADER, Champion
from forecasters.checks import check_filled, check_readings
from forecasters.chunks import Chunks, Plan
from forecasters.columns import Columns
from forecasters.comparison import Comparison, pairs_of_interest
from forecasters.costs import Work
from forecasters.episodes import Standing
from forecasters.fields import Fields, Places
from forecasters.host import is_host
from forecasters.intervals import Intervals
from forecasters.launcher import Launcher
from forecasters.memory import Memory, Wave
from forecasters.outcome import Made, Outcome
from forecasters.pace import MAX_TICK, Pace
from forecasters.pending import Pending
from forecasters.reach import Reach, recent_reach
from forecasters.recurrent import Recurrent, RecurrentOptions
from forecasters.registry import BLEND, BUILDERS, Context
from forecasters.result import Result, join
from forecasters.rows import Rows, padded
from forecasters.signatures import describe
from forecasters.slots import Slots
from forecasters.steps import Interpolation, scored_steps
from forecasters.thinning import Thinning
from forecasters.timetable import NEVER, SETTLED, Arrival, Timetable
from forecasters.verdict import Evidence

Tensor = torch.Tensor

FIRST_CAPACITY = 64
GROWTH = 8
"""Room grows by an eighth: doubled, 10 000 series would take the memory of 16 384."""
MOST_ROWS = MAX_TICK
"""Elsewhere than on a CPU every wave is filled up to so many rows, and none has more: of other shapes
products may round otherwise, and what a series gets must not depend on its company."""
MOST_FILLED = 1 << 14
"""Steps without a reading that are taken at once, of all series together: some 30 MB while they are."""
FASTER = torch.inference_mode()
"""State is made and changed without autograd's bookkeeping, a fifth of the time of a small shard. So nothing
else may change it in place."""
COMPARISON, ALERTS = "comparison", "alerts"
"""Parts other than forecasters whose time is told."""


class Bank:
    """Forecasters over many series. Series are added and get slots; `step` takes one reading of each.

    Not thread-safe. On the CPU results are reproducible bit for bit for one number of torch threads.
    """

    @FASTER
    def __init__(
        self,
        names: Sequence[str],
        *,
        horizon: int,
        seed: int,
        device: torch.device,
        coverage: float,
        chunk: int,
        replay: int,
        pool: int,
        recurrent: RecurrentOptions,
        alerts: AlertOptions | None = None,
        max_rate: float | None = None,
    ) -> None:
        self.names = tuple(names)
        self.horizon = horizon
        self.device = device
        self.scored = scored_steps(horizon)
        self._scored_at = torch.tensor(self.scored, device=device) - 1
        self._interpolate = Interpolation(horizon, device)
        self.memory = Memory(
            horizon,
            Chunks.ring_length(horizon, chunk),
            device,
            needs_ago="seasonal_naive" in self.names,
        )
        self.timetable = self.memory.timetable
        self.chunks = Chunks(self.memory, chunk, replay, pool, device)
        context = Context(self.memory, self.chunks, recurrent, seed, device)
        self.experts = [n for n in self.names if n != BLEND]
        self.models = {n: BUILDERS[n](context) for n in self.experts}
        self.nets = [n for n in self.experts if isinstance(self.models[n], Recurrent)]
        self.blend = Blend(len(self.experts), horizon, device) if BLEND in self.names else None
        tracked = len(self.names) + len(self.nets) + (1 if self.blend else 0)
        self.pending = Pending(tracked, len(self.names), self.scored, self.memory.courier)
        self.intervals = Intervals(len(self.names), self.scored, coverage, device)
        pairs = pairs_of_interest(self.names)
        self._seconds = dict.fromkeys((*self.names, COMPARISON, ALERTS), 0.0)
        self._comparison = Comparison(self.names, pairs, horizon=horizon) if pairs else None
        self._anomaly = Anomaly(self.names, self.timetable, alerts) if alerts else None
        self._to_judge = self._to_compare = Backlog(self._seconds)
        if self._anomaly and self._anomaly.champion.at is not None:
            # by themselves, for their code to stay in the cache; elsewhere alerts follow what is compared
            self._to_compare = Backlog(self._seconds)
        if alerts and alerts.champion == LEADER and not pairs:
            raise ValueError(
                f"champion {LEADER}: expected naive beside another forecaster, or two recurrent ones, to "
                f"compare, got {', '.join(self.names)}"
            )
        self.thinning = None if max_rate is None else Thinning(max_rate, chunk)
        self._expert_at = torch.tensor([self.names.index(n) for n in self.experts], device=device)
        every = [*self.experts, BLEND]
        places = [every.index(n) for n in self.names]
        self._name_at = torch.tensor(places, device=device) if places != sorted(places) else None
        self.generator = context.generator("ticks")
        self.work = Work()

        self._launcher = None
        if not is_host(device):
            self._launcher = Launcher(self.memory.courier, self._seconds, self._make, self._train)

        self.slots = Slots()
        self._rows: Rows | None = None
        self._num_even = 0  # rows of the last wave, where they had the same time and season
        self.pace = Pace()

    # -- series ------------------------------------------------------------------------------------------

    def parts(self) -> dict[str, Fields | Timetable | Columns]:
        """Per-series state, by name."""
        parts: dict[str, Fields | Timetable | Columns] = {
            "timetable": self.timetable,
            "series": self.memory.core,
            "rings": self.memory.rings,
            "pending": self.pending.fields,
            "intervals": self.intervals.fields,
        }
        parts.update({f"forecaster.{n}": m.fields for n, m in self.models.items()})
        if self.blend:
            parts["blend"] = self.blend.fields
        if comparison := self.comparison:
            parts["comparison"] = comparison.fields
            parts["irregular"] = comparison.irregular.fields
        if anomaly := self.anomaly:
            parts.update({f"alerts.{n}": part for n, part in anomaly.parts().items()})
        return parts

    @property
    def comparison(self) -> Comparison | None:
        """The evidence of all readings so far; None where there is no pair."""
        self._to_compare.work_off()
        return self._comparison

    @property
    def anomaly(self) -> Anomaly | None:
        """What is known of alerts after all readings so far; None where the bank was built without."""
        self._to_judge.work_off()
        return self._anomaly

    @property
    def ids(self) -> list[str]:
        """Series by slot."""
        return self.slots.ids

    @property
    def capacity(self) -> int:
        return self.memory.core.capacity

    @FASTER
    def add(
        self,
        ids: Sequence[str],
        *,
        cadence_ms: int | Sequence[int],
        season_ms: int | Sequence[int] = 86_400_000,
    ) -> np.ndarray:
        """Slots (int64) for new series: those of removed ones first, the lowest; room grows as needed.
        season_ms 0 means no season.

        Raises ValueError for an id that is there already or twice in `ids`, and for a cadence below 1 ms.
        """
        slots = self.slots.find_room(ids)
        cadence = np.broadcast_to(np.asarray(cadence_ms, np.int64), (len(ids),)).copy()
        season = np.broadcast_to(np.asarray(season_ms, np.int64), (len(ids),)).copy()
        if (cadence < 1).any() or (season < 0).any():
            raise ValueError(
                f"cadence_ms: expected at least 1, got {cadence.min(initial=1)}; season_ms at least 0"
            )
        if slots.size and slots[-1] >= self.capacity:
            more_room = max(self.capacity // GROWTH, FIRST_CAPACITY)
            self._grow(max(self.capacity + more_room, int(slots[-1]) + 1))
        self.slots.enter(slots, ids)
        for slot, series in zip(slots.tolist(), ids, strict=True):
            self.chunks.add(slot, series)
        self._clear(slots)  # padding may have been written there
        self.timetable.declare(slots, cadence, season)
        if self.comparison:
            # counted from the first reading on: series are added at no certain place of the log
            self.comparison.add(slots, np.zeros_like(cadence))
        return slots

    @FASTER
    def remove(self, slots: np.ndarray) -> None:
        """Forget these series wholly; their slots are free for others. What they taught the shared weights,
        and the old chunks that are replayed, stay.

        Raises ValueError for a slot without a series.
        """
        slots = np.unique(self.slots.checked(slots))
        self.pace.live -= int((self.timetable["step"][slots] >= 0).sum())
        self._clear(slots)
        self.chunks.trained[slots] = -1
        if self.comparison:
            self.comparison.remove(slots)
        self.slots.leave(slots)

    def _clear(self, slots: np.ndarray) -> None:
        """A fresh start for these slots."""
        rows = torch.from_numpy(slots).to(self.device)
        for part in self.parts().values():
            part.reset(rows)
        for model in self.models.values():
            model.reset(rows)

    def _grow(self, capacity: int) -> None:
        for part in self.parts().values():
            part.grow(capacity)
        self.chunks.grow(capacity)
        self.slots.grow(capacity)
        if self._launcher is not None:
            self._launcher.forget()

    @FASTER
    def restart(self, slots: np.ndarray) -> None:
        """After a long gap: pending forecasts of these series are dropped, recurrent states made anew."""
        slots = np.unique(self.slots.checked(slots))
        steps = self.timetable["step"]
        slots = slots[steps[slots] >= 0]
        for model in self.models.values():
            model.catch_up(slots)
        self.timetable["restart"][slots] = np.maximum(steps[slots] + 1, SETTLED)
        for slot in slots:  # one row a tile: what a series gets must not depend on its company
            one = padded(torch.tensor([slot], device=self.device), self.capacity)
            last = torch.full_like(one, int(steps[slot]))
            for model in self.models.values():
                model.rebuild(one, last)

    # -- one wave ----------------------------------------------------------------------------------------

    @property
    def readings_to_tick(self) -> int:
        """How many more readings with a value until shared weights change."""
        return self.pace.readings_to_tick

    @property
    def readings_a_tick(self) -> int:
        """How many come between the last tick and the next."""
        return self.pace.readings_a_tick

    def find_round_end(
        self, event_time_ms: npt.NDArray[np.int64], masked: npt.NDArray[np.bool_]
    ) -> int | None:
        """Before which of these rows, in the order of the log, a tick falls because a round of readings is
        over; None: before none of them. To be asked after each tick, and `end_round` to be called once all
        rows before it were stepped."""
        newest_ms = int(self.timetable["last_time_ms"][: len(self.ids)].max(initial=NEVER))
        return self.pace.find_round_end(event_time_ms, ~masked, newest_ms)

    @FASTER
    def end_round(self) -> None:
        """A tick, see `find_round_end`."""
        self._tick(is_round_end=True)

    @property
    def ticks(self) -> int:
        """So far."""
        return self.pace.ticks

    def hear_clock(self, clock_ms: int) -> None:
        """How far the shard clock is at the readings that come next; it rules the thinning of learning."""
        if self.thinning is not None:
            self.thinning.hear(clock_ms)

    @property
    def thinned(self) -> int:
        """Readings that the networks did not train on because of `max_rate`."""
        return 0 if self.thinning is None else self.thinning.thinned

    @FASTER
    def step(
        self,
        slots: np.ndarray,
        event_time_ms: np.ndarray,
        values: np.ndarray,
        mask: np.ndarray | None = None,
        filled: np.ndarray | None = None,
    ) -> Result:
        """Score, observe, forecast, and learn at ticks, for at most one step of each series.

        slots: int64 [N], each at most once; event_time_ms: int64 [N], later than the series' last one;
        values: float64 [N], finite where not masked; mask: bool [N], True where a step of the grid has no
        usable value; a value beyond ± 1e37, such as a sentinel of DBL_MAX, counts as masked; filled: int64
        [N], steps of the cadence between the series' last one and this that had no reading at all: the last
        value holds through them, and nothing is forecast. Rows are taken in the order given; a tick may fall
        between any two of them.
        Raises ValueError for anything else, before any state has changed.
        """
        slots, times, values, mask = check_readings(
            self.slots, self.timetable, slots, event_time_ms, values, mask
        )
        filled = check_filled(self.slots, self.timetable, slots, times, filled)
        seen = ~mask
        all_seen = bool(seen.all())
        results = []
        start = 0
        while start < slots.size:
            stop = start + self.pace.find_tick(seen[start:], all_seen=all_seen)
            if self._launcher is not None:
                stop = min(stop, start + MOST_ROWS)
            piece = slice(start, stop)
            some = slots if stop - start == slots.size else slots[piece]
            passed = None if filled is None else filled[piece]
            if passed is not None:
                self._pass_over(some, passed)
            if self._comparison:
                advance = self._comparison.irregular.advance
                self._to_compare.put(COMPARISON, advance, some, mask[piece], passed)
            results.append(self._piece(some, times[piece], values[piece], seen[piece]))
            self.pace.count(stop - start if all_seen else int(np.count_nonzero(seen[piece])))
            if self.pace.is_due:
                self._tick()
            start = stop
        return join(results)

    def _pass_over(self, slots: np.ndarray, filled: np.ndarray) -> None:
        """Steps without a reading, of all these series at once: only what remembers them changes."""
        order = np.argsort(-filled, kind="stable")[: np.count_nonzero(filled)]
        slots, left = slots[order], filled[order]
        for model in self.models.values():
            model.catch_up(slots)
        while left.size:
            counts = np.minimum(left, max(MOST_FILLED // left.size, 1))
            held = self.memory.hold(slots, counts)
            self.work.forecast(int(counts.sum()), shown=False)
            self.pending.pass_over(held.stretch.slots, held.stretch.step)
            for name, model in self.models.items():
                started = time.perf_counter()
                model.hold(held)
                self._seconds[name] += time.perf_counter() - started
            left = left - counts
            slots, left = slots[left > 0], left[left > 0]

    def _piece(self, slots: np.ndarray, times: np.ndarray, values: np.ndarray, seen: np.ndarray) -> Result:
        """Readings between two ticks: the shared weights stand still."""
        if self.pace.live < len(self.ids):  # some slot has had no reading
            fresh = slots[self.timetable["step"][slots] < 0]
            self.pace.live += fresh.size
            if fresh.size and self.comparison:
                self.comparison.add(fresh, self.timetable["cadence_ms"][fresh])
        num = slots.size
        rows = self._rows = self._find_rows(slots)
        arrival = self.timetable.arrive(rows, times, values, seen)
        self._num_even = num if arrival.place.common_ms is not None else 0
        self.memory.courier.subject = arrival
        if self._launcher is None:
            made = self._make(arrival)
        else:
            made = self._launcher.make(self._form(arrival), arrival, (self._to_compare, self._to_judge))
        for model in self.models.values():
            model.note(arrival)
        self.work.forecast(num)
        alarms = self._judge(arrival, times, values, made)
        return Result.of(
            made, num, alarms.find if alarms else None, self._find_champions(slots) if self._anomaly else None
        )

    def _form(self, arrival: Arrival) -> Hashable | None:
        """What decides which operations a wave takes, see `Programs.run`; None: this one's are its own."""
        forms = [self.memory.form(arrival), *(model.form(arrival) for model in self.models.values())]
        return None if None in forms else tuple(forms)

    def _make(self, arrival: Arrival) -> Made:
        """The device's part of a wave."""
        rows = arrival.rows
        is_real = None
        if self._launcher is not None:
            rows.index = self.memory.courier.send(lambda a: a.rows.fill(a.rows.slots, a.rows.scratch))
            is_real = self.memory.courier.send(lambda a: a.rows.fill(np.ones(a.rows.num, np.bool_), False))
        wave = self.memory.observe(arrival)
        places = self.pending.places(arrival)
        error, missed, valid, due_half = self._score(wave, places, is_real)
        for name, model in self.models.items():
            started = time.perf_counter()
            model.observe(wave)
            self._seconds[name] += time.perf_counter() - started
        departure, half, replaced = self._forecast_and_keep(wave, places, is_real)
        return Made(
            error_EQR=error,
            due_half_EQR=due_half,
            missed_EQR=missed,
            scored_QR=valid,
            due_scale_QR=wave.scale_QR,
            known_R=wave.valid_QR[0],
            move_R=wave.dep_QR[0],
            level_R=wave.departure,
            base_R=wave.base,
            scale_R=wave.scale,
            naive_error_R=wave.naive_error,
            departure_EHR=departure * wave.scale,
            half_EHR=half * wave.scale,
            replaced_E=replaced,
        )

    def _find_rows(self, slots: np.ndarray) -> Rows:
        """Those of the last wave where they are the same."""
        own = slots, len(self.ids), self.capacity
        if self._rows and self._rows.are(*own):
            return self._rows
        return Rows(*own, self.device, None if self._launcher is None else MOST_ROWS)

    def _judge(
        self, arrival: Arrival, times: np.ndarray, values: np.ndarray, made: Made
    ) -> Task[Alarms] | None:
        """Compare the forecasters, and look for what is rare; both may wait."""
        comparison, anomaly = self._comparison, self._anomaly
        if not (comparison or anomaly):
            return None
        started, rows = time.perf_counter(), arrival.rows
        outcome = Outcome.of(made, rows.num)
        self._seconds[COMPARISON] += time.perf_counter() - started
        if comparison:
            errors = outcome.error_EQN, outcome.valid_QN
            self._to_compare.put(COMPARISON, comparison.observe, rows.slots, times, *errors, rows.host)
            if self._to_compare is not self._to_judge:
                self._to_compare.end_wave(rows.num)
        if not anomaly:
            self._to_judge.end_wave(rows.num)
            return None
        alarms = self._to_judge.put(ALERTS, anomaly.observe, arrival, times, values, outcome)
        if comparison and anomaly.champion.at is None:
            self._to_judge.put(ALERTS, anomaly.champion.follow, rows.slots, comparison)
        self._to_judge.end_wave(rows.num)
        return alarms

    def _find_champions(self, slots: np.ndarray) -> Tensor:
        """Whom each follows from now on."""
        assert self._anomaly is not None
        champion = self._anomaly.champion
        if champion.at is None:
            self._to_judge.work_off()
        return torch.from_numpy(champion.places(slots))

    def _score(
        self, wave: Wave, places: Places, is_real: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Compare with what was said, and let everything learn from it that learns per series. is_real `[R]`:
        rows that are no padding; None: the first of them."""
        rows, dep, all_valid = wave.rows, wave.dep_QR, wave.all_valid
        said, half, made = self.pending.due(places, all_made=all_valid)
        valid = wave.valid_QR if made is None else wave.valid_QR & made
        num, nets = len(self.names), len(self.nets)
        error = dep - said[:num]
        missed = self.intervals.learn(rows, error.abs(), half, valid, all_valid=all_valid)
        if not all_valid:
            missed.logical_and_(valid)
        for k, name in enumerate(self.nets):
            model = self.models[name]
            assert isinstance(model, Recurrent)
            model.learn_own(wave, said[num + k], valid)
        if self.blend:
            experts = said.index_select(0, self._expert_at)
            self.blend.learn(rows, torch.cat([experts, said[num + nets :]]), dep, valid, all_valid=all_valid)
            if is_real is not None:
                self.blend.note(experts, dep, valid & is_real)
            else:
                brought = experts[..., : rows.num], dep[:, : rows.num]
                self.blend.note(*brought, None if all_valid else valid[:, : rows.num])
        return error, missed, valid, half

    def forecast(self, wave: Wave, is_real: Tensor | None = None) -> tuple[Tensor, list[Tensor], Tensor]:
        """(what is published `[E, H, R]` in the order of `names`, what is tracked beside it at the scored
        steps `[1, Q, R]`: raw corrections, then the stack; replaced forecasts per forecaster `[E]`).

        Reads only.
        """
        said_X, raw = [], []
        for name, model in self.models.items():
            started = time.perf_counter()
            said = model.forecast(wave)
            if isinstance(model, Recurrent):
                raw.append(self._keepable(said))
                said = model.publish(wave, said)
            said_X.append(said)
            self._seconds[name] += time.perf_counter() - started
        num, edges = len(said_X), self._find_edges(wave)
        published = wave.x_FR.new_empty(num + (self.blend is not None), self.horizon, wave.rows.padded)
        experts = torch.stack(said_X, out=published[:num])
        count = self._believe(wave, edges, experts, is_real)
        if self.blend:
            started = time.perf_counter()
            published[num], stack = self.blend.forecast(wave.rows, experts)
            count = torch.cat([count, self._believe(wave, edges, published[num:], is_real)])
            raw.append(self._keepable(stack))
            self._seconds[BLEND] += time.perf_counter() - started
        if self._name_at is not None:  # the blend is not the last one
            published, count = published.index_select(0, self._name_at), count.index_select(0, self._name_at)
        return published, raw, count

    def _keepable(self, said_HR: Tensor) -> Tensor:
        """`[1, Q, R]` finite numbers."""
        return self._at_scored(said_HR).nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)[None]

    def _at_scored(self, said: Tensor) -> Tensor:
        """`[…, H, R]` to `[…, Q, R]`."""
        return said if self._interpolate.dense else said.index_select(-2, self._scored_at)

    @staticmethod
    def _find_edges(wave: Wave) -> tuple[Tensor, Tensor]:
        """`[R]` between which departures are believed: the observed range, and as much again on each side."""
        spread = wave.highest - wave.lowest
        least, most = (
            edge.sub_(wave.last).div_(wave.scale) for edge in (wave.lowest - spread, wave.highest + spread)
        )
        return least, most

    @staticmethod
    def _believe(
        wave: Wave, edges: tuple[Tensor, Tensor], said_EHR: Tensor, is_real: Tensor | None
    ) -> Tensor:
        """How many of each forecaster `[E]` were replaced, in place, by naive: where one is not finite, or
        lies beyond the edges."""
        least, most = edges
        if is_real is None:  # elsewhere to ask is to wait
            low, high = said_EHR.amin((0, 1)), said_EHR.amax((0, 1))
            stand = (low >= least).logical_and_(high <= most)  # False for NaN
            if stand[: wave.rows.num].numpy().all():
                return torch.zeros(said_EHR.shape[0], dtype=torch.int64)
        falls = (said_EHR >= least).logical_and_(said_EHR <= most).logical_not_()
        said_EHR.masked_fill_(falls, 0.0)
        return (falls.narrow(-1, 0, wave.rows.num) if is_real is None else falls & is_real).sum((1, 2))

    def _forecast_and_keep(
        self, wave: Wave, places: Places, is_real: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        published, raw, replaced = self.forecast(wave, is_real)
        half = self.intervals.half_width(wave.rows)
        self.pending.put(places, [self._at_scored(published), *raw, half])
        return published, self._interpolate(half), replaced

    # -- ticks -------------------------------------------------------------------------------------------

    def _tick(self, *, is_round_end: bool = False) -> None:
        """The one moment at which shared weights and shard-wide sums change."""
        self._learn(self._plan() if self.nets else None)
        if self._comparison:
            self._to_compare.put(COMPARISON, self._comparison.close)
        if self._anomaly:
            self._to_judge.put(ALERTS, self._anomaly.tick, self.pace.live)
        num = len(self.ids)
        last_ms = self.timetable["last_time_ms"][:num]
        if is_round_end:  # what the last wave was like depends on the cut then
            self.pace.end_round(last_ms)
        else:
            self.pace.tick(last_ms, are_even=self._num_even == num)
        for model in self.models.values():
            model.tick(self.pace.live)

    def _plan(self) -> Plan | None:
        """What the networks train on now, where there is something."""
        steps = self.timetable["step"]
        due = self.chunks.due(steps, self.slots.order, self.pace.live)
        if self.thinning is not None:
            waited = self.chunks.newest(due, steps[due]) - self.chunks.trained[due]
            due = self.thinning.choose(due, waited)
        if not due.size:
            return None
        since = np.maximum(self.timetable["restart"][due], self.chunks.since[due])
        plan = self.chunks.plan(due, steps[due], since, self.pace.live, self.generator)
        if plan is not None:
            self.work.learn(plan, self.chunks.chunk)
        return plan

    def _learn(self, plan: Plan | None) -> None:
        """One step of the stack where it is due, and of each network where there is a plan for them."""
        self.memory.courier.subject = plan
        nets = [model for name in self.nets if isinstance(model := self.models[name], Recurrent)]
        if self._launcher is None:
            self._train(plan)
        elif plan is not None or self._learns_stack:
            form: Hashable | None = self._learns_stack
            if plan is not None:
                early = (net.is_early for net in nets)
                form = (self._learns_stack, plan.padded, *early) if plan.is_repeatable else None
            self._launcher.train(form, plan)
        if plan is not None:
            for net in nets:
                net.count_step()

    @property
    def _learns_stack(self) -> bool:
        """At this tick."""
        return self.blend is not None and self.pace.ticks % STACK_TICKS == 0

    def _train(self, plan: Plan | None) -> None:
        """The device's part of it."""
        if self.blend and self._learns_stack:
            started = time.perf_counter()
            self.blend.learn_stack()
            self._seconds[BLEND] += time.perf_counter() - started
        if plan is None:
            return
        batch = self.chunks.batch(plan)
        for name in self.nets:
            started = time.perf_counter()
            self.models[name].learn(batch)
            self._seconds[name] += time.perf_counter() - started

    # -- alerts ------------------------------------------------------------------------------------------

    def declare_alerts(
        self, slots: npt.NDArray[np.int64], *, min_abs: npt.NDArray[np.float64],
        min_rel: npt.NDArray[np.float64], direction: npt.NDArray[np.int64],
        may_stick: npt.NDArray[np.int64],
    ) -> None:  # fmt: skip
        """Which deviations of these series count: their least size, and 1 above, -1 below, 0 both; may_stick:
        whether a value that does not change can be stuck."""
        if anomaly := self.anomaly:
            anomaly.episodes.declare(slots, min_abs, min_rel, direction, may_stick > 0)

    def standing(self, slots: npt.NDArray[np.int64]) -> Standing | None:
        """Which of these series have an alert; None where the bank was built without."""
        anomaly = self.anomaly
        return anomaly.episodes.standing(slots) if anomaly else None

    @property
    def champion(self) -> Champion | None:
        """Whom alerts follow; None where the bank was built without them."""
        anomaly = self.anomaly
        return anomaly.champion if anomaly else None

    # -- what it costs, and what it knows ----------------------------------------------------------------

    @property
    def recorded(self) -> int:
        """Forms of waves and ticks that are launched as one operation, see `programs`; 0 on a CPU."""
        return 0 if self._launcher is None else self._launcher.recorded

    def parameters(self, name: str) -> int:
        return self.models[name].parameters if name in self.models else 0

    def seconds(self, name: str) -> float:
        """Time spent in this forecaster, in COMPARISON or in ALERTS; of the last two, what waits is not
        counted yet. On a GPU: host time, and of waves that are launched as one the share that it took of
        others."""
        return self._seconds[name]

    def flops(self, name: str) -> float:
        """Floating-point operations of a recurrent forecaster since its start, see `costs`; 0 of others."""
        model = self.models.get(name)
        return self.work.flops(model.network) if isinstance(model, Recurrent) else 0.0

    def training(self) -> dict[str, dict[str, float]]:
        """By recurrent forecaster, since its start: training steps `applied` as they were, `clipped`, and
        `skipped` as not finite; the last `loss`, and the last gradient `norm` before clipping. Waits for the
        device."""
        told = {}
        for name in self.nets:
            model = self.models[name]
            assert isinstance(model, Recurrent)
            adam = model.adam
            numbers = torch.stack([adam.applied, adam.clipped, adam.skipped, adam.norm, model.loss]).tolist()
            applied, clipped, skipped, norm, loss = numbers
            told[name] = {"applied": applied - clipped, "clipped": clipped, "skipped": skipped}
            told[name].update(norm=norm, loss=loss)
        return told

    def series_error(self, forecaster: str) -> npt.NDArray[np.float64]:
        """`[S]` by slot: mean |error| one step ahead, in units of scale; NaN where nothing was scored, empty
        where nothing is compared. Waits for the device."""
        if self.comparison is None:
            return np.empty(0)
        return self.comparison.series_loss(forecaster)[: len(self.ids)]

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Pairs of forecasters that are compared."""
        return self._comparison.pairs if self._comparison else ()

    def series_differences(self, pair: tuple[str, str]) -> npt.NDArray[np.float64]:
        """`[S]` by slot: mean error over all steps, first of the pair less second, relative to the second;
        NaN where a step was not scored yet. Raises ValueError where the pair is not compared."""
        if pair not in self.pairs:
            raise ValueError(f"pair: expected one of {self.pairs}, got {pair}")
        assert self.comparison is not None
        return self.comparison.series_differences(pair)[: len(self.ids)]

    def evidence(self) -> Evidence | None:
        """What the comparison knows; None where there is no pair. Some milliseconds; reads only."""
        return None if self.comparison is None else self.comparison.summary()

    def reach(self, forecaster: str, slots: npt.NDArray[np.int64]) -> Reach:
        """Gradient reach of a recurrent forecaster over these series, see `reach.recent_reach`. Raises
        ValueError where none of them has enough history."""
        model = self.models[forecaster]
        assert isinstance(model, Recurrent)
        return recent_reach(model, torch.from_numpy(slots))

    def bytes_per_series(self) -> dict[str, int]:
        """Bytes of state per series by part."""
        return {name: part.bytes_per_series() for name, part in self.parts().items()}

    # -- state -------------------------------------------------------------------------------------------

    @FASTER
    def save(self) -> dict[str, Tensor]:
        """The whole state as a flat mapping of tensors on the CPU (safetensors-ready), generator included."""
        return snapshot.take(self)

    def signatures(self) -> dict[str, str]:
        """What each component of the state depends on; to be kept beside it and given to `load`."""
        return describe(self)

    @FASTER
    def load(self, state: Mapping[str, Tensor], signatures: Mapping[str, str] | None = None) -> list[str]:
        """Take the state of another bank. Only a bank without series can.

        signatures: of the bank that saved it; None: of one that was built alike. Where they differ, each
        component goes on as far as it fits (see `migration`); returns sentences that say what doesn't.
        Raises ValueError or KeyError where the state is of another make; the bank is then unusable.
        """
        return snapshot.restore(self, state, signatures)
