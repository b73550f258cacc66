"""How a bank's work is run on a device that is not the host: see `programs`. And what time it took.

Letters: E forecasters, H horizon, Q scored steps, R rows of a wave (padded).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping, Sequence

import torch

from forecasters.backlog import Backlog
from forecasters.chunks import Plan
from forecasters.outcome import Made
from forecasters.programs import Courier, Programs
from forecasters.timetable import Arrival

Tensor = torch.Tensor


class Launcher:
    """make: the device's part of a wave; train: that of a tick. seconds: by part, to which both add their
    time as they launch; where what they did was recorded, so does this."""

    def __init__(
        self,
        courier: Courier,
        seconds: dict[str, float],
        make: Callable[[Arrival], Made],
        train: Callable[[Plan | None], None],
    ) -> None:
        self._seconds = seconds
        self._make = make
        self._waves, self._ticks = Programs(courier, self._pack), Programs(courier, train)
        self._made_like: list[tuple[torch.Size, torch.dtype]] | None = None
        self._shares: dict[Programs, dict[str, float]] = {}  # of their time, by part

    @property
    def recorded(self) -> int:
        """Forms of waves and ticks that are launched as one operation."""
        return self._waves.recorded + self._ticks.recorded

    def forget(self) -> None:
        """Tensors lie elsewhere from now on."""
        self._waves.clear()
        self._ticks.clear()

    def make(self, form: Hashable | None, arrival: Arrival, meanwhile: Sequence[Backlog]) -> Made:
        """What comes of a wave, on the host: the one time in it that the device is waited for. meanwhile:
        what is worked off before that."""
        started, told = time.perf_counter(), dict(self._seconds)
        flat = self._waves.run(form, arrival)
        assert flat is not None
        fetched = torch.empty(flat.shape, pin_memory=flat.is_cuda)
        fetched.copy_(flat, non_blocking=True)
        done = None
        if flat.is_cuda:
            (done := torch.cuda.Event()).record()
        self._share_out(self._waves, time.perf_counter() - started, told)
        for backlog in meanwhile:
            backlog.work_off()
        started, told = time.perf_counter(), dict(self._seconds)
        if done is not None:
            done.synchronize()
        self._share_out(self._waves, time.perf_counter() - started, told)
        assert self._made_like is not None
        return Made.unpack(fetched, self._made_like)

    def train(self, form: Hashable | None, plan: Plan | None) -> None:
        started, told = time.perf_counter(), dict(self._seconds)
        self._ticks.run(form, plan)
        self._share_out(self._ticks, time.perf_counter() - started, told)

    def _pack(self, arrival: Arrival) -> Tensor:
        made = self._make(arrival)
        if self._made_like is None:
            self._made_like = made.shapes
        return made.pack()

    def _share_out(self, programs: Programs, spent_s: float, told: Mapping[str, float]) -> None:
        """The time of what was launched as one, by what each part took of it when launched by itself. told:
        seconds by part before it."""
        if self._seconds == told:
            for name, share in self._shares.get(programs, {}).items():
                self._seconds[name] += share * spent_s
        elif not programs.has_recorded:
            grown = {name: seconds - told[name] for name, seconds in self._seconds.items()}
            self._shares[programs] = {name: each / spent_s for name, each in grown.items() if each}
