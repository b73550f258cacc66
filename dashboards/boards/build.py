"""JSON of all dashboards, as Grafana reads it from files or is given it through its API."""

from __future__ import annotations

import json

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard

from dashboards.boards.comparison import build_comparison
from dashboards.boards.overview import build_overview
from dashboards.boards.pipeline import build_pipeline
from dashboards.boards.series import build_series
from dashboards.thresholds import Thresholds

BOARDS = {
    "overview": build_overview,
    "comparison": build_comparison,
    "series": build_series,
    "pipeline": build_pipeline,
}


def build_boards(t: Thresholds) -> dict[str, str]:
    """Text by path below the folder `dashboards`."""
    return {f"json/{name}.json": write(make(t)) for name, make in BOARDS.items()}


def write(board: dashboard.Dashboard) -> str:
    """As Grafana exports it: indented, with a fixed order of keys."""
    return json.dumps(board, cls=JSONEncoder, indent=2, ensure_ascii=False, sort_keys=True) + "\n"
