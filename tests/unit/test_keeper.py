"""What a checkpoint of a worker says about itself."""

from __future__ import annotations

import numpy as np

from forecasters import build
from pipeline.engine.options import ShardOptions
from pipeline.engine.settings import SeriesSettings
from pipeline.engine.shard import Shard
from pipeline.keeper import count_for_manifest
from pipeline.records import Readings


def test_counts_are_those_that_the_list_of_checkpoints_shows() -> None:
    """`gatecast checkpoints list` had a dash where series and readings learnt should stand."""
    shard = Shard(build(["naive"]), ShardOptions(), lambda _: SeriesSettings(cadence_ms=60_000), 0, 1)
    time_ms = np.array([0, 0, 60_000, 60_000], np.int64) + 1_700_000_040_000
    readings = Readings(
        series=("a", "b"),
        series_index=np.array([0, 1, 0, 0], np.int32),
        event_time_ms=time_ms,
        value=np.array([1.0, 2.0, 3.0, 3.0]),
    )
    list(shard.process(readings))
    counts = count_for_manifest(shard)
    assert (counts["series"], counts["readings_learned"], counts["dropped_duplicate"]) == (2, 3, 1)
