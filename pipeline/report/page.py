"""The report: one HTML file with everything in it, light or dark as its reader has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from pipeline.report.looks import DARK, LIGHT, list_variables
from pipeline.report.pictures import Picture, render_svg
from pipeline.report.record import SHOWN_SERIES

Report = Mapping[str, Any]

PATH_COLUMNS = {
    "MSE": "mse", "MAE": "mae", "MASE": "mase", "skill": "skill", "coverage": "coverage",
    "interval width": "width", "pinball": "pinball",
}  # fmt: skip
COMPARISON_COLUMNS = {
    "a": "a", "b": "b", "step": "step", "difference": "difference", "lower": "lower", "upper": "upper",
    "DM": "dm", "p": "p", "series won by a": "won", "leader": "leader", "verdict": "verdict",
}  # fmt: skip
_SHARES = ("difference", "lower", "upper", "won", "skill", "coverage")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Drawn:
    about: str | None
    svg: Markup


def make_report(report: Report, pictures: Sequence[Picture], *, units: str, version: str) -> str:
    """Names of series and files are text wherever they stand: jinja2 escapes all that is not marked up."""
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(autoescape=True, loader=loader, undefined=jinja2.StrictUndefined)
    return environment.get_template("report.html").render(
        light=Markup(" ".join(list_variables(LIGHT))),
        dark=Markup(" ".join(list_variables(DARK))),
        sentence=report["sentence"] or say_without_pair(report),
        facts=list_facts(report, units, version),
        groups=group_pictures(report, pictures),
        units=units,
        path_headings=list(PATH_COLUMNS),
        path_rows=list_path_rows(report),
        comparison_headings=list(COMPARISON_COLUMNS),
        comparison_rows=[
            [format_cell(row[key], key) for key in COMPARISON_COLUMNS.values()]
            for row in report["comparison"]
        ],
        masked_headings=["masked steps", "steps ahead", "targets", *report["forecasters"]],
        masked_rows=list_masked_rows(report),
    )


def say_without_pair(report: Report) -> str:
    """What opens a report without two networks to compare: who errs least over the whole path."""
    path = str(report["horizon"])
    maes = {
        name: figures["path"][path]["mae"]
        for name, figures in report["forecasters"].items()
        if figures["path"][path]["mae"] is not None
    }
    if not maes:
        return "Nothing was scored: the files have too few readings behind the share that --score-from names"
    best = min(maes, key=lambda name: maes[name])
    return f"Of {', '.join(maes)}, {best} errs least over steps 1 to {path}"


def list_facts(report: Report, units: str, version: str) -> list[tuple[str, str]]:
    return [
        ("files", ", ".join(report["files"])),
        ("series", f"{report['series']:,}"),
        ("readings", f"{report['readings']:,}"),
        ("scored from", report["scored_from"]),
        ("horizon", f"{report['horizon']} steps"),
        ("errors in", units),
        ("computed", f"{report['seconds']:.1f} s on {report['device']}, seed {report['seed']}, "
                     f"gatecast {version}"),
    ]  # fmt: skip


def group_pictures(report: Report, pictures: Sequence[Picture]) -> list[dict[str, Any]]:
    """Pictures of one title stand under one heading, with what explains them said once."""
    groups: dict[str, dict[str, Any]] = {}
    for picture in pictures:
        group = groups.setdefault(picture.title, {"title": picture.title, "notes": [], "pictures": []})
        if picture.explanation not in group["notes"]:
            group["notes"].append(picture.explanation)
        group["pictures"].append(_Drawn(about=picture.about, svg=Markup(render_svg(picture))))
    drawn = sum(picture.about is not None for picture in pictures)
    if report["series"] > drawn == SHOWN_SERIES:
        note = f"The first {SHOWN_SERIES} of {report['series']:,} series."
        next(iter(groups.values()))["notes"].append(note)
    return list(groups.values())


def list_path_rows(report: Report) -> list[list[str]]:
    return [
        [name, path, *(format_cell(numbers[key], key) for key in PATH_COLUMNS.values())]
        for name, figures in report["forecasters"].items()
        for path, numbers in figures["path"].items()
    ]


def list_masked_rows(report: Report) -> list[list[str]]:
    """Errors by share of masked steps; none where all series were alike in this."""
    rows = report["masked"]
    if len({row["masked_to"] for row in rows}) < 2:
        return []
    return [
        [f"up to {100 * row['masked_to']:g} %", str(row["step"]), f"{row['targets']:,}"]
        + [f"{row['error'][name]:.3f}" for name in report["forecasters"]]
        for row in rows
    ]


def format_cell(value: object, key: str) -> str:
    """A number with as many digits as are read; shares as percentages."""
    if value is None:
        return "all" if key == "step" else "–"
    if isinstance(value, float):
        if key in _SHARES:
            return f"{100 * value:.1f} %"
        return f"{value:.4f}" if abs(value) < 10_000 else f"{value:.4g}"
    return str(value)
