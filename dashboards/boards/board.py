"""What all dashboards have: variables, annotations, links to the others, one grid."""

from __future__ import annotations

from collections.abc import Sequence

from grafana_foundation_sdk.builders import dashboard as dashboards
from grafana_foundation_sdk.models import common, dashboard

from dashboards.boards.panels import DATASOURCE, Panel

TAG = "gatecast"
SCHEMA = 37
"""Of Grafana 9.4; later ones migrate it when they load it."""
PROMETHEUS = "prometheus"


def begin(
    uid: str, title: str, description: str, *, hours: int = 6, pages_of: str = ""
) -> dashboards.Dashboard:
    """A dashboard without panels. pages_of: label matchers of the pages that are marked; none: all."""
    board = (
        dashboards.Dashboard(f"Gatecast: {title}")
        .uid(uid)
        .description(description)
        .tags([TAG])
        .time(f"now-{hours}h", "now")
        .refresh("15s")
        .timezone("browser")
        .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
        .readonly()
        .with_variable(_choose_datasource())
        .link(
            dashboards.DashboardLink("Gatecast")
            .type(dashboard.DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .keep_time(True)
            .include_vars(True)
            .as_dropdown(False)
        )
    )
    for annotation in _annotations(pages_of):
        board.annotation(annotation)
    return board


def choose(
    name: str, label: str, query: str, default: str, *, by_number: bool = False
) -> dashboards.QueryVariable:
    """A variable with the values of a label."""
    sort = dashboard.VariableSort.NUMERICAL_ASC if by_number else dashboard.VariableSort.ALPHABETICAL_ASC
    return (
        dashboards.QueryVariable(name)
        .label(label)
        .datasource(DATASOURCE)
        .query({"query": query, "refId": f"{name}-values"})
        .current(dashboard.VariableOption(text=default, value=default, selected=True))
        .refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(sort)
    )


def add_row(
    board: dashboards.Dashboard, title: str, panels: Sequence[Panel], *, folded: bool = False
) -> None:
    """A row of panels; folded ones are not asked for until somebody opens it."""
    row = dashboards.Row(title)
    if folded:
        for panel in panels:
            row.with_panel(panel)
        board.with_row(row.collapsed(True))
        return
    board.with_row(row)
    for panel in panels:
        board.with_panel(panel)


def choose_step() -> dashboards.QueryVariable:
    """The variable `step`: how many steps ahead."""
    return choose(
        "step", "Steps ahead", "label_values(gatecast_forecast_scored_series, step)", "1", by_number=True
    )


def finish(board: dashboards.Dashboard) -> dashboard.Dashboard:
    """The dashboard with the schema version that old Grafanas know too, and ids in order."""
    built = board.build()
    built.schema_version = SCHEMA
    number = 0
    for panel in built.panels or []:
        for one in (panel, *(getattr(panel, "panels", None) or [])):
            number += 1
            one.id_val = number
    return built


def _choose_datasource() -> dashboards.DatasourceVariable:
    return (
        dashboards.DatasourceVariable("datasource")
        .label("Data source")
        .type(PROMETHEUS)
        .current(dashboard.VariableOption(text="Prometheus", value=PROMETHEUS, selected=True))
    )


def _annotations(pages_of: str) -> list[dashboards.AnnotationQuery]:
    """What happened: pages, restarts of workers, another leader."""
    found = (
        (
            "Pages",
            "red",
            f"max by (series, kind) (gatecast_alert_active{{{pages_of}}}) == 1",
            "{{series}}: {{kind}}",
        ),
        (
            "Restarts",
            "purple",
            'changes(process_start_time_seconds{job="gatecast"}[1m]) > 0',
            "worker {{instance}} started",
        ),
        (
            "Leader changes",
            "blue",
            'changes(gatecast_comparison_leader{a="lstm",b="rnn",step="path"}[2m]) > 0',
            "RNN or LSTM: the leader of partition {{partition}} changed",
        ),
    )
    return [
        dashboards.AnnotationQuery()
        .name(name)
        .datasource(common.DataSourceRef(type_val=PROMETHEUS, uid="${datasource}"))
        .enable(True)
        .hide(False)
        .icon_color(color)
        .expr(expr)
        .title_format(title)
        .text_format("")
        .step("30s")
        for name, color, expr, title in found
    ]
