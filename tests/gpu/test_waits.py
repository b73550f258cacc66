"""A wave leaves the device to itself: what it needs goes there in one transfer, the operations are launched
as one, what they made comes to the host in one transfer, and that is waited for once.

On a CPU what else would make the host wait is seen at torch's dispatcher; where a GPU is there, its calls are
counted too.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

from forecasters import Bank
from tests.gpu.rounds import MINUTE_MS, make_bank, step_rounds

WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "_unique", "is_nonzero", "equal")
"""Of a tensor on a device each of these waits until all before it is done."""
ROUNDS = 30
LARGE = 320
"""Series of which a tick replays nothing old."""


class Calls(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function._schema.name.removeprefix("aten::")
        if name.startswith(WAITS):
            self.waits[name] += 1
        return function(*args, **(kwargs or {}))


def step_half(bank: Bank, slots: np.ndarray) -> None:
    """Half a round, so that no tick falls into it."""
    half = slots[: slots.size // 2]
    assert bank.readings_to_tick > half.size
    bank.step(half, np.full(half.size, ROUNDS * MINUTE_MS), np.ones(half.size))


def test_a_wave_asks_for_no_number_back() -> None:
    """At ticks host tensors say what is trained, and reading those waits for nothing."""
    bank, slots = make_bank("cpu", 128)
    for _ in step_rounds(bank, slots, 0, ROUNDS):
        pass
    with Calls() as calls:
        step_half(bank, slots)
    assert not calls.waits


def count_calls(work: Callable[[], None]) -> Counter[str]:
    """Of the driver, by name."""
    torch.cuda.synchronize()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the profiler, about itself
        with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiled:
            work()
        found = profiled.key_averages()
    driver = ("cu", "Memcpy")
    return Counter({event.key: event.count for event in found if event.key.startswith(driver)})


@pytest.mark.gpu
@pytest.mark.parametrize("series", [128, 1_600])
def test_a_wave_is_two_transfers_one_launch_and_one_wait(gpu: torch.device, series: int) -> None:
    bank, slots = make_bank(gpu, series)
    for _ in step_rounds(bank, slots, 0, ROUNDS):
        pass
    calls = count_calls(lambda: step_half(bank, slots))
    print(f"calls of a wave of {series // 2}:", dict(calls))
    copies = {key: n for key, n in calls.items() if "HtoD" in key or "DtoH" in key}
    assert sorted(copies.values()) == [1, 1], copies
    assert calls["cudaGraphLaunch"] == 1
    assert calls["cudaLaunchKernel"] == 0
    assert calls["cudaEventSynchronize"] == 1
    assert calls["cudaStreamSynchronize"] == 0


@pytest.mark.gpu
def test_a_round_with_its_tick_waits_for_nothing_else(gpu: torch.device) -> None:
    bank, slots = make_bank(gpu, LARGE)
    for _ in step_rounds(bank, slots, 0, ROUNDS):
        pass
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the mode is a prototype
        torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in step_rounds(bank, slots, ROUNDS, ROUNDS + 8):
            pass
    finally:
        torch.cuda.set_sync_debug_mode("default")
