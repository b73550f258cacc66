"""What the engine and the runner tell whoever watches them.

Everything is told in batches: arrays, or counts by reason. All methods are called from the thread that moves
the readings, so each returns at once, raises nothing and keeps no array that it was given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from forecasters.verdict import Evidence
from pipeline.records import Alert, Float64Array, Int64Array, Profile, Scores, Shown


class Observer(Protocol):
    """The port. Counts are of what is new since the last call, never totals.

    The bodies are not abstract, so that a test double derives and overrides what it listens to.
    """

    # -- partitions --------------------------------------------------------------------------------------

    def on_topic(self, topic: str, partitions: int) -> None:
        """How many partitions the topic has, served by whom ever."""
        return

    def on_assigned(self, topic: str, partition: int) -> None:
        """A shard is this worker's from now on."""
        return

    def on_revoked(self, topic: str, partition: int) -> None:
        """A shard is another's: what was told of its series, lag, checkpoints and alerts no longer holds."""
        return

    def on_lag(self, topic: str, partition: int, records: int) -> None:
        """Records that no forecast has been made from yet, up to the end of the partition."""
        return

    # -- fates of readings -------------------------------------------------------------------------------

    def on_consumed(self, topic: str, partition: int, readings: int, clock_ms: int) -> None:
        """Readings decoded, and the shard clock after them (epoch milliseconds)."""
        return

    def on_lost(self, topic: str, partition: int, records: int) -> None:
        """Records that expired before they were read."""
        return

    def on_masked(self, by_reason: Mapping[str, int]) -> None:
        return

    def on_dropped(self, by_reason: Mapping[str, int]) -> None:
        return

    def on_rejected(self, by_reason: Mapping[str, int]) -> None:
        return

    def on_learned(self, readings: int) -> None:
        """Readings that the forecasters have learnt from."""
        return

    def on_dead_letters_failed(self, messages: int) -> None:
        """Dead letters that could not be written."""
        return

    # -- forecasts and series ----------------------------------------------------------------------------

    def on_wave(self, topic: str, partition: int, scores: Scores) -> None:
        """One wave was scored."""
        return

    def on_series(self, topic: str, partition: int, by_state: Mapping[str, int]) -> None:
        """How many series of the shard are in each state; a state left out has none."""
        return

    def on_series_left(self, topic: str, partition: int, slots: Int64Array) -> None:
        """Series were retired; their slots [N] may be given to others."""
        return

    def on_alerts(self, topic: str, partition: int, alerts: Sequence[Alert]) -> None:
        """Alerts as sent; after a checkpoint was loaded, those that are firing are told with `on_firing`."""
        return

    def on_firing(self, topic: str, partition: int, alerts: Sequence[Alert]) -> None:
        """Episodes that go on from before this worker had the shard: shown, and not counted again."""
        return

    def on_shown_series(self, topic: str, partition: int, profiles: Sequence[Profile]) -> None:
        """Which series of the shard are shown one by one from now on; `on_shown` counts their places."""
        return

    def on_shown(self, topic: str, partition: int, shown: Shown) -> None:
        """Those of a wave."""
        return

    def on_wins(
        self, topic: str, partition: int, pair: tuple[str, str], by_series: Mapping[str, float]
    ) -> None:
        """Relative difference of mean error, first of the pair less second, for the series that the first
        wins or loses by most."""
        return

    def on_cost(self, seconds: Mapping[str, float]) -> None:
        """Time spent in each forecaster since the last call."""
        return

    def on_evidence(self, topic: str, partition: int, evidence: Evidence) -> None:
        """Who forecasts better, as far as the shard knows."""
        return

    def on_champions(self, topic: str, partition: int, by_forecaster: Mapping[str, int]) -> None:
        """How many series of the shard follow each forecaster, where each has its own."""
        return

    # -- work --------------------------------------------------------------------------------------------

    def on_training(
        self, forecaster: str, *, loss: float, norms: Float64Array, applied: int, clipped: int, skipped: int
    ) -> None:
        """Training steps of one forecaster: the last finite loss, the gradient norms [K] before clipping,
        and how many steps were taken as they were, were clipped, or were skipped as not finite."""
        return

    def on_thinned(self, readings: int) -> None:
        """So many readings more were left out of training by `learning.max_rate`."""
        return

    def on_reach(
        self, topic: str, partition: int, forecaster: str, inputs: Float64Array, memory_length: int | None
    ) -> None:
        """Gradient reach of one forecaster by lag [K] from 0, NaN without a gradient; memory_length: the
        largest lag that exceeds a hundredth."""
        return

    def on_stage(self, stage: str, duration_s: float) -> None:
        """One stage of a poll is done: `decode`, `process`, `emit`, `save` or `write` (of a checkpoint)."""
        return

    def on_forecast_latency(self, latency_s: Float64Array) -> None:
        """[N] seconds from a reading's arrival at the broker to its forecast handed over."""
        return

    def on_checkpoint(self, topic: str, partition: int, size_bytes: int) -> None:
        """A checkpoint was written and committed."""
        return

    def on_checkpoint_failed(self, topic: str, partition: int) -> None:
        """A checkpoint could not be written or committed."""
        return


class Unobserved(Observer):
    """Hears everything and does nothing."""
