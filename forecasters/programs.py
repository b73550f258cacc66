"""How the device's part of a wave or a tick is run. On a CPU: as it is written. On a GPU, where some hundred
small operations take their time to be launched and hardly any to be done: recorded once, and then launched
as one.

What the host knows of a wave decides which operations it takes: its *form*. Waves of one form differ in
numbers alone, and those that come from the host are made by the same functions. So a program keeps these
functions; asked for the next wave, they fill one buffer, which goes to the device in one transfer, and the
recorded operations (a CUDA graph) read it there.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

Tensor = torch.Tensor
Make = Callable[[Any], npt.NDArray[Any]]

log = logging.getLogger(__name__)

RUNS_BEFORE = 3
"""Waves of a form that are run as written before it is recorded: libraries make room at their first calls,
and a form that comes once is not worth it."""
MOST = 64
"""Programs that are kept, those used last; each has its own buffers, and its operations' results."""
ALIGNED = 16


class Courier:
    """Brings to the device what the host knows of the subject at hand, a wave or a tick."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.subject: Any = None
        self.program: Program | None = None

    def send(self, make: Make) -> Tensor:
        """What `make` says of the subject. It is asked again for the next subject of the same form, so it
        must depend on that and on what never changes."""
        if self.program is not None:
            return self.program.take(make, self)
        return torch.from_numpy(make(self.subject)).to(self.device, non_blocking=True)


class Program:
    """Of one form: what is sent for it, in order, and what is done with that."""

    def __init__(self) -> None:
        self.runs = 0
        self.graph: torch.cuda.CUDAGraph | None = None
        self.result: Tensor | None = None
        self._makes: list[Make] = []
        self._sent: list[Tensor] = []
        self._taken = 0
        self._host: list[npt.NDArray[Any]] = []
        self._host_buffer = self._buffer = torch.empty(0, dtype=torch.uint8)
        self._read: torch.cuda.Event | None = None
        """That the host's buffer was read."""

    def take(self, make: Make, courier: Courier) -> Tensor:
        """The next of what is sent."""
        if not self.runs:
            self._makes.append(make)
            self._sent.append(torch.from_numpy(make(courier.subject)).to(courier.device, non_blocking=True))
            return self._sent[-1]
        at = self._taken
        # a closure is made anew each time, its code is not
        if at >= len(self._makes) or _code(self._makes[at]) is not _code(make):
            raise RuntimeError(
                f"expected subjects of one form to ask for the same, but number {at} differs: {make}"
            )
        self._taken += 1
        return self._sent[at]

    def make_room(self, device: torch.device) -> None:
        """After the first run, of which shapes are known."""
        sizes = [sent.numel() * sent.element_size() for sent in self._sent]
        starts = np.cumsum([0, *(size + -size % ALIGNED for size in sizes)]).tolist()
        is_cuda = device.type == "cuda"
        self._host_buffer = torch.empty(starts[-1], dtype=torch.uint8, pin_memory=is_cuda)
        self._buffer = torch.empty(starts[-1], dtype=torch.uint8, device=device)
        host, sent = [], []
        for like, start, size in zip(self._sent, starts[:-1], sizes, strict=True):
            own, other = (
                whole[start : start + size].view(like.dtype).view(like.shape)
                for whole in (self._host_buffer, self._buffer)
            )
            host.append(own.numpy())
            sent.append(other)
        self._host, self._sent = host, sent
        self._read = torch.cuda.Event() if is_cuda else None

    def load(self, subject: Any) -> None:
        """All that is sent of it, in one transfer."""
        if self._read is not None and not self._read.query():
            self._read.synchronize()
        for own, make in zip(self._host, self._makes, strict=True):
            np.copyto(own, make(subject), casting="no")
        self._buffer.copy_(self._host_buffer, non_blocking=True)
        if self._read is not None:
            self._read.record()
        self.restart()

    def restart(self) -> None:
        """What was sent is taken from the first on."""
        self._taken = 0


class Programs:
    """By form. `work` does the device's part of a subject, the courier's, and returns a tensor or nothing;
    it must change nothing on the host that the next subject of the form would have to change again."""

    def __init__(self, courier: Courier, work: Callable[[Any], Tensor | None]) -> None:
        self._courier = courier
        self._work = work
        self._programs: OrderedDict[Hashable, Program] = OrderedDict()
        self._may_record = courier.device.type == "cuda"
        self._pool: Any = None
        self.has_recorded = False
        """Whether the last run was recorded; it took its time."""

    def clear(self) -> None:
        """What was recorded holds no longer: tensors lie elsewhere."""
        self._programs.clear()
        self._pool = None

    def run(self, form: Hashable | None, subject: Any) -> Tensor | None:
        """form: all that decides which operations are taken, on which shapes; None: subjects of its kind
        differ. Of a tensor that is returned, the next run may take the place."""
        courier = self._courier
        if form is None:
            return self._work(subject)
        program = self._find(form)
        courier.program = program
        try:
            if not program.runs:
                result = self._work(subject)
                program.make_room(courier.device)
            else:
                program.load(subject)
                result = self._run(program, subject)
        except BaseException:
            del self._programs[form]  # half of what it sends may be noted
            raise
        finally:
            courier.program = None
        program.runs += 1
        return result

    @property
    def recorded(self) -> int:
        """Forms so far that are launched as one."""
        return sum(program.graph is not None for program in self._programs.values())

    def _find(self, form: Hashable) -> Program:
        program = self._programs.get(form)
        if program is None:
            program = self._programs[form] = Program()
            if len(self._programs) > MOST:
                self._programs.popitem(last=False)
        self._programs.move_to_end(form)
        return program

    def _run(self, program: Program, subject: Any) -> Tensor | None:
        self.has_recorded = program.graph is None and program.runs >= RUNS_BEFORE and self._may_record
        if self.has_recorded:
            self._record(program, subject)
        if program.graph is None:
            program.restart()
            return self._work(subject)
        program.graph.replay()
        return program.result

    def _record(self, program: Program, subject: Any) -> None:
        try:
            self._pool = self._pool or torch.cuda.graph_pool_handle()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                program.result = self._work(subject)
        except RuntimeError as error:
            # nothing was done yet; slower is better than not at all
            self._may_record = False
            log.warning(
                "operations on %s could not be recorded and go on one by one: %s", self._courier.device, error
            )
            return
        program.graph = graph


def _code(make: Make) -> Any:
    return getattr(make, "__code__", None) or getattr(make, "__func__", make)
