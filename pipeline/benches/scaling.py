"""`gatecast bench scaling`: how time and memory grow with the series, with the size of a shard, with workers.

- `series`: 100 to 100 000 series in one shard at a constant total rate, a thousand readings or so at a
  time, up to a tick as a worker takes them, whatever the number of series: time per reading, once of series
  that come in the same order in every round, once (`jittered`) some hundred places early or late, as on a
  network, so that the state of a wave has to be gathered; and resident memory per series. Each number of
  series in a process of its own, timed in turn.
- `shards`: shards of 83, 250 and 1 000 series beside each other, fed in turn.
- `workers`: one real worker process and two, on a topic filled beforehand, in turn.

The yardstick of each is the case that is flat or single: 1 000 series, a shard of 1 000, one worker.
"""

from __future__ import annotations

import functools
import gc
import itertools
import multiprocessing
import os
import signal
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.pool import Pool
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.app import build_bank, read_shard_options
from pipeline.benches import end_to_end
from pipeline.benches.readings import CADENCE_MS, START_MS, Load, fill, name_series
from pipeline.benches.rows import Row
from pipeline.config import Config
from pipeline.demo.kafka_server import KafkaServer
from pipeline.engine.settings import SeriesSettings
from pipeline.engine.shard import Shard
from pipeline.heap import give_back
from pipeline.issued import Selection, find_scores
from pipeline.one_core import use_one_core
from pipeline.records import Readings

PARTS = ("series", "shards", "workers")
SERIES = (100, 1_000, 10_000, 100_000)
SHARDS = (83, 250, 1_000)
BATCH = 1_000
"""Readings that wait, some at least: the rate is constant, the series share it."""
JITTER = 100
"""Places in the round by which readings come early or late (standard deviation)."""
FLAT = 1_000
LEAST_WARM_UP, WARM_ROUNDS = 40_000, 18
"""Readings before the clock, and of each series at least: by then all have chunks of 16 that are trained."""
TIMED = 40_000
SHARES, LEAST_RUN = 16, 16_000
"""Networks are trained once in 16 readings of a series: a run of `series` is as many rounds, or more."""
WORKERS = (1, 2)
WORKER_ROUNDS = 900


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """Of one number of series: seconds per reading, in order and jittered; bytes per series, of the process
    and of state."""

    series: int
    reading_s: float
    jittered_s: float
    rss_bytes: float
    state_bytes: float


class Stream:
    """A shard with the defaults, and what a worker takes from its waves; fed with batches of readings."""

    def __init__(self, series: int, scale: float) -> None:
        self.series = series
        self.scale = scale
        config = Config.model_validate({"kafka": {"bootstrap": ("none:0",)}})
        self.bank = bank = build_bank(config, seed=0)
        declared = SeriesSettings(cadence_ms=CADENCE_MS)  # else the first readings are held back
        self.shard: Shard[Any] = Shard(bank, read_shard_options(config), lambda _: declared, 0, 1)
        self._selection = Selection(bank.names, config.sent_forecasters)
        self._ids, self._taken, self._draw = name_series(series), 0, np.random.default_rng(0)
        self._jittered_from = sys.maxsize  # the round

    def _take(self) -> Readings:
        """What a worker would take next: up to the last tick in a batch, or to the first one behind it."""
        to_tick, a_tick = (max(each, 1) for each in self.shard.readings_to_ticks)
        size = to_tick if to_tick > BATCH else BATCH - (BATCH - to_tick) % a_tick
        count = self.series
        number = np.arange(self._taken, self._taken + size)
        self._taken += size
        series, minute = number % count, number // count
        if minute[-1] >= self._jittered_from:
            rounds = range(int(minute[0]), int(minute[-1]) + 1)
            orders = [_jitter(count, k) if k >= self._jittered_from else np.arange(count) for k in rounds]
            series = np.concatenate(orders)[number - rounds[0] * count]
        time_ms = START_MS + minute * CADENCE_MS
        noise = self._draw.normal(0, 0.2, size)
        return Readings(
            series=self._ids, series_index=series.astype(np.int32), event_time_ms=time_ms,
            value=20 + 5 * np.sin(2 * np.pi * (minute / 1440 + series / count)) + noise, clock_ms=time_ms,
        )  # fmt: skip

    def jitter(self) -> None:
        """From the next round on readings come early or late."""
        self._jittered_from = self._taken // self.series + 1
        self.feed(self.series)

    def feed(self, least: int) -> int:
        """So many readings or a few more; returns how many."""
        done = 0
        while done < least:
            readings = self._take()
            for outcome in self.shard.process(readings):
                if outcome.stepped is not None:
                    self._selection.take(outcome.stepped)
                    find_scores(outcome.stepped.wave)
            done += len(readings)
        return done

    def warm_up(self) -> None:
        self.feed(max(round(LEAST_WARM_UP * self.scale), WARM_ROUNDS * self.series))

    def time(self, readings: int) -> float:
        """Seconds per reading."""
        started = time.perf_counter()
        done = self.feed(readings)
        return (time.perf_counter() - started) / done


@functools.lru_cache(maxsize=2)
def _jitter(count: int, seed: int) -> npt.NDArray[np.int64]:
    return np.argsort(np.arange(count) + np.random.default_rng(seed).normal(0, JITTER, count))


def run_scaling(parts: Sequence[str], runs: int, scale: float = 1.0) -> list[Row]:
    """scale: of the numbers of series and readings, for a quick look."""
    rows: list[Row] = []
    if "series" in parts:
        rows += run_series(runs, scale)
    if "shards" in parts:
        rows += run_shards(runs, scale)
    if "workers" in parts:
        rows += run_workers(runs, scale)
    return rows


def run_series(runs: int, scale: float) -> list[Row]:
    """Cases of time and memory for each number of series, as multiples of those with a thousand. Each in a
    process of its own; timed in turn, so that a machine that slows down does so for all."""
    context = multiprocessing.get_context("spawn")
    counts = [max(round(count * scale), 20) for count in SERIES]
    with ExitStack() as stack:
        # They inherit that Ctrl-C is not for them: who hears it here takes them along.
        resource_tracker.ensure_running()  # else it begins with the first of them, and unblocks the signal
        heard = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            processes = [stack.enter_context(context.Pool(1)) for _ in counts]
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, heard)
        for process, count in zip(processes, counts, strict=True):
            process.apply(_Grown.begin, (count, scale))
        ordered = _time_in_turn(processes, runs)
        for process in processes:
            process.apply(_Grown.jitter)
        jittered = _time_in_turn(processes, runs)
        found = [
            process.apply(_Grown.measure, seconds)
            for process, *seconds in zip(processes, ordered, jittered, strict=True)
        ]
    flat = found[SERIES.index(FLAT)]
    rows = []
    for one in found:
        for case, value, base, unit in (
            ("time", 1e6 * one.reading_s, 1e6 * flat.reading_s, "us/reading"),
            ("jittered", 1e6 * one.jittered_s, 1e6 * flat.jittered_s, "us/reading"),
            ("memory", one.rss_bytes, flat.rss_bytes, "bytes/series"),
            ("state", one.state_bytes, flat.state_bytes, "bytes/series"),
        ):
            rows.append(
                Row(
                    case=f"series, {case}", series=one.series, value=round(value, 2), unit=unit,
                    yardstick=f"{flat.series} series", yardstick_value=round(base, 2),
                    ratio=round(value / base, 3), runs=runs if unit == "us/reading" else 1, share={},
                )
            )  # fmt: skip
    return rows


def _time_in_turn(processes: Sequence[Pool], runs: int) -> list[float]:
    """Seconds per reading of each, medians of runs; a sixteenth of a run at a time."""
    found: list[list[float]] = [[] for _ in processes]
    for _ in range(runs):
        turns = [[process.apply(_Grown.time) for process in processes] for _ in range(SHARES)]
        for shares, each in zip(zip(*turns, strict=True), found, strict=True):
            each.append(statistics.fmean(shares))
    return [statistics.median(each) for each in found]


class _Grown:
    """What a process of `run_series` keeps between two calls from outside."""

    stream: Stream
    resident: int

    @classmethod
    def begin(cls, series: int, scale: float) -> None:
        use_one_core()
        Stream(50, scale).feed(BATCH)  # code, and what is there once
        cls.resident = _find_resident()
        cls.stream = Stream(series, scale)
        cls.stream.warm_up()

    @classmethod
    def time(cls) -> float:
        """Seconds per reading, of one share of a run."""
        cls.stream.feed(BATCH)  # others have had the caches
        return cls.stream.time(max(cls.stream.series, round(LEAST_RUN * cls.stream.scale) // SHARES))

    @classmethod
    def jitter(cls) -> None:
        cls.stream.jitter()

    @classmethod
    def measure(cls, reading_s: float, jittered_s: float) -> Growth:
        series = cls.stream.series
        return Growth(
            series=series,
            reading_s=reading_s,
            jittered_s=jittered_s,
            rss_bytes=(_find_resident() - cls.resident) / series,
            state_bytes=float(sum(cls.stream.bank.bytes_per_series().values())),
        )


def run_shards(runs: int, scale: float) -> list[Row]:
    """Readings per second of each, fed in turn, so that a busy machine hits all."""
    use_one_core()
    streams = {count: Stream(count, scale) for count in SHARDS}
    for stream in streams.values():
        stream.warm_up()
    seconds: dict[int, list[float]] = {count: [] for count in SHARDS}
    for _ in range(runs):
        for count, stream in streams.items():
            seconds[count].append(stream.time(max(round(TIMED * scale), BATCH)))
    rates = {count: 1.0 / statistics.median(found) for count, found in seconds.items()}
    return [
        Row(
            case="shards", series=count, value=round(rate, 1), yardstick=f"a shard of {FLAT}",
            yardstick_value=round(rates[FLAT], 1), ratio=round(rate / rates[FLAT], 3), runs=runs, share={},
        )
        for count, rate in rates.items()
    ]  # fmt: skip


def run_workers(runs: int, scale: float) -> list[Row]:
    """Readings per second of Arrow through real workers and a real broker, two beside one."""
    load = Load(
        series=end_to_end.SERIES, rounds=max(round(WORKER_ROUNDS * scale), 60), format="arrow", batch=BATCH
    )
    topic = f"bench-{uuid.uuid4().hex[:8]}"
    found: dict[int, list[end_to_end.Run]] = {count: [] for count in WORKERS}
    with (
        tempfile.TemporaryDirectory() as name,
        KafkaServer(Path(name) / "kafka", end_to_end.TOGETHER) as server,
    ):
        fill(server.bootstrap, topic, load, end_to_end.PARTITIONS)
        end_to_end.make_topics(server.bootstrap, topic)
        for number, count in itertools.product(range(runs), WORKERS):
            folder = Path(name) / f"{number}-{count}"
            folder.mkdir()
            config = end_to_end.write_config(folder, server.bootstrap, topic, topic, "arrow")
            found[count].append(end_to_end.run_case(server, folder, config, load, count))
    middle = {count: sorted(each, key=lambda run: run.rate)[len(each) // 2] for count, each in found.items()}
    base = middle[1].rate
    return [
        Row(
            case=f"workers, {count}", series=load.series, value=round(run.rate, 1), yardstick="one worker",
            yardstick_value=round(base, 1), ratio=round(run.rate / base, 3), runs=runs, share=dict(run.share),
        )
        for count, run in middle.items()
    ]  # fmt: skip


def _find_resident() -> int:
    """Bytes of this process, once what was freed is given back."""
    gc.collect()
    give_back()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
