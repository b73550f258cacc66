"""Which forecaster is better, while they run: the evidence of one shard, in constant memory.

Letters: S slots, N rows of a wave, E forecasters, Q scored steps, C columns (the Q steps, then the path),
P pairs.

The loss is |error| in units of scale, at most CLIP. It goes two ways: into the mean over series of its time
bucket (`buckets.py`), from which `standings.py` draws test, confidence sequence and leader; and into a
running mean of its series, for the share of series won.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt
import torch

from forecasters.buckets import UNIT, Buckets, Sums
from forecasters.columns import Column, Columns
from forecasters.irregular import Irregular
from forecasters.standings import Standings
from forecasters.verdict import TIE, Evidence

Tensor = torch.Tensor
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Singles = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

CLIP = 8.0
"""Losses are bounded by this many scales: one broken sensor must not decide for a thousand."""
SERIES_MEMORY = 960.0
"""Readings over which a series' mean losses run (kept in 1 / UNIT): a share of series won can change."""


def pairs_of_interest(names: Sequence[str]) -> list[tuple[str, str]]:
    """The pairs worth watching: the recurrent ones with each other, then each forecaster against naive."""
    nets = [n for n in ("lstm", "gru", "rnn") if n in names]
    pairs = list(combinations(nets, 2))
    return pairs + [(n, "naive") for n in names if n != "naive" and "naive" in names]


class Comparison:
    """Evidence on pairs of forecasters of one shard. Bank rows in, `Evidence` out.

    Depends on the log alone: `observe` may be called with any grouping of the readings between two ticks,
    `close` is called at ticks. Not thread-safe.
    """

    def __init__(
        self,
        names: Sequence[str],
        pairs: Sequence[tuple[str, str]],
        *,
        horizon: int,
    ) -> None:
        """Raises ValueError for a pair that is not of two of the names."""
        self.pairs = tuple(pairs)
        self.standings = Standings(names, pairs, horizon)
        num_e, num_q = len(self.standings.names), len(self.standings.steps)
        self.fields = Columns(
            {
                "loss": Column(np.float32, shape=(num_e, num_q)),
                "targets": Column(np.float32, shape=(num_q,)),
            }
        )
        self.buckets = Buckets(num_e, num_q)
        self.irregular = Irregular(self.standings.names, self.standings.steps, UNIT)
        """Kept beside all else: its state is not in `save` and `load`."""
        self.restarts = 0

    # -- readings ----------------------------------------------------------------------------------------

    def add(self, slots: Ints, cadence_ms: Ints) -> None:
        """New series, their slots and cadences; `fields` has been grown to hold them."""
        self.buckets.add(slots, cadence_ms)
        self._make_room(int(slots.max(initial=-1)) + 1)

    def _make_room(self, num_slots: int) -> None:
        """For shares of masked steps, where no bank keeps them with its other parts."""
        if num_slots > self.irregular.fields.capacity:
            self.irregular.fields.grow(num_slots)

    def remove(self, slots: Ints) -> None:
        """Series that are gone: not waited for, not counted among the series won."""
        self.buckets.remove(slots)
        self.fields.reset(torch.from_numpy(slots))

    def observe(
        self, slots: Ints, time_ms: Ints, error_EQN: Singles, scored_QN: Bools,
        here: slice | Ints | None = None,
    ) -> None:  # fmt: skip
        """Take the errors of a wave: value less forecast in units of scale, and where there was a target.

        here: the slots as `Rows.host` has them, if that is known. A target counts for all forecasters or for
        none: one whose error is not finite for any is left out.
        """
        here = slots if here is None else here
        loss, counted = np.abs(error_EQN), scored_QN
        if not loss.max() < np.inf:
            counted = counted & (loss.sum(0) < np.inf)  # False for NaN
        how_many = int(np.count_nonzero(counted))
        all_counted = how_many == counted.size
        np.clip(loss, 0.0, CLIP, out=loss)  # several times as fast as the minimum with a single number
        loss *= UNIT
        np.rint(loss, out=loss)
        if not all_counted:
            loss = np.where(counted, loss, np.float32(0.0))
        # of the whole wave, which mostly is of one bucket and one band; exact, being of whole numbers
        sums = Sums.of(loss, None if all_counted else counted)
        self.buckets.observe(slots, time_ms, loss, counted, sums)
        if not how_many:
            return
        self.irregular.add(slots, loss, counted, sums)
        mean, targets = self.fields["loss"][..., here], self.fields["targets"][:, here] + counted
        rate = np.reciprocal(np.clip(targets, 1.0, SERIES_MEMORY))
        loss -= mean
        loss *= rate if all_counted else rate * counted
        mean += loss
        self.fields["targets"][:, here] = targets
        if not isinstance(here, slice):
            self.fields["loss"][..., here] = mean

    def close(self) -> None:
        """At a tick, after its last reading: take in the buckets that are complete."""
        closed, changed = self.buckets.close()
        if changed:
            # buckets of another length: what was learnt of the old ones does not mix with the new
            self.standings.clear()
            self.restarts += 1
        if closed is not None:
            self.standings.take(closed)
        self.irregular.tick()

    # -- what it says ------------------------------------------------------------------------------------

    def copy(self) -> Comparison:
        """As it stands now, to be read in another thread while this one goes on: a few megabytes at 10 000
        series, a millisecond or two."""
        self.standings.catch_up()
        return copy.deepcopy(self)

    def summary(self) -> Evidence:
        """What is known now. Some milliseconds, for the page and the exporter, not for waves."""
        standings, buckets = self.standings, self.buckets
        loss_CE = standings.mean_loss()
        return Evidence(
            names=standings.names,
            steps=standings.steps,
            pairs=standings.figures(self._series_won()),
            loss={name: tuple(loss_CE[:, e].tolist()) for e, name in enumerate(standings.names)},
            series=int((buckets.cadence_ms > 0).sum()),
            span_ms=standings.spanned * buckets.bucket_ms,
            bucket_ms=buckets.bucket_ms,
            left_out=buckets.late + buckets.ahead,
        )

    def series_loss(self, name: str) -> npt.NDArray[np.float64]:
        """`[S]` by slot: mean loss of a forecaster at the first step, in units of scale; NaN: unknown."""
        mean = self.fields["loss"][self.standings.names.index(name), 0].astype(np.float64) / UNIT
        return np.where(self.fields["targets"][0] > 0, mean, np.nan)

    def series_differences(self, pair: tuple[str, str]) -> npt.NDArray[np.float64]:
        """`[S]` by slot: relative difference of mean losses over the path; NaN where a step is not known."""
        first, second = (self.standings.names.index(name) for name in pair)
        loss_2QS = self.fields["loss"][[first, second]].astype(np.float64)
        path_2S = np.einsum("eqs,q->es", loss_2QS, self.standings.path_Q)
        known = (self.fields["targets"] > 0).all(0) & (path_2S[1] > 0)
        share: npt.NDArray[np.float64] = np.full(path_2S.shape[1], np.nan)
        share[known] = path_2S[0, known] / path_2S[1, known] - 1.0
        return share

    def recent(self, step: int) -> tuple[Ints, Floats]:
        """Times `[W]` (epoch milliseconds, oldest first) and mean losses `[W, E]`, in units of scale, of the
        newest buckets of a scored step. Buckets without a target are left out, and the times counted back
        from the newest one as if there were none. Raises ValueError for a step that is not scored."""
        standings = self.standings
        loss_WE = standings.window(standings.steps.index(step))
        newest = standings.newest * self.buckets.bucket_ms
        return newest - np.arange(len(loss_WE))[::-1] * self.buckets.bucket_ms, loss_WE

    def _series_won(self) -> Ints:
        """`[3, P, C]` series by pair and step: won by the first, by the second, by neither (TIE)."""
        live = np.flatnonzero(self.buckets.cadence_ms > 0)
        loss_SEQ = self.fields.by_slot("loss")[live].astype(np.float64) / UNIT
        known_SQ = self.fields.by_slot("targets")[live] > 0
        path_SE = loss_SEQ @ self.standings.path_Q
        loss_SEC = np.concatenate([loss_SEQ, path_SE[:, :, None]], 2)
        known_SC = np.concatenate([known_SQ, known_SQ.all(1, keepdims=True)], 1)[:, None]
        first, second = (loss_SEC[:, at] for at in self.standings.members)
        tied = np.abs(first - second) <= TIE * second
        won = [(first < second) & ~tied, (first > second) & ~tied, tied]
        return np.stack([(w & known_SC).sum(0) for w in won])

    # -- state -------------------------------------------------------------------------------------------

    def save(self, num_slots: int) -> Iterator[tuple[str, Tensor]]:
        """All but `fields`, which are saved with those of the other parts of the bank."""
        yield from self.buckets.save(num_slots)
        yield from self.standings.save()
        yield "restarts", torch.tensor(self.restarts)

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Raises KeyError where something is missing, ValueError for other forecasters, pairs or steps."""
        self.standings.load(state)
        self.buckets.load(state)
        self._make_room(state["cadence_ms"].numel())
        self.restarts = int(state["restarts"])
