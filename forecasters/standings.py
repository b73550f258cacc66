"""Where pairs of forecasters stand: three summaries of one sequence of bucket means, by scored step.

Letters: B closed buckets, E forecasters, Q scored steps, C columns (the Q steps, then the path), P pairs,
W window of buckets.

All that is kept are mean losses by forecaster; what a pair differs by is a difference of these, so that a
pair costs next to nothing. A ring of the newest buckets is for the Diebold–Mariano test, "are they different
of late?"; means of blocks are for the confidence sequence, "who leads?", which may be watched for ever; sums
over all buckets are for mean losses and skill.

The path is the mean over steps 1 … H of the loss interpolated between scored steps, tested like step H.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch

from forecasters.buckets import Closed
from forecasters.confidence import BlockMeans, margin, running
from forecasters.diebold_mariano import diebold_mariano
from forecasters.steps import interpolation, scored_steps
from forecasters.verdict import Figures

Tensor = torch.Tensor
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

WINDOW_STEPS = 40
"""Window in steps: with a bandwidth of 4 h this is b = 0.1, where the test keeps its size."""
SHORTEST_WINDOW = 240
"""Buckets of a window at least: 40 readings are too few to see anything at one step."""
BANDWIDTH_STEPS = 4
"""Bandwidth, and block length, in steps. The textbook's h - 1 rejects 8 to 10 equal pairs in 100."""


MOST_WAITING = 256
"""Closings that wait to be worked in together: one at a time they cost ten times as much."""


class Standings:
    """Takes closed buckets in order; says what they amount to. Constant memory, on the host."""

    def __init__(self, names: Sequence[str], pairs: Sequence[tuple[str, str]], horizon: int) -> None:
        """Raises ValueError for a pair that is not of two of the names."""
        self.names = tuple(names)
        self.pairs = tuple((a, b) for a, b in pairs)
        for a, b in self.pairs:
            if a not in self.names or b not in self.names or a == b:
                raise ValueError(f"pairs: expected two of {', '.join(self.names)}, got {a} and {b}")
        self.steps = scored_steps(horizon)
        self.path_Q = interpolation(horizon, torch.device("cpu")).mean(1).double().numpy()
        self._first = [self.names.index(a) for a, _ in self.pairs]
        self._second = [self.names.index(b) for _, b in self.pairs]
        steps_C = np.array([*self.steps, horizon])
        self._window_C = np.maximum(WINDOW_STEPS * steps_C, SHORTEST_WINDOW)
        self._bandwidth_C = BANDWIDTH_STEPS * steps_C
        num_e, num_p, num_c = len(self.names), len(self.pairs), steps_C.size
        self._ring = np.zeros((num_c, int(self._window_C.max()), num_e), np.float32)
        self._count_C = np.zeros(num_c, np.int64)
        self._total_CE = np.zeros((num_c, num_e))
        self._block_CE = np.zeros((num_c, num_e))
        self._blocks_CE = np.zeros((num_c, num_e))
        self._differences = BlockMeans(num_p, num_c)
        self._leader_PC = np.zeros((num_p, num_c), np.int64)
        self._span = np.zeros(2, np.int64)  # the first closed bucket and the last
        self._waiting: list[Closed] = []

    def clear(self) -> None:
        self._waiting.clear()
        for part in self._state().values():
            part[...] = 0

    def take(self, closed: Closed) -> None:
        """Buckets later than all before. They are worked in some hundred at a time, or when somebody
        asks: in the same order, so that it makes no difference when."""
        self._waiting.append(closed)
        if len(self._waiting) >= MOST_WAITING:
            self.catch_up()

    def catch_up(self) -> None:
        """Work in what waits. Without anything that waits, to ask changes nothing: so a copy may be read by
        several threads."""
        if not self._waiting:
            return
        if not self._count_C.any():
            filled = [c for c in self._waiting if c.weight_BQ.any()]
            self._span[0] = (filled or self._waiting[-1:])[0].number[0]
        self._span[1] = self._waiting[-1].number[-1]
        loss_BQE = Closed.means(self._waiting)
        self._waiting.clear()
        path_BE = (loss_BQE * self.path_Q[:, None]).sum(1)
        loss_BCE = np.concatenate([loss_BQE, path_BE[:, None]], 1)
        for column in range(self._count_C.size):
            loss_BE = loss_BCE[:, column]
            loss_BE = loss_BE[np.isfinite(loss_BE[:, 0])]
            if len(loss_BE):
                self._take_column(column, loss_BE)

    def _take_column(self, column: int, loss_BE: Floats) -> None:
        count, num = int(self._count_C[column]), len(loss_BE)
        size, length = int(self._window_C[column]), int(self._bandwidth_C[column])
        newest = np.arange(max(num - size, 0), num)
        self._ring[column, (count + newest) % size] = loss_BE[newest]
        self._total_CE[column] = running(self._total_CE[column], loss_BE)[-1]
        self._count_C[column] += num
        means, start = [], 0
        while start < num:
            stop = start + length - (count + start) % length
            block_E = running(self._block_CE[column], loss_BE[start:stop])[-1]
            if stop <= num:
                means.append(block_E / length)
                block_E = np.zeros_like(block_E)
            self._block_CE[column] = block_E
            start = stop
        if means:
            self._end_blocks(column, np.stack(means))

    def _end_blocks(self, column: int, mean_BE: Floats) -> None:
        """Blocks that are complete: values for the confidence sequences, and who leads by them."""
        self._blocks_CE[column] = running(self._blocks_CE[column], mean_BE)[-1]
        then = self._differences.extend(self._between(mean_BE).T, column)
        mean_BP, half_BP = then.mean, margin(then.count, then.deviation)
        leader_P = self._leader_PC[:, column]
        for mean, half in zip(mean_BP, half_BP, strict=True):
            sign = np.sign(mean).astype(np.int64)
            # a leader stays until the mean itself has turned, so that the name does not flicker at the edge
            stays = np.where(leader_P == sign, sign, 0)
            leader_P = np.where(np.abs(mean) > half, sign, stays)
        self._leader_PC[:, column] = leader_P

    def _between(self, loss_CE: Floats) -> Floats:
        """`[P, C]` differences: first of the pair less second, negative where the first is better."""
        difference: Floats = (loss_CE[:, self._first] - loss_CE[:, self._second]).T
        return difference

    def window(self, column: int) -> Floats:
        """`[W, E]` mean losses of the newest buckets of a step, oldest first; column Q is the path."""
        self.catch_up()
        count, size = int(self._count_C[column]), int(self._window_C[column])
        if count < size:
            return self._ring[column, :count].astype(np.float64)
        return np.roll(self._ring[column, :size], -(count % size), 0).astype(np.float64)

    @property
    def members(self) -> tuple[list[int], list[int]]:
        """Places in `names` of the first and of the second of every pair."""
        return self._first, self._second

    @property
    def newest(self) -> int:
        """Number of the last closed bucket."""
        self.catch_up()
        return int(self._span[1])

    @property
    def spanned(self) -> int:
        """Buckets from the first to the last, those without a target included."""
        self.catch_up()
        return int(self._span[1] - self._span[0] + 1) if self._count_C.any() else 0

    def mean_loss(self) -> Floats:
        """`[C, E]` over all buckets; NaN at a step without any."""
        self.catch_up()
        with np.errstate(invalid="ignore"):
            mean: Floats = self._total_CE / np.where(self._count_C > 0, self._count_C, np.nan)[:, None]
        return mean

    def figures(self, won_3PC: Ints) -> dict[tuple[str, str], tuple[Figures, ...]]:
        """By pair, per column; won_3PC: series won, lost and tied."""
        self.catch_up()
        columns = range(self._count_C.size)
        tests = [self._test(c) for c in columns]
        return {
            pair: tuple(self._figures(p, c, tests[c], won_3PC[:, p, c]) for c in columns)
            for p, pair in enumerate(self.pairs)
        }

    def _test(self, column: int) -> tuple[Floats, Floats] | None:
        """Statistic and p-value by pair, over a full window only."""
        if self._count_C[column] < self._window_C[column]:
            return None
        window = self.window(column)
        differences = (window[:, self._first] - window[:, self._second]).T
        return diebold_mariano(differences, int(self._bandwidth_C[column]))

    def _figures(self, pair: int, column: int, test: tuple[Floats, Floats] | None, won_3: Ints) -> Figures:
        blocks, b = self._differences, self._second[pair]
        num_blocks, length = int(blocks.count[pair, column]), int(self._bandwidth_C[column])
        if num_blocks:
            difference, scale = blocks.mean[pair, column], self._blocks_CE[column, b] / num_blocks
        else:
            count = max(int(self._count_C[column]), 1)
            total = self._total_CE[column]
            difference = (total[self._first[pair]] - total[b]) / count
            scale = total[b] / count
        deviation = float(blocks.deviation[pair, column])
        half = float(margin(num_blocks, deviation)) if num_blocks > 1 else float("inf")
        return Figures.of(
            step=self.steps[column] if column < len(self.steps) else None,
            buckets=int(self._count_C[column]),
            blocks=num_blocks,
            block_length=length,
            difference=float(difference),
            half_width=half,
            deviation=deviation,
            reference=float(scale),
            statistic=None if test is None else float(test[0][pair]),
            p=None if test is None else float(test[1][pair]),
            leader=(None, self.pairs[pair][1], self.pairs[pair][0])[int(self._leader_PC[pair, column])],
            won=(int(won_3[0]), int(won_3[1]), int(won_3[2])),
        )

    def _state(self) -> dict[str, npt.NDArray[np.generic]]:
        names = ("ring", "count_C", "total_CE", "block_CE", "blocks_CE", "leader_PC", "span")
        blocks = {f"blocks.{name}": value for name, value in self._differences.state.items()}
        return {**{name: getattr(self, f"_{name}") for name in names}, **blocks}

    def save(self) -> Iterator[tuple[str, Tensor]]:
        self.catch_up()
        for name, value in self._state().items():
            yield name, torch.from_numpy(value.copy())

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Raises KeyError where something is missing, ValueError for other forecasters, pairs or steps."""
        for name, value in self._state().items():
            if tuple(state[name].shape) != value.shape:
                raise ValueError(
                    f"comparison {name}: expected {value.shape} for {', '.join(self.names)}, pairs "
                    f"{', '.join('–'.join(p) for p in self.pairs)} and steps {self.steps}, "
                    f"found {tuple(state[name].shape)}"
                )
        self._waiting.clear()
        for name, value in self._state().items():
            value[...] = state[name].numpy()
