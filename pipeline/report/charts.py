"""Charts of a backtest on matplotlib figures; what they say stands in `pictures.py`.

Letters: B buckets of time, E forecasters.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from forecasters.reach import NOTICEABLE, Reach
from pipeline.report.looks import DASHES, LIGHT, find_colour
from pipeline.report.record import Track

Report = Mapping[str, Any]

BLEND = "blend"
MOST_ERROR_PERCENTILE = 99.0
"""Of errors over time, what an axis has to show; a single outage would flatten all else."""


def find_banded(names: Sequence[str]) -> str:
    """Whose interval is drawn: one band is seen, three are not."""
    return BLEND if BLEND in names else names[-1]


def draw_tracks(figure: Figure, tracks: Sequence[Track], names: Sequence[str]) -> None:
    """A row for each step: values, and forecasts of the networks and of the one whose band it is."""
    drawn = [n for n in names if n in ("rnn", "lstm", "gru")]
    drawn += [n for n in (find_banded(names),) if n not in drawn]
    axes = figure.subplots(len(tracks), 1, sharex=True, squeeze=False)[:, 0]
    for ax, track in zip(axes, tracks, strict=True):
        times = track.time_ms.astype("datetime64[ms]")
        at = list(names).index(find_banded(names))
        ax.fill_between(
            times, track.lower[:, at], track.upper[:, at], color=find_colour(names[at]), alpha=0.15, lw=0
        )
        ax.plot(times, track.value, color=LIGHT["ink"], lw=1.6, label="value")
        for name in drawn:
            ax.plot(times, track.mean[:, list(names).index(name)], color=find_colour(name), label=name)
        ax.set_ylabel(f"{track.step} step{'s' if track.step > 1 else ''} ahead")
        _show_dates(ax)
    _put_legend(figure, axes[0])


def draw_errors(figure: Figure, report: Report) -> None:
    left, right = figure.subplots(1, 2)
    for name, figures in report["forecasters"].items():
        steps = [int(step) for step in figures["step"]]
        style = {"color": find_colour(name), "ls": DASHES.get(name, "-"), "label": name}
        left.plot(steps, _column(figures, "mae"), **style)
        right.plot(steps, _column(figures, "skill"), **style)
    left.set(xlabel="steps ahead", ylabel="mean absolute error")
    left.set_ylim(bottom=0)
    right.set(xlabel="steps ahead", ylabel="skill")
    right.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    _put_legend(figure, left)


def draw_calibration(figure: Figure, report: Report, promised: float) -> None:
    left, right = figure.subplots(1, 2)
    for name, figures in report["forecasters"].items():
        steps = [int(step) for step in figures["step"]]
        style = {"color": find_colour(name), "ls": DASHES.get(name, "-"), "label": name}
        if len(steps) == 1:
            style |= {"marker": "o", "ls": ""}
        left.plot(steps, _column(figures, "coverage"), **style)
        right.plot(steps, _column(figures, "width"), **style)
    left.axhline(promised, color=LIGHT["ink"], ls=(0, (2, 2)), lw=1)
    low, high = left.get_ylim()
    left.set_ylim(min(low, promised - 0.05), min(max(high, promised + 0.05), 1.0))
    left.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    left.set(xlabel="steps ahead", ylabel="values inside")
    right.set(xlabel="steps ahead", ylabel="width of the interval")
    right.set_ylim(bottom=0)
    _put_legend(figure, left)


def draw_errors_over_time(
    figure: Figure, over_time: Mapping[int, tuple[np.ndarray, np.ndarray]], names: Sequence[str]
) -> None:
    axes = figure.subplots(len(over_time), 1, sharex=True, squeeze=False)[:, 0]
    for ax, (step, (times, mean_BE)) in zip(axes, over_time.items(), strict=True):
        for at, name in enumerate(names):
            ax.plot(
                times.astype("datetime64[ms]"), mean_BE[:, at],
                color=find_colour(name), ls=DASHES.get(name, "-"), label=name,
            )  # fmt: skip
        ax.set_ylabel(f"{step} step{'s' if step > 1 else ''} ahead")
        if mean_BE.size:
            ax.set_ylim(0, 1.1 * float(np.percentile(mean_BE, MOST_ERROR_PERCENTILE)) or 1.0)
        _show_dates(ax)
    _put_legend(figure, axes[0])


def draw_comparison(figure: Figure, rows: Sequence[Mapping[str, Any]]) -> None:
    """A point by step, the path last; its interval where there is one."""
    ax = figure.subplots()
    for at, row in enumerate(rows):
        middle, low, high = (math.nan if row[k] is None else row[k] for k in ("difference", "lower", "upper"))
        leads = row["a"] if middle < 0 else row["b"]
        colour = find_colour(leads) if row["verdict"] == "better" else LIGHT["muted"]
        known = math.isfinite(low) and math.isfinite(high)
        if known:
            ax.plot([at, at], [low, high], color=colour, lw=2, solid_capstyle="round")
        ax.plot([at], [middle], "o", color=colour, mfc=colour if known else "none", ms=5)
    ax.axhline(0, color=LIGHT["ink"], lw=1)
    ax.set_xticks(range(len(rows)), [f"{row['step']}" if row["step"] else "all" for row in rows])
    ax.set(xlabel="steps ahead", ylabel=f"error of {rows[0]['a']} less that of {rows[0]['b']}")
    ax.yaxis.set_major_formatter(PercentFormatter(1.0))


def draw_reach(figure: Figure, reach: Mapping[str, Reach]) -> None:
    ax = figure.subplots()
    for name, found in reach.items():
        ax.semilogy(found.inputs.numpy(), color=find_colour(name), label=name, marker=".", ms=4)
    ax.axhline(NOTICEABLE, color=LIGHT["ink"], ls=(0, (2, 2)), lw=1)
    ax.set(xlabel="readings ago", ylabel="share of the newest reading's")
    ax.yaxis.set_major_formatter(lambda share, _: f"{100 * share:g} %")
    _put_legend(figure, ax)


def _column(figures: Mapping[str, Any], key: str) -> list[float]:
    return [math.nan if numbers[key] is None else numbers[key] for numbers in figures["step"].values()]


def _show_dates(ax: Axes) -> None:
    locator = AutoDateLocator()
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))


def _put_legend(figure: Figure, ax: Axes) -> None:
    handles, labels = ax.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=len(labels))
