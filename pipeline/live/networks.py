"""Why a network forecasts as it does: how far back its losses reach, how it learns, what it costs.

Weights and stretches of history are copied on the runner's thread, a millisecond's work, and only when
somebody asks; gradients are computed by who asked.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from forecasters import Bank
from forecasters.network import Network
from forecasters.reach import Stretches, gradient_reach, recent_stretches
from forecasters.recurrent import Recurrent
from pipeline.holdings import Holding
from pipeline.live.snapshots import take_bank
from pipeline.ports import Partition

RENEWED_S = 30.0
WAIT_S = 1.5
MOST_SERIES = 64
"""A median over so many is as good as one over all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkCopies:
    """Of the shard with the most series. stretches: None where no series has enough history yet; needed:
    readings that a series must have for one."""

    networks: Mapping[str, Network]
    stretches: Stretches | None
    needed: int


class Networks:
    """`look` belongs on the runner's thread, `ask` on any other."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._taken = threading.Condition()
        self._copies: NetworkCopies | None = None
        self._taken_s = float("-inf")
        self._is_asked = False

    def look(self, holdings: Mapping[Partition, Holding]) -> None:
        if not self._is_asked:
            return
        banks = [take_bank(each) for each in holdings.values() if each.loaded is not None]
        copies = _copy(max(banks, key=_count_series)) if banks else None
        with self._taken:
            self._copies, self._taken_s, self._is_asked = copies, self._clock(), False
            self._taken.notify_all()

    def ask(self) -> NetworkCopies | None:
        with self._taken:
            if self._clock() - self._taken_s > RENEWED_S:
                self._is_asked = True
                self._taken.wait_for(lambda: not self._is_asked, WAIT_S)
            return self._copies


def _count_series(bank: Bank) -> int:
    return int((bank.timetable["step"] >= 0).sum())


def _copy(bank: Bank) -> NetworkCopies:
    memory, steps = bank.memory, bank.timetable["step"]
    begun = np.flatnonzero(steps[: len(bank.ids)] - bank.timetable["restart"][: len(bank.ids)] >= 0)
    longest = begun[np.argsort(-steps[begun], kind="stable")][:MOST_SERIES]
    try:
        stretches = recent_stretches(memory, torch.from_numpy(longest))
    except ValueError:  # none is old enough
        stretches = None
    models = {name: bank.models[name] for name in bank.nets}
    return NetworkCopies(
        networks={name: copy.deepcopy(m.network) for name, m in models.items() if isinstance(m, Recurrent)},
        stretches=stretches,
        needed=memory.ring_length,
    )


def describe_reach(copies: NetworkCopies | None) -> dict[str, object]:
    """By network, gradients of the last loss by lag, as `forecasters.reach` has them. Some tens of
    milliseconds; {} before there is anything to tell."""
    if copies is None or copies.stretches is None:
        return {}
    found: dict[str, object] = {}
    for name, network in copies.networks.items():
        reach = gradient_reach(network, copies.stretches.x_KRF, copies.stretches.target_RH)
        found[name] = {
            "inputs": reach.inputs.tolist(),
            "states": reach.states.tolist(),
            "memory": reach.memory_length,
            "series": reach.series,
        }
    return found
