"""Teaching one network one task, with the cells, the optimizer and the rates of the live forecasters.

Letters: K steps of a chunk, R streams, F inputs.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from forecasters.cells import GRU, LSTM, Cell, Elman
from forecasters.network import Adam, Network
from forecasters.reach import gradient_reach
from forecasters.recurrent import EARLY_UPDATES, HUBER_DELTA, RecurrentOptions
from pipeline.study.tasks import INPUTS, AddingStream, RecallStream, Stream

Tensor = torch.Tensor

CELLS: dict[str, type[Cell]] = {"rnn": Elman, "lstm": LSTM, "gru": GRU}
STREAMS = 32
EXAM_CHUNKS, FINAL_CHUNKS = 1, 8
"""Chunks of fresh streams that are answered without learning: at an exam on the way, and after the last
lesson."""
EXAM_EVERY = 25
SHORTEST_CHUNK = 32
CHUNKS_PER_LAG = 2
KNOWS = {"recall": 0.995, "adding": 0.01}
"""A network that was so good at two exams in a row has learnt the task; more lessons would only cost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drill:
    """task: `recall` over `lag` steps, or `adding` over sequences of `lag` steps. chunk: steps of truncated
    backpropagation; updates: lessons at most. Raises ValueError for a task or network that there isn't."""

    task: str
    net: str
    lag: int
    chunk: int
    seed: int
    updates: int
    layers: int = 1
    hidden: int = 32
    clip: float = 1.0

    def __post_init__(self) -> None:
        if self.task not in KNOWS or self.net not in CELLS:
            raise ValueError(
                f"expected one of {', '.join(KNOWS)} and of {', '.join(CELLS)}, got {self.task}, {self.net}"
            )

    @property
    def readings(self) -> int:
        """At most: what a drill costs grows with it."""
        return self.updates * self.chunk


def find_chunk(task: str, lag: int) -> int:
    """At least twice the lag of a recall; a sequence of adding whole."""
    return lag if task == "adding" else max(SHORTEST_CHUNK, CHUNKS_PER_LAG * lag)


def run_drill(drill: Drill) -> dict[str, Any]:
    """A row of figures: what was asked for, and

    score: share of right answers (recall) or mean squared error over that of a network that knows nothing
    (adding), on fresh streams; updates: taken until it knew the task, or all; norm_median, norm_p99,
    norm_max: of the gradient before clipping; clipped, skipped: shares of the updates; reach `[K]`: by lag,
    None where there is no gradient; reach_at_lag, memory_length; seconds: of learning, per reading of a
    stream."""
    torch.set_num_threads(1)
    pupil = _Pupil(drill)
    pupil.learn()
    reach = pupil.reach()
    norms = np.array(pupil.norms)
    finite = norms[np.isfinite(norms)]
    count = len(norms)
    return {
        **asdict(drill),
        "score": pupil.examine(FINAL_CHUNKS),
        "updates_taken": count,
        "norm_median": _quantile(finite, 0.5),
        "norm_p99": _quantile(finite, 0.99),
        "norm_max": _quantile(finite, 1.0),
        "clipped": float((finite > drill.clip).sum() / count),
        "skipped": float(pupil.adam.skipped) / count,
        "reach": [None if not np.isfinite(share) else float(share) for share in reach.inputs.tolist()],
        "reach_at_lag": _at(reach.inputs, drill.lag),
        "memory_length": reach.memory_length,
        "seconds": pupil.seconds / (count * drill.chunk * STREAMS),
        "parameters": pupil.network.num_parameters,
    }


class _Pupil:
    def __init__(self, drill: Drill) -> None:
        self.drill = drill
        self.stream: Stream
        if drill.task == "recall":
            self.stream = RecallStream(drill.lag, STREAMS, drill.seed)
        else:
            self.stream = AddingStream(drill.lag, STREAMS, drill.seed)
        generator = torch.Generator().manual_seed(drill.seed)
        self.network = Network(
            CELLS[drill.net], INPUTS, drill.hidden, drill.layers, 1, generator, torch.device("cpu")
        )
        self.adam = Adam(self.network.weights, clip=drill.clip)
        self.norms: list[float] = []
        self.seconds = 0.0

    def learn(self) -> None:
        """Until the task is known, or the lessons are over."""
        passed = 0
        for update in range(1, self.drill.updates + 1):
            self._study(update)
            if update % EXAM_EVERY == 0:
                passed = passed + 1 if self._knows(self.examine(EXAM_CHUNKS)) else 0
                if passed == 2:
                    return

    def _study(self, update: int) -> None:
        """One lesson, from a state of zero."""
        lesson = self.stream.draw(self.drill.chunk)
        options = RecurrentOptions()
        rate = options.early_rate if update <= EARLY_UPDATES else options.rate
        state = torch.zeros(self.network.state_width, STREAMS)
        x_KFR, target_K1R, weight_K1R = (
            column.transpose(1, 2).contiguous()
            for column in (lesson.x_KRF, lesson.target_KR1, lesson.weight_KR1)
        )
        started = time.perf_counter()
        loss = self.network.accumulate(x_KFR, state, target_K1R, weight_K1R, HUBER_DELTA)
        self.norms.append(float(torch.linalg.vector_norm(self.network.gradient)))
        self.adam.apply(self.network.gradient, loss, rate)
        self.network.refresh()
        self.seconds += time.perf_counter() - started

    def _knows(self, score: float) -> bool:
        known = KNOWS[self.drill.task]
        return score >= known if self.drill.task == "recall" else score <= known

    def examine(self, chunks: int) -> float:
        right, asked = 0.0, 0
        for _ in range(chunks):
            lesson = self.stream.draw(self.drill.chunk)
            score, count = self._answer(lesson.x_KRF, lesson.target_KR1, lesson.weight_KR1)
            right, asked = right + score, asked + count
        return right / asked

    def _answer(self, x_KRF: Tensor, target_KR1: Tensor, weight_KR1: Tensor) -> tuple[float, int]:
        h_KDR = x_KRF.transpose(1, 2).contiguous()
        for layer in self.network.layers:
            h_KDR, _ = layer.forward(h_KDR, torch.zeros(layer.state_width, STREAMS))
        asked, head = weight_KR1[:, :, 0] > 0, self.network.head
        said = h_KDR.transpose(1, 2)[asked] @ head["wo"] + x_KRF[asked] @ head["skip"] + head["bo"]
        return self.stream.score(said, target_KR1[asked])

    def reach(self) -> Any:
        x_KRF, target_R1 = self.stream.stretch(self.drill.chunk)
        return gradient_reach(self.network, x_KRF, target_R1)


def _quantile(values: np.ndarray, share: float) -> float | None:
    return float(np.quantile(values, share)) if values.size else None


def _at(reach: Tensor, lag: int) -> float | None:
    """Reach at a lag; of a sequence of that length, at its first step."""
    share = float(reach[min(lag, reach.numel() - 1)])
    return share if np.isfinite(share) else None
