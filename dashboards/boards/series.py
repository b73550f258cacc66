"""One sensor: what it measures, what was expected, and whether it pages."""

from __future__ import annotations

from grafana_foundation_sdk.models import dashboard

from dashboards.boards.board import add_row, begin, choose, finish
from dashboards.boards.panels import (
    AMBER,
    BLEND_COLOR,
    GREEN,
    RED,
    Line,
    Panel,
    Query,
    draw_lines,
    draw_states,
    hide_line,
    list_rows,
    shade,
    show_number,
    style,
)
from dashboards.thresholds import Thresholds
from pipeline.exporters.catalogue import QUALITIES

ONE = 'series="$series"'
SAID = f'{ONE},step="$step"'
NETS = 'forecaster=~"rnn|lstm|gru"'


def build_series(t: Thresholds) -> dashboard.Dashboard:
    board = begin(
        "gatecast-series",
        "sensor",
        "One sensor: its values beside what was forecast some steps before, its score against the page, its "
        "alerts. Only shown sensors have values here: watched ones, those with an alert until 15 minutes "
        "after "
        "it, and the worst.",
        pages_of='series="$series"',
    )
    board.with_variable(choose("series", "Sensor", "label_values(gatecast_series_info, series)", ""))
    board.with_variable(
        choose("step", "Steps ahead", "label_values(gatecast_series_forecast, step)", "1", by_number=True)
    )
    add_row(board, "$series", [*_facts(), _values(), _score(t), _state(), _quality()])
    return finish(board)


def _facts() -> list[Panel]:
    return [
        list_rows(
            "Which sensor is this?",
            "What the series file says of it.",
            "none",
            [
                Query(
                    "max by (series, name, unit, site, area, equipment, owner) "
                    f"(gatecast_series_info{{{ONE}}})",
                    as_table=True,
                )
            ],
            columns={
                "series": "series",
                "name": "name",
                "unit": "unit",
                "site": "site",
                "area": "area",
                "equipment": "equipment",
                "owner": "owner",
            },
            width=16,
            height=4,
        ),
        show_number(
            "How long has it been learnt?",
            "Readings that the forecasters have learnt from; a sensor with few raises no alert.",
            "short",
            [Query(f"max(gatecast_series_readings_learned{{{ONE}}})", now=True)],
            width=4,
        ),
        show_number(
            "What does it measure now?",
            "The last usable value, in the unit of the sensor.",
            "none",
            [Query(f"max(gatecast_series_value{{{ONE}}})")],
            width=4,
            spark=True,
            no_value="not shown",
        ),
    ]


def _values() -> Panel:
    return draw_lines(
        "Is it as expected?",
        "The value, and what was said about it the chosen number of steps before: by both networks, and the "
        "interval of the champion, whom alerts follow.",
        "none",
        [
            Query(f"max(gatecast_series_value{{{ONE}}})", "value"),
            Query(
                f'max by (forecaster) (gatecast_series_forecast{{{SAID},forecaster=~"rnn|lstm|gru"}})',
                "{{forecaster}}",
            ),
            Query(_of_champion("gatecast_series_lower"), "interval from"),
            Query(_of_champion("gatecast_series_upper"), "interval to"),
        ],
        width=24,
        height=11,
        overrides=[
            ("/^value$/", style("text", width=2)),
            ("/^interval from$/", hide_line()),
            ("/^interval to$/", [*style(BLEND_COLOR, width=0), *shade("interval from")]),
        ],
    )


def _of_champion(metric: str) -> str:
    """Only its forecasts: whoever has a champion_series, whatever its number."""
    return f"max(max by (forecaster) ({metric}{{{SAID}}}) and on (forecaster) gatecast_champion_series)"


def _score(t: Thresholds) -> Panel:
    return draw_lines(
        "How unusual is it?",
        f"From {t.score.page:g} on an episode pages, from {t.score.note:g} on it stands in the alerts topic. "
        "The "
        "score is 1 where readings so unusual use up the budget of false alarms.",
        "none",
        [Query(f"max(gatecast_series_score{{{ONE}}})", "score")],
        lines=[Line(t.score.note, AMBER), Line(t.score.page, RED)],
        base=GREEN,
        least=0,
        width=24,
        height=6,
    )


def _state() -> Panel:
    return draw_states(
        "When did it page?",
        "Episodes by kind. An episode goes on until it has been quiet for a while.",
        [Query(f"max by (kind) (gatecast_alert_active{{{ONE}}})", "{{kind}}")],
        {1.0: ("pages", "red")},
    )


def _quality() -> Panel:
    words = {1.0: ("yes", "blue"), 0.0: (" ", "transparent")}
    return draw_states(
        "What came in?",
        "Whether the newest step was a good reading, or why it is masked: " + ", ".join(QUALITIES[1:]) + ".",
        [Query(f"max by (quality) (gatecast_series_quality{{{ONE}}})", "{{quality}}")],
        words,
    )
