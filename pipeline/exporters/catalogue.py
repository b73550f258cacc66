"""Every metric that a worker exports, declared once: name, kind, help, labels, known label values, buckets.

Names and labels are a contract. Here stands what is fed; the contract's metrics of parts that don't exist
yet come with them. Names follow https://prometheus.io/docs/practices/naming.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

PREFIX = "gatecast_"

MASKED = ("missing", "bad_quality", "out_of_range", "gap", "off")
DROPPED = ("duplicate", "late", "merged", "tombstone")
REJECTED = (
    "not_decodable", "wrong_type", "no_series", "bad_series", "no_time", "bad_time", "too_large",
    "too_many_readings", "too_many_series", "too_far_ahead", "misplaced",
)  # fmt: skip
SIDES = ("below", "above")
SERIES_STATES = ("cold", "warming", "live", "stale", "retired")
ALERT_KINDS = ("anomaly", "silent", "stuck", "bad_quality", "out_of_range")
STAGES = ("decode", "process", "emit", "save", "write")
COMPARISON_RESULTS = ("won", "lost", "tied")
QUALITIES = ("good", "missing", "bad_quality", "out_of_range", "off", "gap")
"""Of a step, in the order of the engine's faults."""
TRAINING_RESULTS = ("applied", "clipped", "skipped")

ERROR_EXPONENTS = (-5, 6)
"""Powers of two that bound the buckets of scaled errors: 1/32 … 64. A new bucket where an error doubles tells
a good forecaster from a bad one and a jump from a drift, and finding it costs a shift of the float's bits."""
ERROR_BUCKETS = tuple(2.0**e for e in range(ERROR_EXPONENTS[0], ERROR_EXPONENTS[1] + 1))
SECONDS_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""250 ms, the goal for the 99th percentile of latency, is one of them."""
LATENCY_BUCKETS = (*SECONDS_BUCKETS, 30.0, 60.0, 300.0)
"""After an outage the backlog is minutes old."""
NORM_BUCKETS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 1000.0)
"""1 is where gradients are clipped by default."""


_PAIR = ("a", "b", "step", "topic", "partition")
_FORECAST = ("series", "forecaster", "step")
_EPISODE = ("series", "kind")


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric family. `known` has the values of closed labels, which start at 0.

    Labels without known values (topic, partition) get theirs from what is told; forecasters and steps are
    known once the exporter is built.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram", "summary"]
    help: str
    labels: tuple[str, ...] = ()
    known: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    buckets: tuple[float, ...] = ()


def _metric(
    kind: Literal["counter", "gauge", "histogram", "summary"],
    name: str,
    text: str,
    /,  # a label may be called kind
    *labels: str,
    buckets: tuple[float, ...] = (),
    **known: tuple[str, ...],
) -> Metric:
    return Metric(
        name=PREFIX + name, kind=kind, help=text, labels=labels + tuple(known), known=known, buckets=buckets
    )


READINGS_CONSUMED = _metric(
    "counter", "readings_consumed_total", "Readings decoded from the topic.", "topic", "partition"
)
READINGS_MASKED = _metric(
    "counter",
    "readings_masked_total",
    "Steps of the grid without a usable value: neither scored nor learnt.",
    reason=MASKED,
)
READINGS_DROPPED = _metric(
    "counter", "readings_dropped_total", "Readings that were left out, such as duplicates.", reason=DROPPED
)
READINGS_REJECTED = _metric(
    "counter",
    "readings_rejected_total",
    "Readings or messages that could not be decoded or placed; they go to the dead-letter topic.",
    reason=REJECTED,
)
READINGS_LOST = _metric(
    "counter",
    "readings_lost_total",
    "Records that the broker deleted before they were read.",
    "topic",
    "partition",
)
READINGS_LEARNED = _metric(
    "counter", "readings_learned_total", "Readings that the forecasters have learnt from."
)
DEAD_LETTERS_FAILED = _metric(
    "counter", "dead_letters_failed_total", "Dead letters that could not be written to their topic."
)

FORECASTS_SCORED = _metric(
    "counter",
    "forecasts_scored_total",
    "Forecasts compared with the reading that they were for.",
    "forecaster",
    "step",
)
FORECASTS_REPLACED = _metric(
    "counter",
    "forecasts_replaced_total",
    "Forecasts replaced by naive, being not finite or far beyond the range observed.",
    "forecaster",
)
ERROR_OVER_SERIES = _metric(
    "gauge",
    "forecast_error_over_series",
    "Sum over series of each one's mean absolute error over its last 1 000 readings or so (exponential), in "
    "units of its naive one-step error. Divided by gatecast_forecast_scored_series it is MASE.",
    "forecaster",
    "step",
)
SCORED_SERIES = _metric(
    "gauge",
    "forecast_scored_series",
    "Series that gatecast_forecast_error_over_series is the sum over.",
    "step",
)
INTERVAL_MISSES = _metric(
    "counter",
    "forecast_interval_misses_total",
    "Scored forecasts whose reading lay below or above their interval.",
    "forecaster",
    "step",
    side=SIDES,
)
INTERVAL_WIDTH = _metric(
    "summary",
    "forecast_interval_scaled_width",
    "Width of the intervals of scored forecasts, in units of the series' naive one-step error.",
    "forecaster",
    "step",
)
SCALED_ERROR = _metric(
    "histogram",
    "forecast_scaled_error",
    "Absolute error of scored forecasts, in units of the series' naive one-step error.",
    "forecaster",
    "step",
    buckets=ERROR_BUCKETS,
)

COMPARISON_SERIES = _metric(
    "gauge",
    "comparison_series",
    "Series of which a has the lower mean error (won), b has (lost), or both the same within half a percent.",
    "a",
    "b",
    "step",
    result=COMPARISON_RESULTS,
)
COMPARISON_DIFFERENCE = _metric(
    "gauge",
    "comparison_mean_difference",
    "Mean error of a less that of b, as a share of the error of b: -0.03 says that a misses by 3 % less. "
    "Step path is the mean over all steps.",
    *_PAIR,
)
COMPARISON_ERROR = _metric(
    "gauge",
    "comparison_standard_error",
    "Standard error of gatecast_comparison_mean_difference, from block means; absent below two blocks.",
    *_PAIR,
)
COMPARISON_MARGIN = _metric(
    "gauge",
    "comparison_confidence_half_width",
    "Half width of the 95 % confidence sequence around gatecast_comparison_mean_difference, which may be "
    "watched for ever; absent below 20 blocks.",
    *_PAIR,
)
COMPARISON_STATISTIC = _metric(
    "gauge",
    "comparison_dm_statistic",
    "Diebold-Mariano statistic of a against b over a sliding window, negative where a is better; absent "
    "until the window is full.",
    *_PAIR,
)
COMPARISON_LEADER = _metric(
    "gauge",
    "comparison_leader",
    "Who leads by the confidence sequence: 1 for a, -1 for b, 0 while it is undecided.",
    *_PAIR,
)
COMPARISON_SERIES_DIFFERENCE = _metric(
    "gauge",
    "comparison_series_difference",
    "Mean error of a less that of b over all steps, as a share of the error of b, for the ten series that a "
    "wins by most and the ten that it loses by most.",
    "a",
    "b",
    "series",
)
CHAMPION_SERIES = _metric(
    "gauge", "champion_series", "Series whose alerts follow this forecaster.", "forecaster"
)

SERIES = _metric("gauge", "series", "Series of the assigned partitions by state.", state=SERIES_STATES)
ALERT_ACTIVE = _metric(
    "gauge",
    "alert_active",
    "1 while an episode pages, for three minutes at least; 500 series and kinds at most.",
    "site", "area", "owner", "severity", "series", "kind",
)  # fmt: skip
ALERT_INFO = _metric(
    "gauge",
    "alert_info",
    "1; what the series file says of a series with an episode in gatecast_alert_active. This and the other "
    "details are there of the first 100 episodes.",
    *_EPISODE,
    "name",
    "unit",
)
ALERT_STARTED = _metric(
    "gauge",
    "alert_started_timestamp_seconds",
    "When an episode began, by the time of the readings.",
    *_EPISODE,
)
ALERT_ENDED = _metric(
    "gauge",
    "alert_ended_timestamp_seconds",
    "When and how an episode ended, while gatecast_alert_active still shows it: for a minute at least.",
    *_EPISODE,
    "resolution",
)
ALERT_VALUE = _metric(
    "gauge", "alert_value", "Value with which an episode began, in the unit of the series.", *_EPISODE
)
ALERT_EXPECTED = _metric("gauge", "alert_expected", "What the champion had said about it.", *_EPISODE)
ALERT_LOWER = _metric("gauge", "alert_lower", "Lower end of what was expected or allowed.", *_EPISODE)
ALERT_UPPER = _metric("gauge", "alert_upper", "Upper end of what was expected or allowed.", *_EPISODE)
ALERT_SCORE = _metric("gauge", "alert_score", "Score with which an episode began; 1.0 pages.", *_EPISODE)
ALERT_LEARNED = _metric(
    "gauge",
    "alert_readings_learned",
    "Readings of the series that the forecasters had learnt when its episode began.",
    *_EPISODE,
)
ALERTS = _metric("counter", "alerts_total", "Episodes that began to page.", kind=ALERT_KINDS)
ALERTS_DROPPED = _metric(
    "counter",
    "alerts_dropped_total",
    "Paging episodes left out of gatecast_alert_active: more than 500.",
)

TRAINING_LOSS = _metric(
    "gauge", "training_loss", "Loss of the newest training step with a finite one.", "forecaster"
)
GRADIENT_NORM = _metric(
    "histogram",
    "training_gradient_norm",
    "Norm of the gradient of a training step, before it is clipped.",
    "forecaster",
    buckets=NORM_BUCKETS,
)
TRAINING_STEPS = _metric(
    "counter",
    "training_steps_total",
    "Training steps: taken as they were, clipped and taken, or skipped as loss or gradient was not finite.",
    "forecaster",
    result=TRAINING_RESULTS,
)

TRAINING_THINNED = _metric(
    "counter",
    "training_thinned_total",
    "Readings that the networks were not trained on because more came than learning.max_rate.",
)

FORECASTER_SECONDS = _metric(
    "counter",
    "forecaster_seconds_total",
    "Time spent in a forecaster: forecasting, learning and its share of scoring; on a GPU, time to launch.",
    "forecaster",
)
FORECASTER_PARAMETERS = _metric(
    "gauge", "forecaster_parameters", "Weights of a forecaster in each partition.", "forecaster"
)
GRADIENT_REACH = _metric(
    "gauge",
    "training_gradient_reach_ratio",
    "Gradient of the last step's loss by the input so many readings before, as a share of that by the newest "
    "input: median over series, mean over partitions.",
    "forecaster",
    "lag",
)
MEMORY_LENGTH = _metric(
    "gauge",
    "training_memory_length_readings",
    "Largest lag whose gradient reach exceeds 0.01; the last lag where the stretch was too short to tell.",
    "forecaster",
)

SERIES_INFO = _metric(
    "gauge",
    "series_info",
    "1; what the series file says of a series that has values of its own here.",
    "series", "name", "unit", "site", "area", "equipment", "owner",
)  # fmt: skip
SERIES_VALUE = _metric("gauge", "series_value", "Last usable value, in the unit of the series.", "series")
SERIES_FORECAST = _metric(
    "gauge", "series_forecast", "What was said so many steps ago about the newest step.", *_FORECAST
)
SERIES_LOWER = _metric("gauge", "series_lower", "Lower end of that forecast's interval.", *_FORECAST)
SERIES_UPPER = _metric("gauge", "series_upper", "Upper end of that forecast's interval.", *_FORECAST)
SERIES_SCORE = _metric(
    "gauge", "series_score", "How unusual the newest reading is: from 1.0 on it pages.", "series"
)
SERIES_LEARNED = _metric(
    "gauge", "series_readings_learned", "Readings that the forecasters have learnt of the series.", "series"
)
SERIES_QUALITY = _metric(
    "gauge",
    "series_quality",
    "1 for what the newest step was: good, or why it is masked.",
    "series",
    quality=QUALITIES,
)

STAGE_DURATION = _metric(
    "histogram",
    "stage_duration_seconds",
    "Time that one stage takes for one poll, or for one checkpoint.",
    stage=STAGES,
    buckets=SECONDS_BUCKETS,
)
FORECAST_LATENCY = _metric(
    "histogram",
    "forecast_latency_seconds",
    "Time from a reading's arrival at the broker to its forecast handed over.",
    buckets=LATENCY_BUCKETS,
)
CONSUMER_LAG = _metric(
    "gauge",
    "consumer_lag_records",
    "Records of an assigned partition that no forecast has been made from yet.",
    "topic",
    "partition",
)
PARTITIONS_ASSIGNED = _metric("gauge", "partitions_assigned", "Partitions that this worker serves.", "topic")
TOPIC_PARTITIONS = _metric("gauge", "topic_partitions", "Partitions that the topic has.", "topic")
LAST_READING = _metric(
    "gauge",
    "last_reading_timestamp_seconds",
    "Broker timestamp of the newest reading consumed; absent before the first.",
)
CHECKPOINT_TIMESTAMP = _metric(
    "gauge",
    "checkpoint_timestamp_seconds",
    "When the assigned partition with the oldest checkpoint was last saved, or else assigned; absent without "
    "partitions.",
)
CHECKPOINT_BYTES = _metric(
    "gauge", "checkpoint_bytes", "Size of the newest checkpoints of the assigned partitions together."
)
CHECKPOINTS = _metric("counter", "checkpoints_total", "Checkpoints attempted, failed ones included.")
CHECKPOINT_FAILURES = _metric(
    "counter", "checkpoint_failures_total", "Checkpoints that could not be written or committed."
)
BUILD_INFO = _metric(
    "gauge", "build_info", "1; the labels say which software runs.", "version", "python", "torch"
)
DEVICE_MEMORY = _metric("gauge", "device_memory_bytes", "Memory in use on a GPU by this worker.", "device")

CATALOGUE: tuple[Metric, ...] = tuple(
    value for value in list(globals().values()) if isinstance(value, Metric)
)
