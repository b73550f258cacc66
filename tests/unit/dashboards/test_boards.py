"""The dashboards' JSON: the schema, the grid, and rules of Grafana's dashboard-linter that make sense.

That expressions give data is shown against a real Prometheus, in tests/stack.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.models import dashboard

from dashboards.boards.board import TAG
from dashboards.boards.build import build_boards
from dashboards.thresholds import read_thresholds
from pipeline.exporters.catalogue import CATALOGUE

FILES = {path: json.loads(text) for path, text in build_boards(read_thresholds()).items()}
COLUMNS = 24


def list_panels(board: dict[str, Any], *, rows: bool = False) -> Iterator[dict[str, Any]]:
    for panel in board["panels"]:
        if rows or panel["type"] != "row":
            yield panel
        yield from panel.get("panels") or ()


@pytest.fixture(params=sorted(FILES))
def board(request: pytest.FixtureRequest) -> dict[str, Any]:
    return FILES[request.param]


def test_files_on_disk_are_those_of_the_code() -> None:
    folder = Path(__file__).resolve().parents[3] / "dashboards"
    for path, built in FILES.items():
        assert json.loads((folder / path).read_text(encoding="utf-8")) == built, "gatecast dashboards build"


def test_uids_are_unique_and_old_grafanas_read_them() -> None:
    assert len({board["uid"] for board in FILES.values()}) == len(FILES) == 4
    assert all(re.fullmatch(r"[a-z0-9-]{1,40}", board["uid"]) for board in FILES.values())
    assert {board["schemaVersion"] for board in FILES.values()} == {37}


def test_the_sdk_reads_back_what_it_wrote(board: dict[str, Any]) -> None:
    """Its models are generated from Grafana's schema: what they don't know would be missing here."""
    again = dashboard.Dashboard.from_json(board)
    assert len(again.panels or []) == len(board["panels"])
    assert again.uid == board["uid"]


def test_every_panel_says_what_it_shows(board: dict[str, Any]) -> None:
    titles = [panel["title"] for panel in list_panels(board)]
    assert len(set(titles)) == len(titles)
    for panel in list_panels(board):
        assert len(panel["description"]) > 20, panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, panel["title"]
        assert panel["targets"], panel["title"]
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}"
            assert target["expr"].strip()
            assert target.get("instant") or target.get("range")
        names = [target["refId"] for target in panel["targets"]]
        assert len(set(names)) == len(names)


def test_rates_follow_the_zoom_and_lines_have_names(board: dict[str, Any]) -> None:
    """Rules of the dashboard-linter: $__rate_interval in rates, and a legend."""
    for panel in list_panels(board):
        for target in panel["targets"]:
            for window in re.findall(r"\brate\([^][]*\[([^]]+)\]", target["expr"]):
                assert window == "$__rate_interval", target["expr"]
            if panel["type"] in ("timeseries", "state-timeline"):
                assert target["legendFormat"] not in ("", "__auto"), panel["title"]


def test_panels_do_not_overlap(board: dict[str, Any]) -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in board["panels"]:
        place = panel["gridPos"]
        assert 0 <= place["x"] <= COLUMNS - place["w"], panel["title"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in taken, (panel["title"], taken[x, y])
                taken[x, y] = panel["title"]
    ids = [panel["id"] for panel in list_panels(board, rows=True)]
    assert len(set(ids)) == len(ids)


def test_links_keep_time_and_variables_and_lead_somewhere(board: dict[str, Any]) -> None:
    (link,) = board["links"]
    assert (link["type"], link["tags"], link["keepTime"], link["includeVars"]) == (
        "dashboards",
        [TAG],
        True,
        True,
    )
    assert TAG in board["tags"]
    uids = {one["uid"] for one in FILES.values()}
    for url in re.findall(r"/d/([a-z0-9-]+)\?", json.dumps(board)):
        assert url in uids


def test_variables_that_are_used_are_declared(board: dict[str, Any]) -> None:
    declared = {variable["name"] for variable in board["templating"]["list"]}
    used = set(
        re.findall(
            r"\$\{?([a-z]+)\b(?!_)", " ".join(t["expr"] for p in list_panels(board) for t in p["targets"])
        )
    )
    assert used <= declared
    assert declared - {"datasource"} <= used, "a variable that changes nothing"


def test_metrics_are_those_of_the_catalogue_with_these_labels(board: dict[str, Any]) -> None:
    labels = {}
    for metric in CATALOGUE:
        ends = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("_sum", "_count")}.get(
            metric.kind, ("",)
        )
        for end in ends:
            labels[metric.name + end] = {*metric.labels, *(("le",) if end == "_bucket" else ())}
    target_labels = {"job", "instance"}
    for panel in list_panels(board):
        for target in panel["targets"]:
            for name, matchers in re.findall(r"\b(gatecast_\w+)(\{[^}]*\})?", target["expr"]):
                assert name in labels, (panel["title"], name)
                asked = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers))
                assert asked <= labels[name] | target_labels, (panel["title"], name)
