"""RNN against LSTM: who is better, by how much, how surely, on which sensors, and at what cost?"""

from __future__ import annotations

from grafana_foundation_sdk.models import dashboard

from dashboards.boards.board import add_row, begin, choose_step, finish
from dashboards.boards.expressions import (
    MISSES,
    NETS,
    PATH,
    RATE,
    SKILL,
    STEP,
    difference,
    half_width,
    pad,
    quantile,
    verdict,
)
from dashboards.boards.overview import SERIES_LINK
from dashboards.boards.panels import (
    AMBER,
    GREEN,
    GREY,
    LSTM_COLOR,
    RED,
    RNN_COLOR,
    Line,
    Panel,
    Query,
    draw_bars,
    draw_lines,
    draw_states,
    hide_line,
    list_rows,
    shade,
    show_number,
    style,
)
from dashboards.thresholds import Thresholds
from forecasters.verdict import MATERIAL

MARGIN = f"{100 * MATERIAL:g} %"

BOTH = 'forecaster=~"rnn|lstm"'
LEADERS = {1.0: ("LSTM leads", LSTM_COLOR), 0.0: ("undecided", "#808080"), -1.0: ("RNN leads", RNN_COLOR)}
VERDICTS = {
    1.0: ("LSTM is better", LSTM_COLOR),
    -1.0: ("RNN is better", RNN_COLOR),
    0.5: ("No material difference", GREEN),
    0.0: ("Undecided", GREY),
}
REACH = "gatecast_training_gradient_reach_ratio"
STEPS_OF_TRAINING = "gatecast_training_steps_total"
LEAD = "gatecast_comparison_leader"


def build_comparison(t: Thresholds) -> dashboard.Dashboard:
    board = begin(
        "gatecast-comparison",
        "RNN against LSTM",
        "Which of the two networks forecasts these sensors better, and does either beat the last value? "
        "Errors "
        "are in units of each sensor's own scale; a difference below "
        f"{MARGIN} is not worth a change of forecaster.",
        hours=24,
    )
    board.with_variable(choose_step())
    add_row(
        board,
        "RNN or LSTM?",
        [*_verdict(), _by_step(), _over_time(), _leaders(), _against_naive(), _sensors()],
    )
    add_row(board, "On which sensors?", [_wins("LSTM", "bottomk", "<"), _wins("RNN", "topk", ">")])
    add_row(board, "Can the intervals be trusted, and what does it cost?", _intervals(t) + _cost())
    add_row(board, "Why?", _why(t), folded=True)
    return finish(board)


def _verdict() -> list[Panel]:
    return [
        show_number(
            "Which network forecasts better?",
            "Over all steps. Better: the 95 % confidence interval of the difference leaves out zero, and the "
            f"difference is at least {MARGIN}. No material difference: the whole interval lies within "
            "that.",
            "none",
            [Query(verdict(f"{NETS},{PATH}", MATERIAL), now=True)],
            words=VERDICTS,
            no_value="too early to say",
            width=6,
        ),
        show_number(
            "By how much?",
            "Error of the LSTM less that of the RNN, relative, over all steps. Negative: the LSTM misses by "
            "less.",
            "percentunit",
            [Query(difference(f"{NETS},{PATH}"), now=True)],
            decimals=1,
            no_value="nothing compared yet",
        ),
        show_number(
            "How surely?",
            "Half width of the 95 % confidence interval around that difference; it may be watched for ever.",
            "percentunit",
            [Query(half_width(f"{NETS},{PATH}"), now=True)],
            decimals=1,
            no_value="below 20 blocks",
        ),
        show_number(
            "In which share of the partitions is the LSTM ahead?",
            "Each partition has networks of its own with a seed of their own: replications of one "
            "experiment.",
            "percentunit",
            [
                Query(
                    f"avg(gatecast_comparison_mean_difference{{{NETS},{PATH}}} < bool 0)",
                    now=True,
                )
            ],
            decimals=0,
            width=5,
        ),
        show_number(
            "How much better than the last value?",
            "Skill of both over all steps: 1 - error / error of the last value.",
            "percentunit",
            [
                Query("-" + difference(f'a="{name}",b="naive",{PATH}'), name, now=True)
                for name in ("rnn", "lstm")
            ],
            lines=[Line(0, GREEN)],
            base=RED,
            decimals=0,
            width=5,
        ),
    ]


def _by_step() -> Panel:
    middle = f"gatecast_comparison_mean_difference{{{NETS}}}"
    half = f"gatecast_comparison_confidence_half_width{{{NETS}}}"
    return draw_bars(
        "At which horizon does it matter?",
        "Relative error difference LSTM - RNN by step, with the ends of its confidence interval where there "
        f"is one. Beyond {MARGIN} either way (dashed) it is material.",
        "percentunit",
        [
            Query(pad(f"avg by (step) ({part})", "step"), name, as_table=True)
            for part, name in (
                (middle, "difference"),
                (f"{middle} - {half}", "lower"),
                (f"{middle} + {half}", "upper"),
            )
        ],
        by="step",
        names={"Value #A": "difference", "Value #B": "lower end", "Value #C": "upper end"},
        lines=[Line(-MATERIAL, GREEN), Line(MATERIAL, AMBER)],
        base=AMBER,
    )


def _over_time() -> Panel:
    select = f"{NETS},{STEP}"
    return draw_lines(
        "How did the difference settle?",
        "Relative error difference LSTM - RNN at the chosen step, with its 95 % confidence interval. It has "
        "to "
        f"leave zero to be sure, and {MARGIN} (dashed) to matter.",
        "percentunit",
        [
            Query(difference(select), "LSTM - RNN"),
            Query(f"{difference(select)} - {half_width(select)}", "lower end"),
            Query(f"{difference(select)} + {half_width(select)}", "upper end"),
        ],
        lines=[Line(-MATERIAL, GREEN), Line(MATERIAL, AMBER)],
        base=AMBER,
        overrides=[
            ("/^LSTM - RNN$/", style("blue", width=3)),
            ("/^lower end$/", hide_line()),
            ("/^upper end$/", shade("lower end")),
        ],
    )


def _leaders() -> Panel:
    return draw_states(
        "Who leads at which step?",
        "By the confidence sequence, over all partitions together. A leader stays until the mean itself has "
        "turned, so that the name does not flicker.",
        [Query(f"sgn(sum by (step) ({LEAD}{{{NETS}}}))", "{{step}}")],
        LEADERS,
    )


def _against_naive() -> Panel:
    return draw_lines(
        "Does either beat the last value?",
        "Skill at the chosen step: 1 - error / error of the last value, over each sensor's last 1 000 "
        "readings.",
        "percentunit",
        [Query(f'{SKILL}{{forecaster!="naive",{STEP}}}', "{{forecaster}}")],
        lines=[Line(0, GREEN)],
        base=RED,
        most=1,
        height=6,
    )


def _sensors() -> Panel:
    wins = "sum by (a) (gatecast_comparison_series"
    return draw_bars(
        "How many sensors does each do better and worse on than the last value?",
        "At the chosen step, by each sensor's mean error of late; within half a percent it is a tie.",
        "short",
        [
            Query(f'{wins}{{a=~"rnn|lstm|gru",b="naive",{STEP},result="{r}"}})', r, as_table=True)
            for r in ("won", "lost", "tied")
        ],
        by="a",
        names={"Value #A": "better", "Value #B": "worse", "Value #C": "tied"},
        width=24,
        height=6,
    )


def _wins(name: str, pick: str, compare: str) -> Panel:
    metric = f"gatecast_comparison_series_difference{{{NETS}}}"
    return list_rows(
        f"Where does the {name} win by most?",
        f"The ten sensors on which the {name} is furthest ahead, by relative difference of mean error over "
        "all "
        "steps. Leads to the sensor, where it is one of the shown ones.",
        "percentunit",
        [Query(f"{pick}(10, max by (series) ({metric} {compare} 0))", as_table=True)],
        columns={"series": "series", "Value": "LSTM - RNN"},
        sort_by="LSTM - RNN",
        link=SERIES_LINK,
    )


def _intervals(t: Thresholds) -> list[Panel]:
    width = "gatecast_forecast_interval_scaled_width"
    return [
        draw_lines(
            "How often do readings lie outside?",
            f"Share of readings outside of their interval, which should be {t.interval_misses.nominal:g}.",
            "percentunit",
            [Query(f"{MISSES}{{{BOTH},{STEP}}}", "{{forecaster}}")],
            lines=[Line(t.interval_misses.low, GREEN), Line(t.interval_misses.high, RED)],
            base=AMBER,
            least=0,
            width=8,
        ),
        draw_lines(
            "How wide are the intervals?",
            "Mean width, in units of the sensor's own one-step change: at equal coverage narrower is better.",
            "none",
            [
                Query(
                    f"sum by (forecaster) (rate({width}_sum{{{BOTH},{STEP}}}[{RATE}])) / "
                    f"sum by (forecaster) (rate({width}_count{{{BOTH},{STEP}}}[{RATE}]))",
                    "{{forecaster}}",
                )
            ],
            least=0,
            width=8,
        ),
    ]


def _cost() -> list[Panel]:
    return [
        draw_lines(
            "What does a reading cost?",
            "Time spent in each forecaster per reading learnt: forecasting, learning and its share of "
            "scoring.",
            "s",
            [
                Query(
                    f"sum by (forecaster) (rate(gatecast_forecaster_seconds_total{{{BOTH}}}[{RATE}])) / on "
                    "() "
                    f"group_left () sum(rate(gatecast_readings_learned_total[{RATE}]))",
                    "{{forecaster}}",
                )
            ],
            least=0,
            width=8,
        )
    ]


def _why(t: Thresholds) -> list[Panel]:
    return [
        draw_bars(
            "How far back do gradients reach?",
            "Gradient of the newest loss by the input so many readings before, relative to that by the "
            "newest "
            "input: where it falls below a hundredth, the network can't learn from what was before.",
            "percentunit",
            [
                Query(pad(f'avg by (lag) ({REACH}{{forecaster="{name}"}})', "lag"), name, as_table=True)
                for name in ("rnn", "lstm")
            ],
            by="lag",
            names={"Value #A": "rnn", "Value #B": "lstm"},
            lines=[Line(0.01, AMBER)],
            base=RED,
        ),
        show_number(
            "How many readings does memory span?",
            "Largest lag whose gradient reach exceeds a hundredth, mean over partitions.",
            "short",
            [
                Query(
                    "avg by (forecaster) (gatecast_training_memory_length_readings)",
                    "{{forecaster}}",
                    now=True,
                )
            ],
            width=6,
            height=8,
            decimals=0,
        ),
        show_number(
            "How many weights?",
            "Of each network, in each partition.",
            "short",
            [
                Query(
                    f"max by (forecaster) (gatecast_forecaster_parameters{{{BOTH}}})",
                    "{{forecaster}}",
                    now=True,
                )
            ],
            width=6,
            height=8,
        ),
        draw_lines(
            "How large are the gradients?",
            "Norm before clipping: half of the steps and nine tenths of them lie below. Clipping is at 1; "
            "from "
            f"{t.gradient_norm.norm:g} on somebody is told.",
            "none",
            [
                Query(
                    quantile(0.5, "gatecast_training_gradient_norm", "forecaster"), "{{forecaster}}, median"
                ),
                Query("gatecast:training_gradient_norm:p90", "{{forecaster}}, 90 %"),
            ],
            lines=[Line(t.gradient_norm.norm, RED)],
            least=0,
            width=8,
        ),
        draw_lines(
            "Which share of training steps is clipped or skipped?",
            "Clipped: the gradient's norm was above 1. Skipped: loss or gradient was not finite.",
            "percentunit",
            [
                Query(
                    f'sum by (forecaster, result) (rate({STEPS_OF_TRAINING}{{result!="applied"}}[{RATE}])) '
                    "/ on (forecaster) group_left () "
                    f"sum by (forecaster) (rate({STEPS_OF_TRAINING}[{RATE}]))",
                    "{{forecaster}}, {{result}}",
                )
            ],
            least=0,
            most=1,
            width=8,
        ),
        draw_lines(
            "Does the loss fall?",
            "Of the newest training step, Huber, in units of scale; mean over workers.",
            "none",
            [Query("avg by (forecaster) (gatecast_training_loss)", "{{forecaster}}")],
            least=0,
            width=8,
        ),
    ]
