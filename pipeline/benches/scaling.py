"""`gatecast bench scaling`: how time and memory grow with the series, with the size of a shard, with workers.

- `series`: 100 to 100 000 series in one shard at a constant total rate, a thousand readings a batch whatever
  the number of series: time per reading, and resident memory per series. Each number in a process of its own.
- `shards`: shards of 83, 250 and 1 000 series beside each other, fed in turn.
- `workers`: one real worker process and two, on a topic filled beforehand, in turn.

The yardstick of each is the case that is flat or single: 1 000 series, a shard of 1 000, one worker.
"""

from __future__ import annotations

import gc
import itertools
import multiprocessing
import os
import statistics
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

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
"""Readings that one poll brings: the rate is constant, the series share it."""
FLAT = 1_000
LEAST_WARM_UP, WARM_ROUNDS = 40_000, 18
"""Readings before the clock, and of each series at least: by then all have chunks of 16 that are trained."""
TIMED = 40_000
WORKERS = (1, 2)
WORKER_ROUNDS = 900


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """Of one number of series: seconds per reading, and bytes of the process and of state per series."""

    series: int
    reading_s: float
    rss_bytes: float
    state_bytes: float


class Stream:
    """A shard with the defaults, and what a worker takes from its waves; fed with batches of readings."""

    def __init__(self, series: int, scale: float) -> None:
        self._scale = scale
        config = Config.model_validate({"kafka": {"bootstrap": ("none:0",)}})
        self.bank = bank = build_bank(config, seed=0)
        declared = SeriesSettings(cadence_ms=CADENCE_MS)  # else the first readings are held back
        self.shard: Shard[Any] = Shard(bank, read_shard_options(config), lambda _: declared, 0, 1)
        self._selection = Selection(bank.names, config.sent_forecasters)
        self._ids = name_series(series)
        self._batches = self._make_batches()

    def _make_batches(self) -> Iterator[Readings]:
        count = len(self._ids)
        draw = np.random.default_rng(0)
        for first in itertools.count(0, BATCH):
            number = np.arange(first, first + BATCH)
            series, minute = number % count, number // count
            time_ms = START_MS + minute * CADENCE_MS
            value = 20 + 5 * np.sin(2 * np.pi * (minute / 1440 + series / count)) + draw.normal(0, 0.2, BATCH)
            yield Readings(
                series=self._ids, series_index=series.astype(np.int32), event_time_ms=time_ms, value=value,
                clock_ms=time_ms,
            )  # fmt: skip

    def feed(self, readings: int) -> int:
        """So many readings or a few more; returns how many."""
        done = 0
        while done < readings:
            for outcome in self.shard.process(next(self._batches)):
                if outcome.stepped is not None:
                    self._selection.take(outcome.stepped)
                    find_scores(outcome.stepped.wave)
            done += BATCH
        return done

    def warm_up(self) -> None:
        self.feed(max(round(LEAST_WARM_UP * self._scale), WARM_ROUNDS * len(self._ids)))

    def time(self, readings: int) -> float:
        """Seconds per reading."""
        started = time.perf_counter()
        done = self.feed(readings)
        return (time.perf_counter() - started) / done


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
    """Two cases for each number of series, time and memory, as a multiple of those with a thousand."""
    context = multiprocessing.get_context("spawn")
    found = []
    for count in SERIES:
        with ProcessPoolExecutor(1, context) as process:
            asked = process.submit(measure_growth, max(round(count * scale), 20), runs, scale)
            found.append(asked.result())
    flat = found[SERIES.index(FLAT)]
    rows = []
    for one in found:
        for case, value, base, unit in (
            ("time", 1e6 * one.reading_s, 1e6 * flat.reading_s, "us/reading"),
            ("memory", one.rss_bytes, flat.rss_bytes, "bytes/series"),
            ("state", one.state_bytes, flat.state_bytes, "bytes/series"),
        ):
            rows.append(
                Row(
                    case=f"series, {case}", series=one.series, value=round(value, 2), unit=unit,
                    yardstick=f"{flat.series} series", yardstick_value=round(base, 2),
                    ratio=round(value / base, 3), runs=runs if case == "time" else 1, share={},
                )
            )  # fmt: skip
    return rows


def measure_growth(series: int, runs: int, scale: float) -> Growth:
    """In a process of its own."""
    use_one_core()
    Stream(50, scale).feed(BATCH)  # code, and what is there once
    before = _find_resident()
    stream = Stream(series, scale)
    stream.warm_up()
    seconds = [stream.time(max(round(TIMED * scale), BATCH)) for _ in range(runs)]
    after = _find_resident()
    return Growth(
        series=series,
        reading_s=statistics.median(seconds),
        rss_bytes=(after - before) / series,
        state_bytes=float(sum(stream.bank.bytes_per_series().values())),
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
