"""The series of a worker as values for the HTTP port; made when asked for, in a thread of the server."""

from __future__ import annotations

from pipeline.runner import Runner


class SeriesList:
    """Reads the shards while the runner changes them: figures of one answer may be a poll apart."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def all(self) -> object:
        """Partitions with their series' ids and counts by state."""
        partitions = []
        for partition, holding in list(self._runner.holdings.items()):
            if holding.loaded is None:
                continue
            shard = holding.shard
            partitions.append(
                {
                    "topic": partition.topic,
                    "partition": partition.partition,
                    "states": shard.count_states(),
                    "series": sorted(shard.list_series()),
                }
            )
        return {"version": 1, "partitions": partitions}

    def one(self, series: str) -> object | None:
        """What is known of one series, None where no shard of this worker has it."""
        for partition, holding in list(self._runner.holdings.items()):
            found = None if holding.loaded is None else holding.shard.describe(series)
            if found is not None:
                return {"version": 1, "topic": partition.topic, "partition": partition.partition, **found}
        return None
