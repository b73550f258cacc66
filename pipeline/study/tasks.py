"""Tasks that can only be solved from memory: recall over a lag, and adding (Hochreiter & Schmidhuber 1997).

Letters: K steps of a chunk, R streams side by side, F = 3 inputs.

Both give batches in the form that `Network.accumulate` takes. What is drawn follows from the seed alone, so
every network meets the same batches.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

Tensor = torch.Tensor

INPUTS = 3
"""Value, and two flags: what to remember, and that it is asked for (adding has no use for the second)."""
NOISE = 0.5
"""Standard deviation of the values between cue and question; the cue itself is -1 or 1."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """One chunk: inputs `[K, R, F]`, targets and weights `[K, R, 1]`, weights summing to 1 where anything is
    asked at all."""

    x_KRF: Tensor
    target_KR1: Tensor
    weight_KR1: Tensor


class RecallStream:
    """A cue of -1 or 1, noise, and `lag` steps later the question which it was; then, after another 1 to
    `lag` steps, the next cue. The first comes anywhere, so that questions fall on any step from `lag` on.
    """

    def __init__(self, lag: int, num_streams: int, seed: int) -> None:
        """Raises ValueError for a lag or a number of streams below 1."""
        if lag < 1 or num_streams < 1:
            raise ValueError(f"expected a lag and streams of at least 1, got {lag} and {num_streams}")
        self.lag, self.num_streams = lag, num_streams
        self._random = np.random.default_rng((seed, lag, 1))

    def draw(self, steps: int) -> Lesson:
        """Raises ValueError where lag and question don't fit."""
        self._check(steps)
        random, rows = self._random, self.num_streams
        x = self._noise(steps)
        target, weight = (np.zeros((steps, rows, 1), np.float32) for _ in range(2))
        cue_at = random.integers(0, steps - self.lag, rows)
        while True:
            row = np.flatnonzero(cue_at + self.lag < steps)
            if not row.size:
                return _lesson(x, target, weight)
            at = cue_at[row]
            sign = np.where(random.random(row.size) < 0.5, 1.0, -1.0)
            x[at, row, 0], x[at, row, 1] = sign, 1.0
            x[at + self.lag, row, 2] = 1.0
            target[at + self.lag, row, 0], weight[at + self.lag, row] = sign, 1.0
            cue_at[row] = at + self.lag + random.integers(1, self.lag + 1, row.size)

    def stretch(self, steps: int) -> tuple[Tensor, Tensor]:
        """(inputs `[K, R, F]`, targets `[R, 1]`) of streams that end with a question: what reach is measured
        on. Raises ValueError where lag and question don't fit."""
        self._check(steps)
        x = self._noise(steps)
        sign = np.where(self._random.random(self.num_streams) < 0.5, 1.0, -1.0).astype(np.float32)
        x[steps - 1 - self.lag, :, 0], x[steps - 1 - self.lag, :, 1] = sign, 1.0
        x[-1, :, 2] = 1.0
        return torch.from_numpy(x), torch.from_numpy(sign[:, None])

    def _check(self, steps: int) -> None:
        if steps <= self.lag:
            raise ValueError(f"steps: expected more than the lag, which is {self.lag}, got {steps}")

    def _noise(self, steps: int) -> np.ndarray:
        x = np.zeros((steps, self.num_streams, INPUTS), np.float32)
        x[:, :, 0] = self._random.normal(0.0, NOISE, (steps, self.num_streams))
        return x

    @staticmethod
    def score(said: Tensor, target: Tensor) -> tuple[float, int]:
        """(answers of the right sign, questions)."""
        return float(((said > 0) == (target > 0)).sum()), target.numel()


class AddingStream:
    """Sequences of one length: the last step asks for the sum of the two values that were flagged, one in
    each half."""

    def __init__(self, length: int, num_streams: int, seed: int) -> None:
        """Raises ValueError for a length below 4."""
        if length < 4:
            raise ValueError(f"length: expected at least 4, got {length}")
        self.length, self.num_streams = length, num_streams
        self._random = np.random.default_rng((seed, length, 2))

    def draw(self, steps: int) -> Lesson:
        x, total = self._sequences(steps)
        target, weight = (np.zeros((steps, self.num_streams, 1), np.float32) for _ in range(2))
        target[-1, :, 0], weight[-1] = total, 1.0
        return _lesson(x, target, weight)

    def stretch(self, steps: int) -> tuple[Tensor, Tensor]:
        x, total = self._sequences(steps)
        return torch.from_numpy(x), torch.from_numpy(total[:, None])

    def _sequences(self, steps: int) -> tuple[np.ndarray, np.ndarray]:
        random, rows = self._random, self.num_streams
        x = np.zeros((steps, rows, INPUTS), np.float32)
        x[:, :, 0] = random.random((steps, rows))
        half, everyone = steps // 2, np.arange(rows)
        first, second = random.integers(0, half, rows), random.integers(half, steps - 1, rows)
        x[first, everyone, 1] = x[second, everyone, 1] = 1.0
        total = x[first, everyone, 0] + x[second, everyone, 0]
        return x, (total - 1.0).astype(np.float32)  # about zero, so that a network that knows nothing says 0

    @staticmethod
    def score(said: Tensor, target: Tensor) -> tuple[float, int]:
        """(sum of squared errors over their variance without knowledge, which is 1/6; sequences)."""
        return float((said - target).square().sum() * 6.0), target.numel()


Stream = RecallStream | AddingStream


def _lesson(x: np.ndarray, target: np.ndarray, weight: np.ndarray) -> Lesson:
    weight /= max(float(weight.sum()), 1.0)
    return Lesson(*(torch.from_numpy(column) for column in (x, target, weight)))
