"""The pictures of a study; each is a PNG on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from forecasters.recurrent import RecurrentOptions
from pipeline.report.pictures import Picture
from pipeline.study import charts
from pipeline.study.claims import RIGHT
from pipeline.study.plan import ADDING, RECALL

Rows = Sequence[dict[str, Any]]


def list_study_pictures(study: Mapping[str, Any], where: str) -> list[Picture]:
    """All that the study has figures for."""
    recall = [row for row in study["drills"] if row["task"] == RECALL]
    adding = [row for row in study["drills"] if row["task"] == ADDING]
    streams: Rows = study["streams"]
    pictures: list[Picture] = []
    if recall:
        pictures.append(
            _picture(
                "recall",
                "Recall over a lag",
                "Questions answered right, and gradient reach at the lag of the cue.",
                partial(charts.draw_by_lag, rows=recall, heading="lag of the cue"),
            )
        )
    if adding:
        pictures.append(
            _picture(
                "adding",
                "Adding over a sequence",
                "Squared error over that of knowing nothing, and gradient reach at the first step.",
                partial(charts.draw_by_lag, rows=adding, heading="length of the sequence"),
            )
        )
    panels = _list_reach(recall, streams, where)
    if panels:
        pictures.append(
            _picture(
                "reach",
                "Gradient reach by lag",
                "Thin lines are seeds, thick ones their median; where they end under 1 %, memory ends.",
                partial(charts.draw_reach, by_panel=panels),
            )
        )
    norms = {name: rows for name, rows in ((RECALL, recall), (ADDING, adding)) if rows}
    if norms:
        clip = RecurrentOptions().clip
        pictures.append(
            _picture(
                "gradient-norms",
                "Norms of gradients before clipping",
                "Median over seeds; what lies above the dashed line is clipped.",
                partial(charts.draw_norms, by_panel=norms, clip=clip),
            )
        )
    pictures += _list_streams(streams, where)
    if study["speed"]:
        pictures.append(
            _picture(
                "parallel-speed",
                "Series in parallel, time in sequence",
                "Always the same readings, cut otherwise.",
                partial(charts.draw_speed, rows=study["speed"]),
            )
        )
    return pictures


def _list_streams(streams: Rows, where: str) -> list[Picture]:
    pictures = []
    if any(row["share"] for row in streams):
        plain = [row for row in streams if row["layers"] == 1]
        pictures.append(
            _picture(
                "masked",
                f"Irregular streams: {where}",
                "Error over the share of masked steps.",
                partial(charts.draw_setting, rows=plain, key="share", words="masked steps"),
            )
        )
    if any(row["layers"] > 1 for row in streams):
        whole = [row for row in streams if not row["share"]]
        pictures.append(
            _picture(
                "depth",
                f"Depth: {where}",
                "Error over the number of layers.",
                partial(charts.draw_setting, rows=whole, key="layers", words="layers"),
            )
        )
    return pictures


def _list_reach(recall: Rows, streams: Rows, where: str) -> dict[str, dict[str, list[list[float | None]]]]:
    """Panels: the longest lag that either network recalls, the longest of all, the streams."""
    panels: dict[str, dict[str, list[list[float | None]]]] = {}
    known = [row["lag"] for row in recall if row["score"] >= RIGHT]
    lags = dict.fromkeys(
        [*([max(known)] if known else []), *([max(r["lag"] for r in recall)] if recall else [])]
    )
    for lag in lags:
        panels[f"recall over {lag}"] = {
            net: [r["reach"] for r in recall if r["net"] == net and r["lag"] == lag] for net in charts.NETS
        }
    plain = [row for row in streams if row["layers"] == 1 and not row["share"]]
    found = {net: [r["nets"][net]["reach"] for r in plain if r["nets"][net]["reach"]] for net in charts.NETS}
    if any(found.values()):
        panels[where] = found
    return panels


def _picture(name: str, title: str, explanation: str, draw: Any) -> Picture:
    return Picture(name=name, title=title, explanation=explanation, num_rows=1, draw=draw)
