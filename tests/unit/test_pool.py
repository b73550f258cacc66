from __future__ import annotations

import subprocess
import sys
import threading
import time
from concurrent.futures import wait

import pytest

from pipeline.pool import Pool


def test_results_and_errors_come_back_in_order() -> None:
    pool = Pool(1, "test")
    seen: list[int] = []

    def note(number: int) -> int:
        seen.append(number)
        if number == 2:
            raise OSError("disk full")
        return 10 * number

    futures = [pool.submit(note, number) for number in range(4)]
    assert [futures[n].result(5.0) for n in (0, 1, 3)] == [0, 10, 30]
    with pytest.raises(OSError, match="disk full"):
        futures[2].result(5.0)
    assert seen == [0, 1, 2, 3]
    pool.close()


def test_close_begins_nothing_more_and_does_not_wait() -> None:
    pool, is_on = Pool(1, "test"), threading.Event()
    begun = threading.Event()

    def hold() -> str:
        begun.set()
        is_on.wait(10.0)
        return "held"

    running, waiting = pool.submit(hold), pool.submit(time.sleep, 10.0)
    assert begun.wait(5.0)
    pool.close()
    assert not running.done()
    is_on.set()
    assert running.result(5.0) == "held"
    wait([waiting], timeout=5.0)
    assert waiting.cancelled()


def test_call_that_never_returns_does_not_keep_the_process() -> None:
    program = "import time; from pipeline.pool import Pool; Pool(2, 'x').submit(time.sleep, 3600)"
    subprocess.run([sys.executable, "-c", program], timeout=60.0, check=True)
