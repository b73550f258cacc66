"""Recording rules: figures of the whole fleet, from sums and counts that every worker exports of its shards.

Rules and panels use them by name, so that both mean the same. Sums come first and ratios after: an average of
workers' averages would weigh a worker with three series like one with three thousand.
"""

from __future__ import annotations

from dashboards.alerting.rules import JOB, Group, Record
from dashboards.thresholds import Thresholds


def build_group(t: Thresholds) -> Group:
    return Group(name="gatecast-figures", interval="10s", rules=(*_quality(t), *_training(t), *_running(t)))


def _quality(t: Thresholds) -> tuple[Record, ...]:
    error = "gatecast_forecast_error_over_series"
    window = t.interval_misses.window
    misses = f"sum by (forecaster, step) (rate(gatecast_forecast_interval_misses_total[{window}]))"
    scored = f"sum by (forecaster, step) (rate(gatecast_forecasts_scored_total[{window}]))"
    return (
        Record(
            name="gatecast:forecast_skill:ratio",
            expr=f"1 - sum by (forecaster, step) ({error}) / on (step) group_left () "
            f'sum by (step) ({error}{{forecaster="naive"}} > 0)',
        ),
        Record(
            name="gatecast:forecast_mase:ratio",
            expr=f"sum by (forecaster, step) ({error}) / on (step) group_left () "
            "(sum by (step) (gatecast_forecast_scored_series) > 0)",
        ),
        Record(name="gatecast:forecast_interval_misses:ratio_rate", expr=f"{misses} / ({scored} > 0)"),
    )


def _training(t: Thresholds) -> tuple[Record, ...]:
    steps = f"gatecast_training_steps_total[{t.training_skipped.window}]"
    skipped = steps.replace("[", '{result="skipped"}[')
    norms = f"gatecast_training_gradient_norm_bucket[{t.gradient_norm.window}]"
    return (
        Record(
            name="gatecast:training_skipped:ratio_rate",
            expr=f"sum by (forecaster) (rate({skipped})) / (sum by (forecaster) (rate({steps})) > 0)",
        ),
        Record(
            name="gatecast:training_gradient_norm:p90",
            expr=f"histogram_quantile(0.9, sum by (forecaster, le) (rate({norms})))",
        ),
    )


def _running(t: Thresholds) -> tuple[Record, ...]:
    window = t.rejected.window
    rejected = f"sum by (job) (rate(gatecast_readings_rejected_total[{window}]))"
    consumed = f"sum by (job) (rate(gatecast_readings_consumed_total[{window}]))"
    latency = f"gatecast_forecast_latency_seconds_bucket[{t.latency.window}]"
    return (
        Record(
            name="gatecast:readings_rejected:ratio_rate",
            expr=f"{rejected} / ({rejected} + {consumed} > 0)",
        ),
        Record(
            name="gatecast:readings_consumed:rate",
            expr=f"sum by (topic, partition) (rate(gatecast_readings_consumed_total[{t.stalled.window}]))",
        ),
        Record(
            name="gatecast:consumer_lag_records:max",
            expr="max by (topic, partition) (gatecast_consumer_lag_records)",
        ),
        Record(
            name="gatecast:forecast_latency_seconds:p99",
            expr=f"histogram_quantile(0.99, sum by (job, le) (rate({latency})))",
        ),
        Record(
            name="gatecast:partitions_unserved:count",
            expr="max by (topic) (gatecast_topic_partitions) - sum by (topic) (gatecast_partitions_assigned)",
        ),
        Record(
            name="gatecast:checkpoint_age_seconds:max",
            expr="time() - min by (job) (gatecast_checkpoint_timestamp_seconds)",
        ),
        Record(name="gatecast:workers:count", expr=f'sum by (job) (up{{job="{JOB}"}})'),
    )
