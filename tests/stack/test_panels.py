"""Every expression of every panel and annotation against a Prometheus with two workers behind it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from dashboards.boards.build import build_boards
from dashboards.thresholds import read_thresholds
from tests.stack.expressions import find_faults
from tests.stack.plant import FI, TI
from tests.stack.stack import Stack

BOARDS = {path: json.loads(text) for path, text in build_boards(read_thresholds()).items()}
NETS = 'a="lstm",b="rnn"'
CONFIDENCE_S = 400.0
EMPTY = {
    "json/comparison.json": (),
    "json/overview.json": (
        # Nothing is wrong with any sensor or worker when this is asked; `test_chain` sees it.
        "gatecast_alert_active",
        'ALERTS{alertname=~"Gatecast.*",alertname!="GatecastSensorAlert",alertstate="firing"}',
    ),
    "json/pipeline.json": ("gatecast_device_memory_bytes",),  # no GPU
    "json/series.json": ('gatecast_alert_active{series="$series"}',),
}
"""By dashboard: what has no data here, and why."""


def list_panels(board: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for panel in board["panels"]:
        yield panel
        yield from panel.get("panels") or ()


def list_expressions(board: dict[str, Any], series: str) -> list[str]:
    """With Grafana's variables as it would fill them in."""
    found = [target["expr"] for panel in list_panels(board) for target in panel.get("targets") or ()]
    for name, value in (("$__rate_interval", "1m"), ("$step", "1"), ("$series", series)):
        found = [expr.replace(name, value) for expr in found]
    return found


@pytest.mark.parametrize("path", sorted(BOARDS))
def test_what_panels_ask_for_is_there(stack: Stack, path: str) -> None:
    series = find_shown(stack)
    # told now and then: the last that come are series shown, who leads, and the reach of the second net
    stack.wait_until(f'gatecast_series_forecast{{series="{series}",step="1"}}', 90)
    stack.wait_until('gatecast_training_gradient_reach_ratio{forecaster="lstm"}', 90)
    stack.wait_until('gatecast_training_gradient_reach_ratio{forecaster="rnn"}', 90)
    stack.wait_until(f"gatecast_comparison_series_difference{{{NETS}}}", 90)
    stack.wait_until("gatecast:training_gradient_norm:p90", 90)
    # some blocks of readings of each sensor, minutes even of a plant as quick as this
    stack.wait_until(f'gatecast_comparison_confidence_half_width{{{NETS},step="path"}}', CONFIDENCE_S)
    empty = [selector.replace("$series", series) for selector in EMPTY[path]]
    assert find_faults(stack.prometheus, list_expressions(BOARDS[path], series), empty) == []


@pytest.mark.parametrize("path", sorted(BOARDS))
def test_what_happened_is_asked_for_in_words_that_prometheus_takes(stack: Stack, path: str) -> None:
    for annotation in BOARDS[path]["annotations"]["list"]:
        stack.prometheus.query(annotation["expr"].replace("$series", TI))


def find_shown(stack: Stack) -> str:
    """A series that has values of its own, and no alert: those of `test_chain` may still be told."""
    stack.wait_until("gatecast_series_info", 90)
    names = {sample.labels["series"] for sample in stack.prometheus.query("gatecast_series_info")}
    return min(names - {TI, FI})
