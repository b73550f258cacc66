"""Work spread over processes: results in order, and nothing goes on where it has failed."""

from __future__ import annotations

import multiprocessing
import os
import time

import pytest

from pipeline.spread import spread

LONG_S = 600.0


def work(seconds: float) -> tuple[float, int]:
    if seconds < 0:
        raise ValueError(f"expected seconds, got {seconds}")
    time.sleep(seconds)
    return seconds, os.getpid()


@pytest.mark.parametrize("processes", [1, 3])
def test_results_come_in_order_and_progress_adds_up(processes: int) -> None:
    heard: list[float] = []
    found = spread(work, [0.2, 0.0, 0.1], [2.0, 5.0, 1.0], processes=processes, on_progress=heard.append)
    assert [seconds for seconds, _ in found] == [0.2, 0.0, 0.1]
    assert sorted(heard) == [1.0, 2.0, 5.0]
    assert ({process for _, process in found} == {os.getpid()}) is (processes == 1)


def test_a_failure_ends_what_still_runs() -> None:
    with pytest.raises(ValueError, match="expected seconds, got -1"):
        spread(work, [LONG_S, -1.0], [1.0, 2.0], processes=2, on_progress=lambda cost: None)
    # one that is dead is listed until the pool's own thread has taken note
    deadline = time.monotonic() + 20.0
    while multiprocessing.active_children() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert multiprocessing.active_children() == []
