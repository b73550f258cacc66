"""The benchmarks do what they measure; their figures are nobody's business here."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.benches.emit import run_emit
from pipeline.benches.end_to_end import find_processes
from pipeline.benches.exposition import run_exposition
from pipeline.benches.ingest import run_ingest
from pipeline.benches.rows import Row
from pipeline.benches.scaling import SERIES, run_scaling


def assert_whole(rows: list[Row], cases: set[str]) -> None:
    assert {row.case for row in rows} == cases
    assert all(row.value > 0 and row.ratio > 0 and row.yardstick_value > 0 for row in rows)


@pytest.mark.slow
def test_from_a_topic_to_columns(bootstrap: str) -> None:
    formats = ("json", "columns", "arrow")
    cases = {*formats, *(f"{one}, confluent-kafka" for one in formats)}
    assert_whole(run_ingest(bootstrap, 1, 0.3), cases)


@pytest.mark.slow
def test_forecasts_into_a_topic(bootstrap: str) -> None:
    assert_whole(run_emit(bootstrap, 1, 0.05), {"emit", "emit json"})


def test_the_text_of_a_scrape() -> None:
    assert_whole(run_exposition(1, samples=2_000, series=100), {"exposition", "default scrape"})


@pytest.mark.slow
def test_growth_with_series_and_shards() -> None:
    rows = run_scaling(("series", "shards"), 1, 0.02)
    assert_whole(rows, {"series, time", "series, jittered", "series, memory", "series, state", "shards"})
    assert [row.series for row in rows if row.case == "series, time"] == [20, 20, 200, 2_000]


@pytest.mark.parametrize("later_s", [0.0, 0.5, 10.0], ids=["starting", "importing", "at work"])
def test_ctrl_c_ends_all_processes_of_a_bench_in_one_line(later_s: float) -> None:
    command = (sys.executable, "-m", "pipeline", "bench", "scaling", "--part", "series")
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as bench:
        try:
            until = time.monotonic() + 60.0
            while len(started := find_processes(bench.pid)) < 1 + len(SERIES):
                assert time.monotonic() < until, "expected a process for each number of series"
                time.sleep(0.01)
            time.sleep(later_s)
            os.killpg(bench.pid, signal.SIGINT)  # as a terminal does
            _, said = bench.communicate(timeout=30.0)
        finally:
            bench.kill()
    assert (bench.returncode, said) == (130, "gatecast: stopped\n")
    until = time.monotonic() + 10.0
    while any(map(is_running, started)):
        assert time.monotonic() < until, "expected all processes to end"
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())  # nobody may have collected one that has ended
    except FileNotFoundError:
        return False
