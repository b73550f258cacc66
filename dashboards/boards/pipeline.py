"""How the workers do: rates, what waits, fates, times, checkpoints, memory."""

from __future__ import annotations

from grafana_foundation_sdk.models import dashboard

from dashboards.boards.board import add_row, begin, finish
from dashboards.boards.expressions import RATE, quantile, rate_sum
from dashboards.boards.panels import AMBER, RED, Line, Panel, Query, draw_lines
from dashboards.thresholds import Thresholds

JOB = 'job="gatecast"'


def build_pipeline(t: Thresholds) -> dashboard.Dashboard:
    board = begin(
        "gatecast-pipeline",
        "pipeline",
        "How the workers do: what they read and what becomes of it, what waits, how long it takes, "
        "checkpoints, "
        "memory.",
    )
    add_row(board, "Do they keep up?", _keeping_up(t))
    add_row(board, "What becomes of the readings?", _fates())
    add_row(board, "Where does the time go?", _times(t))
    add_row(board, "What would a crash cost, and what do they use?", _state(t))
    return finish(board)


def _keeping_up(t: Thresholds) -> list[Panel]:
    return [
        draw_lines(
            "How much is read, by partition?",
            "Readings decoded. Series are spread by their id: partitions should be alike.",
            "cps",
            [
                Query(
                    rate_sum("gatecast_readings_consumed_total", "topic, partition"),
                    "{{topic}}/{{partition}}",
                )
            ],
            stacked=True,
            least=0,
            width=8,
        ),
        draw_lines(
            "How much waits, by partition?",
            f"Records without a forecast yet. From {t.lag.records:g} on, and not becoming fewer, somebody is "
            "told.",
            "short",
            [Query("max by (topic, partition) (gatecast_consumer_lag_records)", "{{topic}}/{{partition}}")],
            lines=[Line(t.lag.records, RED)],
            least=0,
            width=8,
        ),
        draw_lines(
            "Who serves how many partitions?",
            "By worker; together they should be all there are.",
            "none",
            [
                Query("gatecast_partitions_assigned", "{{instance}}"),
                Query("sum(max by (topic) (gatecast_topic_partitions))", "all there are"),
            ],
            least=0,
            width=8,
            decimals=0,
        ),
    ]


def _fates() -> list[Panel]:
    parts = (
        ("masked", "Steps of the grid without a usable value: neither scored nor learnt."),
        ("dropped", "Duplicates, readings that come too late, tombstones."),
        ("rejected", "What can't be decoded or placed; it lies in the dead-letter topic with its reason."),
    )
    panels = [
        draw_lines(
            f"What is {fate}, and why?",
            text,
            "cps",
            [Query(rate_sum(f"gatecast_readings_{fate}_total", "reason"), "{{reason}}")],
            least=0,
            width=6,
        )
        for fate, text in parts
    ]
    lost = draw_lines(
        "Is anything lost?",
        "Records that expired before they were read, dead letters that could not be written, and episodes "
        "beyond "
        "the 500 that are shown. All of these should stand still.",
        "short",
        [
            Query("sum(increase(gatecast_readings_lost_total[5m]))", "readings lost"),
            Query("sum(increase(gatecast_dead_letters_failed_total[5m]))", "dead letters lost"),
            Query("sum(increase(gatecast_alerts_dropped_total[5m]))", "episodes not shown"),
            Query("sum(increase(gatecast_forecasts_replaced_total[5m]))", "forecasts replaced"),
        ],
        least=0,
        width=6,
    )
    return [*panels, lost]


def _times(t: Thresholds) -> list[Panel]:
    return [
        draw_lines(
            "How long do forecasts take?",
            "From a reading's arrival at the broker to its forecast handed over.",
            "s",
            [
                Query(quantile(share, "gatecast_forecast_latency_seconds"), f"{share:.1%}")
                for share in (0.5, 0.99, 0.999)
            ],
            lines=[Line(t.latency.goal_seconds, AMBER), Line(t.latency.seconds, RED)],
            least=0,
            width=8,
        ),
        draw_lines(
            "How is a worker's time spent?",
            "Share of one core by stage, all workers together: at 1 for each worker they can't keep up.",
            "percentunit",
            [Query(f"sum by (stage) (rate(gatecast_stage_duration_seconds_sum[{RATE}]))", "{{stage}}")],
            stacked=True,
            least=0,
            width=8,
        ),
        draw_lines(
            "How long does a stage take?",
            "99 of 100 polls, or checkpoints, take less.",
            "s",
            [Query(quantile(0.99, "gatecast_stage_duration_seconds", "stage"), "{{stage}}")],
            least=0,
            width=8,
        ),
    ]


def _state(t: Thresholds) -> list[Panel]:
    return [
        draw_lines(
            "How old is the oldest checkpoint?",
            "By worker: of its partition that was saved longest ago.",
            "s",
            [Query("time() - gatecast_checkpoint_timestamp_seconds", "{{instance}}")],
            lines=[Line(t.checkpoint_age.seconds, RED)],
            least=0,
            width=6,
        ),
        draw_lines(
            "Do checkpoints fail?",
            "Attempted, and failed; a failed one is tried again, learning goes on.",
            "short",
            [
                Query("sum(increase(gatecast_checkpoints_total[5m]))", "attempted"),
                Query("sum(increase(gatecast_checkpoint_failures_total[5m]))", "failed"),
            ],
            least=0,
            width=6,
        ),
        draw_lines(
            "How much memory do they use?",
            "Of the process, of the newest checkpoints together, and of a GPU where there is one.",
            "bytes",
            [
                Query(f"process_resident_memory_bytes{{{JOB}}}", "{{instance}}"),
                Query("sum(gatecast_checkpoint_bytes)", "checkpoints"),
                Query("gatecast_device_memory_bytes", "{{instance}}, {{device}}"),
            ],
            least=0,
            width=6,
        ),
        draw_lines(
            "How busy are they?",
            "Cores in use. A worker learns on one core; loading and writing use others now and then.",
            "none",
            [Query(f"rate(process_cpu_seconds_total{{{JOB}}}[{RATE}])", "{{instance}}")],
            least=0,
            width=6,
        ),
    ]
