"""Panels in one manner: a title that asks or states, a description, a unit, something sensible when empty.

Only options that Grafana 9.4 (schema 37) knows as well as 11 to 13.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from grafana_foundation_sdk.builders import (
    barchart,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.builders import (
    common as common_builders,
)
from grafana_foundation_sdk.builders import (
    dashboard as dashboards,
)
from grafana_foundation_sdk.models import common, dashboard
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

DATASOURCE = common.DataSourceRef(type_val="prometheus", uid="${datasource}")
NOTHING_YET = "nothing yet"
GREEN, AMBER, RED, GREY = "green", "orange", "red", "text"
RNN_COLOR, LSTM_COLOR, NAIVE_COLOR, BLEND_COLOR, LINEAR_COLOR = (
    "#E69F00", "#0072B2", "#7F7F7F", "#009E73", "#CC79A7",
)  # fmt: skip
"""Of Okabe and Ito, told apart by colour-blind people too; the dashes tell them apart in print."""
COLORS = {
    "rnn": RNN_COLOR, "lstm": LSTM_COLOR, "naive": NAIVE_COLOR, "seasonal_naive": "#A0A0A0",
    "linear": LINEAR_COLOR, "blend": BLEND_COLOR, "gru": "#56B4E9",
}  # fmt: skip
DASHES: Mapping[str, list[float]] = {"rnn": [10, 6], "naive": [2, 6], "seasonal_naive": [2, 10]}

Panel = timeseries.Panel | stat.Panel | table.Panel | barchart.Panel | statetimeline.Panel


@dataclass(frozen=True, slots=True)
class Query:
    """A PromQL expression and what its lines are called, such as `{{forecaster}}`.

    now: evaluated once, at the end of the time range, for tables and single numbers.
    """

    expr: str
    legend: str = ""
    now: bool = False
    as_table: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """A threshold: from this value on, this colour."""

    value: float
    color: str


def draw_lines(
    title: str,
    description: str,
    unit: str,
    queries: Sequence[Query],
    *,
    width: int = 12,
    height: int = 8,
    lines: Sequence[Line] = (),
    base: str = GREEN,
    stacked: bool = False,
    least: float | None = None,
    most: float | None = None,
    decimals: int | None = None,
    overrides: Sequence[tuple[str, list[dashboard.DynamicConfigValue]]] = (),
) -> timeseries.Panel:
    """Values over time. lines: drawn dashed, coloured as in the rules."""
    panel = (
        timeseries.Panel()
        .legend(_legend(is_shown=True))
        .tooltip(common_builders.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI))
        .line_width(2)
        .fill_opacity(20 if stacked else 0)
        .show_points(common.VisibilityMode.NEVER)
        .span_nulls(False)
        .thresholds(_thresholds(lines, base))
    )
    if stacked:
        panel.stacking(common_builders.StackingConfig().mode(common.StackingMode.NORMAL))
    if lines:
        panel.thresholds_style(_dashed())
    if least is not None:
        panel.min(least)
    if most is not None:
        panel.max(most)
    for name, properties in (*_forecaster_overrides(), *overrides):
        panel.override_by_regexp(name, properties)
    if decimals is not None:
        panel.decimals(decimals)
    _fill(panel, title, description, unit, queries, width, height)
    return panel


def show_number(
    title: str,
    description: str,
    unit: str,
    queries: Sequence[Query],
    *,
    width: int = 4,
    height: int = 4,
    lines: Sequence[Line] = (),
    base: str = GREY,
    words: Mapping[float, tuple[str, str]] | None = None,
    no_value: str = NOTHING_YET,
    decimals: int | None = None,
    spark: bool = False,
) -> stat.Panel:
    """One number, or a word for each value that it takes. words: text and colour by value."""
    panel = (
        stat.Panel()
        .graph_mode(common.BigValueGraphMode.AREA if spark else common.BigValueGraphMode.NONE)
        .color_mode(common.BigValueColorMode.VALUE)
        .text_mode(common.BigValueTextMode.AUTO)
        .reduce_options(common_builders.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        .thresholds(_thresholds(lines, base))
        .no_value(no_value)
    )
    if words:
        panel.mappings([_map_words(words)])
    if decimals is not None:
        panel.decimals(decimals)
    _fill(panel, title, description, unit, queries, width, height)
    return panel


def list_rows(
    title: str,
    description: str,
    unit: str,
    queries: Sequence[Query],
    *,
    columns: Mapping[str, str],
    sort_by: str | None = None,
    link: str | None = None,
    width: int = 12,
    height: int = 8,
) -> table.Panel:
    """Instant values as rows. columns: labels that are shown, in order, and what they are called; `Value` is
    the number. link: where the series column leads, with `${__data.fields.series}`."""
    panel = (
        table.Panel()
        .show_header(True)
        .with_transformation(_transform("filterFieldsByName", include={"names": list(columns)}))
        .with_transformation(
            _transform(
                "organize",
                excludeByName={},
                indexByName={name: place for place, name in enumerate(columns)},
                renameByName={name: said for name, said in columns.items() if name != said},
            )
        )
        .no_value("none")
        .thresholds(_thresholds((), GREY))
    )
    if sort_by is not None:
        panel.sort_by([common_builders.TableSortByFieldState().display_name(sort_by).desc(True)])
    if link is not None:
        series = columns.get("series", "series")
        links = [{"title": "Open the sensor", "url": link, "targetBlank": False}]
        panel.override_by_name(series, [_property("links", links)])
    _fill(panel, title, description, unit, queries, width, height)
    return panel


def draw_bars(
    title: str,
    description: str,
    unit: str,
    queries: Sequence[Query],
    *,
    by: str,
    width: int = 12,
    height: int = 8,
    lines: Sequence[Line] = (),
    base: str = GREEN,
    names: Mapping[str, str] | None = None,
) -> barchart.Panel:
    """Instant values as bars, by the values of one label. names: what the value columns are called."""
    panel = (
        barchart.Panel()
        .orientation(common.VizOrientation.VERTICAL)
        .show_value(common.VisibilityMode.AUTO)
        .legend(_legend(is_shown=True))
        .tooltip(common_builders.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI))
        .thresholds(_thresholds(lines, base))
        .with_transformation(_transform("joinByField", byField=by, mode="outer"))
        .with_transformation(
            _transform(
                "organize",
                excludeByName={"Time": True, **{f"Time {k}": True for k in range(1, 9)}},
                indexByName={by: 0},
                renameByName=dict(names or {}),
            )
        )
        .with_transformation(_transform("sortBy", fields={}, sort=[{"field": by}]))
        .no_value(NOTHING_YET)
    )
    if lines:
        panel.thresholds_style(_dashed())
    for name, properties in _forecaster_overrides(dashes=False):
        panel.override_by_regexp(name, properties)
    _fill(panel, title, description, unit, queries, width, height)
    return panel


def draw_states(
    title: str,
    description: str,
    queries: Sequence[Query],
    words: Mapping[float, tuple[str, str]],
    *,
    width: int = 12,
    height: int = 6,
) -> statetimeline.Panel:
    """States over time, with a word and a colour for each value."""
    panel = (
        statetimeline.Panel()
        .merge_values(True)
        .show_value(common.VisibilityMode.AUTO)
        .row_height(0.8)
        .fill_opacity(70)
        .line_width(0)
        .legend(_legend(is_shown=False))
        .mappings([_map_words(words)])
        # Grafana 9.4 shows thresholds instead of mappings where the colour goes by thresholds
        .color_scheme(dashboards.FieldColor().mode(dashboard.FieldColorModeId.FIXED).fixed_color(GREY))
        .thresholds(_thresholds((), GREY))
        .no_value(NOTHING_YET)
    )
    _fill(panel, title, description, "none", queries, width, height)
    return panel


def style(
    color: str, *, dash: list[float] | None = None, width: int = 2
) -> list[dashboard.DynamicConfigValue]:
    """How one line looks."""
    properties = [
        _property("color", {"mode": "fixed", "fixedColor": color}),
        _property("custom.lineWidth", width),
    ]
    if dash is not None:
        properties.append(_property("custom.lineStyle", {"fill": "dash", "dash": dash}))
    return properties


def shade(below: str) -> list[dashboard.DynamicConfigValue]:
    """The upper end of a band, filled down to the line of that name."""
    return [
        _property("custom.lineWidth", 0),
        _property("custom.fillBelowTo", below),
        _property("custom.fillOpacity", 12),
    ]


def hide_line() -> list[dashboard.DynamicConfigValue]:
    """The lower end of a band."""
    return [_property("custom.lineWidth", 0)]


def _legend(*, is_shown: bool) -> common_builders.VizLegendOptions:
    return (
        common_builders.VizLegendOptions()
        .display_mode(common.LegendDisplayMode.LIST)
        .placement(common.LegendPlacement.BOTTOM)
        .show_legend(is_shown)
        .calcs([])
    )


def _dashed() -> common_builders.GraphThresholdsStyleConfig:
    return common_builders.GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.DASHED)


def _transform(id: str, **options: Any) -> dashboard.DataTransformerConfig:
    return dashboard.DataTransformerConfig(id_val=id, options=options)


def _property(name: str, value: Any) -> dashboard.DynamicConfigValue:
    return dashboard.DynamicConfigValue(id_val=name, value=value)


def _forecaster_overrides(*, dashes: bool = True) -> list[tuple[str, list[dashboard.DynamicConfigValue]]]:
    """A forecaster has one colour on every panel: names that begin with it, such as `rnn` or `rnn, 4 ago`."""
    return [
        (f"/^{name}\\b.*/", style(color, dash=DASHES.get(name) if dashes else None))
        for name, color in COLORS.items()
    ]


def _thresholds(lines: Sequence[Line], base: str) -> dashboards.ThresholdsConfig:
    steps = [dashboard.Threshold(value=None, color=base)]
    steps += [dashboard.Threshold(value=line.value, color=line.color) for line in lines]
    return dashboards.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(steps)


def _map_words(words: Mapping[float, tuple[str, str]]) -> dashboard.ValueMap:
    options = {
        f"{value:g}": dashboard.ValueMappingResult(text=text, color=color, index=place)
        for place, (value, (text, color)) in enumerate(words.items())
    }
    return dashboard.ValueMap(options=options)


def _fill(
    panel: Any, title: str, description: str, unit: str, queries: Sequence[Query], width: int, height: int
) -> None:
    """What all panels have."""
    panel.title(title).description(description).unit(unit).datasource(DATASOURCE).span(width).height(height)
    for place, query in enumerate(queries):
        target = prometheus.Dataquery().expr(query.expr).ref_id(chr(ord("A") + place)).datasource(DATASOURCE)
        target.legend_format(query.legend or "__auto")
        if query.now or query.as_table:
            target.instant()
        else:
            target.range()
        target.format(PromQueryFormat.TABLE if query.as_table else PromQueryFormat.TIME_SERIES)
        panel.with_target(target)
