"""The pictures of a backtest, drawn with matplotlib; each is a PNG on disk or an SVG in the report."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from pipeline.report import charts
from pipeline.report.looks import RC, adapt_svg
from pipeline.report.record import Recorder, Track

Report = Mapping[str, Any]

WIDTH_IN, ROW_IN = 9.0, 2.4
DPI = 130


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """`name` is that of its file; `about` the series that it shows, if it is one alone."""

    name: str
    title: str
    explanation: str
    num_rows: int
    draw: Callable[[Figure], None]
    about: str | None = None


def list_pictures(report: Report, recorder: Recorder) -> list[Picture]:
    """All that the backtest has something to draw for."""
    pictures = [
        _make_track_picture(number, list(tracks), recorder.names)
        for number, (_, tracks) in enumerate(groupby(recorder.list_tracks(), key=lambda t: t.series), 1)
    ]
    if report["horizon"] > 1:
        pictures.append(
            Picture(
                name="error-by-step",
                title="Error by step",
                explanation=f"Mean absolute error of forecasts so many steps ahead, in {recorder.units}, "
                "and the share of it that a forecaster saves over repeating the last value (skill; below "
                "0 it does worse).",
                num_rows=1,
                draw=lambda figure: charts.draw_errors(figure, report),
            )
        )
    pictures.append(
        Picture(
            name="calibration",
            title="Calibration",
            explanation="How many values lay inside their interval, and how wide it had to be for that, in "
            f"{recorder.units}. The dashed line is what was promised.",
            num_rows=1,
            draw=lambda figure: charts.draw_calibration(figure, report, recorder.coverage),
        )
    )
    over_time = recorder.find_errors()
    if any(len(times) > 1 for times, _ in over_time.values()):
        pictures.append(
            Picture(
                name="error-over-time",
                title="Error over time",
                explanation="Mean absolute error in units of each series' own naive one-step error.",
                num_rows=len(over_time),
                draw=lambda figure: charts.draw_errors_over_time(figure, over_time, recorder.names),
            )
        )
    pictures += _list_evidence(report, recorder)
    return pictures


def _list_evidence(report: Report, recorder: Recorder) -> list[Picture]:
    pictures, nets, reach = [], recorder.nets, recorder.reach
    rows = [row for row in report["comparison"] if row["a"] in nets and row["b"] in nets]
    if rows:
        pair = (rows[0]["a"], rows[0]["b"])
        rows = [row for row in rows if (row["a"], row["b"]) == pair]
        pictures.append(
            Picture(
                name="comparison",
                title=f"{pair[0]} against {pair[1]}",
                explanation=f"Difference of their errors by step, relative to {pair[1]}, with the 95 % "
                f"confidence sequence: below 0 {pair[0]} is better. Hollow: too few readings for one.",
                num_rows=1,
                draw=lambda figure: charts.draw_comparison(figure, rows),
            )
        )
    if reach:
        pictures.append(
            Picture(
                name="gradient-reach",
                title="Gradient reach",
                explanation="How much a reading so many steps ago still moves the loss of the last forecast, "
                "as a share of what the newest one does. Where it ends, memory ends.",
                num_rows=1,
                draw=lambda figure: charts.draw_reach(figure, reach),
            )
        )
    return pictures


def _make_track_picture(number: int, tracks: Sequence[Track], names: Sequence[str]) -> Picture:
    return Picture(
        name=f"forecasts-{number}",
        title="Forecasts against values",
        explanation="What was forecast that many steps before; the band is the interval of "
        f"{charts.find_banded(names)}.",
        num_rows=len(tracks),
        draw=lambda figure: charts.draw_tracks(figure, tracks, names),
        about=tracks[0].series,
    )


def render_svg(picture: Picture) -> str:
    """As part of a page."""
    with mpl.rc_context({**RC, "svg.hashsalt": picture.name}), _without_glyph_warnings():
        file = io.StringIO()
        _make_figure(picture).savefig(file, format="svg", metadata={"Date": None})
    return adapt_svg(file.getvalue())


def save_png(picture: Picture, folder: Path) -> Path:
    """With its title, on white. Raises OSError."""
    path = folder / f"{picture.name}.png"
    with mpl.rc_context(RC), _without_glyph_warnings():
        figure = _make_figure(picture)
        title = picture.title if picture.about is None else f"{picture.title}: {picture.about}"
        figure.suptitle(title, fontsize=11, parse_math=False)
        figure.savefig(path, dpi=DPI, facecolor="white")
    return path


def _make_figure(picture: Picture) -> Figure:
    figure = Figure(figsize=(WIDTH_IN, 0.6 + ROW_IN * picture.num_rows), layout="constrained")
    picture.draw(figure)
    return figure


def _without_glyph_warnings() -> warnings.catch_warnings:
    """Names may have letters that the font lacks; the text is still there."""
    found = warnings.catch_warnings()
    warnings.filterwarnings("ignore", message="Glyph .* missing from font")
    return found
