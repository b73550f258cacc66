"""What a series costs in memory, as the process has it: all that a worker holds of it beside Kafka's buffers.

    python -m tests.bench.memory --series 10000 --json memory.json

Feeds simulated sensors through the shards of a worker with the defaults, and scores to the metrics. First
a few series to each shard, so that code, weights and buffers are there; then all, a tenth of them after the
other. A series costs the difference in resident memory over the difference in series. By part:

- the fields of state by component, as `gatecast config check` prints them;
- `room`: places that are there already for the next series;
- `rest`: ids and tables of the engine, the exporter's arrays, and what the allocator does not give back.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from prometheus_client import CollectorRegistry

from pipeline.app import build_bank, read_shard_options
from pipeline.benches.rows import commit, machine
from pipeline.config import Config
from pipeline.engine.settings import SeriesSettings
from pipeline.engine.shard import Shard
from pipeline.exporters.prometheus import MetricsExporter
from pipeline.heap import give_back
from pipeline.issued import Selection, find_scores
from pipeline.records import Readings
from tests.bench.soak import find_rss

FIRST = 64
"""Series of each shard at the first look."""
STEPS = 64
"""Of each series: the first chunks were trained with all their targets, and every array is in use."""
COHORTS = 10
"""Added at once, they would find their room exactly."""
CADENCE_MS = 60_000
START_MS = 1_795_415_863_000
LIMIT_BYTES = 32_000


class Shards:
    """Those of a worker, with what comes after them."""

    def __init__(self, partitions: int) -> None:
        config = Config.model_validate({"kafka": {"bootstrap": ("none:0",)}})
        options = read_shard_options(config)
        self.shards = [
            Shard(build_bank(config, seed), options, lambda _: SeriesSettings(), seed, partitions)
            for seed in range(partitions)
        ]
        bank = self.shards[0].bank
        self._selection = Selection(bank.names, config.sent_forecasters)
        self._metrics = MetricsExporter(
            CollectorRegistry(), forecasters=bank.names, scored_steps=bank.scored, trained=bank.nets,
            topics=("readings",), software={"version": "0", "python": "3", "torch": torch.__version__},
        )  # fmt: skip
        for number in range(partitions):
            self._metrics.on_assigned("readings", number)

    def feed(self, first: int, series: int) -> None:
        """`STEPS` readings of each of the series from `first` on, in the order of time."""
        for number, shard in enumerate(self.shards):
            names = [
                f"plant/area {k % 7}/TI-{k:06d}"
                for k in range(first, series)
                if k % len(self.shards) == number
            ]
            levels = np.random.default_rng(number).normal(50, 20, len(names))
            for step in range(STEPS):
                self._process(number, shard, tuple(names), step, levels)

    def _process(
        self, number: int, shard: Shard[Any], names: tuple[str, ...], step: int, levels: np.ndarray
    ) -> None:
        noise = np.random.default_rng((number, step)).normal(size=len(names))
        time_ms = np.full(len(names), START_MS + step * CADENCE_MS)
        readings = Readings(
            series=names, series_index=np.arange(len(names), dtype=np.int32), event_time_ms=time_ms,
            value=levels + np.sin(step / 5) + noise, clock_ms=time_ms,
        )  # fmt: skip
        for outcome in shard.process(readings):
            if outcome.stepped is not None:
                self._selection.take(outcome.stepped)
                self._metrics.on_wave("readings", number, find_scores(outcome.stepped.wave))


def measure(series: int, partitions: int) -> dict[str, Any]:
    shards = Shards(partitions)
    first = FIRST * partitions
    shards.feed(0, first)
    before = find_resident()
    starts = np.linspace(first, series, COHORTS + 1).astype(int).tolist()
    for start, stop in itertools.pairwise(starts):
        shards.feed(start, stop)
    after = find_resident()
    per_series = (after - before) / (series - first)
    banks = [shard.bank for shard in shards.shards]
    parts: dict[str, float] = dict(banks[0].bytes_per_series())
    state = sum(parts.values())
    parts["room"] = state * (sum(bank.capacity for bank in banks) / series - 1.0)
    parts["rest"] = per_series - sum(parts.values())
    return {
        "version": 1,
        "machine": machine(),
        "commit": commit(),
        "series": series,
        "partitions": partitions,
        "rss_bytes": {"first": before, "all": after},
        "bytes_per_series": round(per_series),
        "limit": LIMIT_BYTES,
        "state_bytes_per_series": state,
        "parts": {name: round(size) for name, size in parts.items()},
    }


def find_resident() -> int:
    gc.collect()
    give_back()  # as a worker does after each checkpoint
    return find_rss(os.getpid())


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--series", type=int, default=10_000)
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    report = measure(options.series, options.partitions)
    for name, size in report["parts"].items():
        print(f"{name:<28}{size:>8,}")
    print(f"{'all':<28}{report['bytes_per_series']:>8,} bytes a series (at most {LIMIT_BYTES:,})")
    if options.json is not None:
        options.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
