"""Is data flowing, are the forecasts good, what is firing?"""

from __future__ import annotations

from grafana_foundation_sdk.models import dashboard

from dashboards.boards.board import add_row, begin, choose_step, finish
from dashboards.boards.expressions import MISSES, SKILL, rate_sum
from dashboards.boards.panels import (
    AMBER,
    GREEN,
    RED,
    Line,
    Panel,
    Query,
    draw_lines,
    list_rows,
    show_number,
)
from dashboards.thresholds import Thresholds

SERIES_LINK = "/d/gatecast-series?var-series=${__data.fields.series}&${__url_time_range}"


def build_overview(t: Thresholds) -> dashboard.Dashboard:
    board = begin(
        "gatecast-overview",
        "overview",
        "Is data flowing, are the forecasts good, what is firing? Figures are of all workers together.",
    )
    board.with_variable(choose_step())
    add_row(board, "Is data flowing?", [*_numbers(t), *_flow()])
    add_row(board, "Are the forecasts good?", _quality(t))
    add_row(board, "What is firing?", _alerts())
    return finish(board)


def _numbers(t: Thresholds) -> list[Panel]:
    return [
        show_number(
            "Are workers up?",
            "Workers that Prometheus can scrape. None at all pages after a while (GatecastWorkerAbsent).",
            "none",
            [Query('sum(up{job="gatecast"})', now=True)],
            lines=[Line(1, GREEN)],
            base=RED,
            no_value="no worker",
        ),
        show_number(
            "How many readings per second?",
            "Readings decoded from the topic.",
            "cps",
            [Query(rate_sum("gatecast_readings_consumed_total"))],
            spark=True,
            decimals=0,
        ),
        show_number(
            "How much is waiting?",
            f"Records that no forecast has been made from yet. From {t.lag.records:g} in a partition on, and "
            "not "
            "becoming fewer, somebody is told.",
            "short",
            [Query("sum(max by (topic, partition) (gatecast_consumer_lag_records))")],
            lines=[Line(t.lag.records, RED)],
            base=GREEN,
            spark=True,
            decimals=0,
        ),
        show_number(
            "Partitions that nobody serves",
            "Partitions of the topic less those that workers have. A rebalance takes seconds.",
            "none",
            [
                Query(
                    "sum(max by (topic) (gatecast_topic_partitions) - sum by (topic) "
                    "(gatecast_partitions_assigned))",
                    now=True,
                )
            ],
            lines=[Line(1, RED)],
            base=GREEN,
        ),
        show_number(
            "How long does a forecast take?",
            "From a reading's arrival at the broker to its forecast handed over; 99 of 100 take less. The "
            "goal "
            f"is {t.latency.goal_seconds:g} s.",
            "s",
            [Query("max(gatecast:forecast_latency_seconds:p99)", now=True)],
            lines=[Line(t.latency.goal_seconds, AMBER), Line(t.latency.seconds, RED)],
            base=GREEN,
        ),
        show_number(
            "How old is the oldest checkpoint?",
            "Of the partition saved longest ago. What a crash would have to read again.",
            "s",
            [Query("max(gatecast:checkpoint_age_seconds:max)", now=True)],
            lines=[Line(t.checkpoint_age.seconds, RED)],
            base=GREEN,
            decimals=0,
        ),
    ]


def _flow() -> list[Panel]:
    fates = [
        Query(rate_sum("gatecast_readings_consumed_total"), "consumed"),
        Query(rate_sum("gatecast_readings_learned_total"), "learnt"),
        Query(rate_sum("gatecast_readings_masked_total"), "masked"),
        Query(rate_sum("gatecast_readings_dropped_total"), "dropped"),
        Query(rate_sum("gatecast_readings_rejected_total"), "rejected"),
    ]
    return [
        draw_lines(
            "What becomes of the readings?",
            "Consumed readings are learnt, masked (a step without a usable value), dropped (duplicates, too "
            "late) "
            "or rejected (to the dead letters). A filled gap is masked and was never consumed.",
            "cps",
            fates,
            least=0,
        ),
        draw_lines(
            "How many sensors, in which state?",
            "Cold and warming sensors raise no alert yet; stale ones have fallen silent.",
            "short",
            [Query("sum by (state) (gatecast_series{state!='retired'})", "{{state}}")],
            stacked=True,
            least=0,
            decimals=0,
        ),
    ]


def _quality(t: Thresholds) -> list[Panel]:
    return [
        draw_lines(
            "How much better than the last value are the forecasts?",
            "Skill: 1 - error / error of the last value, so 0 is no better than it. Each sensor weighs the "
            "same.",
            "percentunit",
            [Query(f'{SKILL}{{forecaster!="naive",step="$step"}}', "{{forecaster}}")],
            lines=[Line(t.networks.skill, GREEN)],
            base=RED,
            most=1,
        ),
        draw_lines(
            "Do the intervals hold what they say?",
            "Share of readings outside of their interval over an hour; it should be "
            f"{t.interval_misses.nominal:g}.",
            "percentunit",
            [Query(f'{MISSES}{{step="$step"}}', "{{forecaster}}")],
            lines=[Line(t.interval_misses.low, GREEN), Line(t.interval_misses.high, RED)],
            base=AMBER,
            least=0,
        ),
    ]


def _alerts() -> list[Panel]:
    return [
        list_rows(
            "Which sensors page now?",
            "Episodes that page, with who is to be told. Leads to the sensor.",
            "none",
            [
                Query(
                    "max by (series, kind, severity, site, area, owner) (gatecast_alert_active) == 1",
                    as_table=True,
                )
            ],
            columns={
                "series": "series",
                "kind": "kind",
                "severity": "severity",
                "site": "site",
                "area": "area",
                "owner": "owner",
            },
            link=SERIES_LINK,
        ),
        list_rows(
            "Which rules fire?",
            "Rules on the worker and its models that Prometheus tells Alertmanager of.",
            "none",
            [
                Query(
                    'max by (alertname, severity) (ALERTS{alertname=~"Gatecast.*",'
                    'alertname!="GatecastSensorAlert",alertstate="firing"})',
                    as_table=True,
                )
            ],
            columns={"alertname": "rule", "severity": "severity"},
            width=6,
        ),
        draw_lines(
            "How many episodes began?",
            "In the hour before, by kind. alerts.budget says how many false ones are accepted a day.",
            "short",
            [Query("sum by (kind) (increase(gatecast_alerts_total[1h]))", "{{kind}}")],
            least=0,
            width=6,
            decimals=0,
        ),
    ]
