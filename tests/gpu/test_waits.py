"""A wave leaves the device to itself: how its forecasts turned out comes to the host in one go, nothing else.

On a CPU what else would make the host wait is seen at torch's dispatcher; where a GPU is there, its copies
are counted too.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

from tests.gpu.rounds import MINUTE_MS, make_bank, step_rounds

WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "_unique", "is_nonzero", "equal")
"""Of a tensor on a device each of these waits until all before it is done."""
ROUNDS = 30


class Calls(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function._schema.name.removeprefix("aten::")
        if name.startswith(WAITS):
            self.waits[name] += 1
        return function(*args, **(kwargs or {}))


def test_a_wave_asks_for_no_number_back() -> None:
    """Half a round, so that no tick falls into it: there host tensors say what is trained, and reading those
    waits for nothing."""
    bank, slots = make_bank("cpu", 128)
    for _ in step_rounds(bank, slots, 0, ROUNDS):
        pass
    half = slots[:64]
    assert bank.readings_to_tick > half.size
    with Calls() as calls:
        bank.step(half, np.full(half.size, ROUNDS * MINUTE_MS), np.ones(half.size))
    assert not calls.waits


@pytest.mark.gpu
def test_copies_of_a_wave_do_not_grow_with_its_rows(gpu: torch.device) -> None:
    found = []
    for series in (128, 1_024):
        bank, slots = make_bank(gpu, series)
        for _ in step_rounds(bank, slots, 0, ROUNDS):
            pass
        half = slots[: series // 2]
        torch.cuda.synchronize()
        with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiled:
            bank.step(half, np.full(half.size, ROUNDS * MINUTE_MS), np.ones(half.size))
            torch.cuda.synchronize()
        counts = Counter({event.key: event.count for event in profiled.key_averages()})
        found.append({key: n for key, n in counts.items() if key.startswith("Memcpy HtoD") or "DtoH" in key})
    print("copies of a wave:", found[0])
    assert found[0] == found[1]


@pytest.mark.gpu
def test_torch_sees_one_wait_in_a_wave(gpu: torch.device) -> None:
    bank, slots = make_bank(gpu, 128)
    for _ in step_rounds(bank, slots, 0, ROUNDS):
        pass
    half = slots[:64]
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with pytest.warns(UserWarning, match="synchroniz") as caught:
            bank.step(half, np.full(half.size, ROUNDS * MINUTE_MS), np.ones(half.size))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len(caught) == 1, [str(each.message) for each in caught]
