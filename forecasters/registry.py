"""Names of the forecasters. A new one is one file and one line here."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import torch

from forecasters.cells import GRU, LSTM, Cell, Elman
from forecasters.chunks import Chunks
from forecasters.forecaster import Forecaster
from forecasters.linear import Linear
from forecasters.memory import Memory
from forecasters.recurrent import Recurrent, RecurrentOptions
from forecasters.references import Naive, SeasonalNaive


@dataclass(frozen=True, slots=True)
class Context:
    """What a builder may use. Every forecaster draws from a generator of its own, named after it, so that
    one more forecaster changes nothing in the others."""

    memory: Memory
    chunks: Chunks
    recurrent: RecurrentOptions
    seed: int
    device: torch.device

    def generator(self, name: str) -> torch.Generator:
        digest = hashlib.sha256(f"{self.seed}/{name}".encode()).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def _recurrent(name: str, cell: type[Cell]) -> Callable[[Context], Forecaster]:
    def make(c: Context) -> Forecaster:
        return Recurrent(cell, c.memory, c.chunks, c.recurrent, c.generator(name), c.device)

    return make


BUILDERS: dict[str, Callable[[Context], Forecaster]] = {
    "naive": lambda c: Naive(c.memory.horizon, c.device),
    "seasonal_naive": lambda c: SeasonalNaive(c.memory.horizon, c.device),
    "linear": lambda c: Linear(c.memory, c.device),
    "rnn": _recurrent("rnn", Elman),
    "lstm": _recurrent("lstm", LSTM),
    "gru": _recurrent("gru", GRU),
}
BLEND = "blend"
NAMES = (*BUILDERS, BLEND)
