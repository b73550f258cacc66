"""Charts of a study on matplotlib figures; what they say stands in `pictures.py`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter, PercentFormatter, ScalarFormatter

from forecasters.reach import NOTICEABLE
from pipeline.report.looks import DASHES, LIGHT, find_colour
from pipeline.study.claims import by_setting

Row = Mapping[str, Any]
Rows = Sequence[dict[str, Any]]
NETS = ("rnn", "lstm")
MARKERS = {"rnn": "o", "lstm": "s", "naive": "^"}
MOST_ABOVE = 3
"""Entries of a legend that fit beside the title."""
FAINT = 1e-12
"""A gradient that is gone has no place on a logarithmic axis."""


def draw_by_lag(figure: Figure, rows: Rows, heading: str) -> None:
    """Score on the left, gradient reach at the lag on the right; dots are seeds."""
    left, right = figure.subplots(1, 2)
    _draw_dots(left, rows, lambda row: row["score"], np.mean)
    _draw_dots(right, rows, lambda row: row["reach_at_lag"], np.median)
    lags = sorted({row["lag"] for row in rows})
    for ax in (left, right):
        _mark_powers(ax, lags)
        ax.set_xlabel(heading)
    if rows[0]["task"] == "recall":
        left.axhline(0.5, color=LIGHT["ink"], ls=(0, (2, 2)), lw=1)
        left.set(ylabel="right answers", ylim=(0.4, 1.03))
        left.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    else:
        left.axhline(1.0, color=LIGHT["ink"], ls=(0, (2, 2)), lw=1)
        left.set(ylabel="error, 1 without any knowledge")
        left.set_ylim(bottom=0)
    right.set_yscale("log")
    right.axhline(NOTICEABLE, color=LIGHT["ink"], ls=(0, (2, 2)), lw=1)
    right.set_ylabel("gradient reach at the lag")
    _put_legend(figure, left)


Curves = Sequence[Sequence[float | None]]


def draw_reach(figure: Figure, by_panel: Mapping[str, Mapping[str, Curves]]) -> None:
    """A panel each, curves by network: thin ones of the seeds, a thick one of their median."""
    axes = figure.subplots(1, len(by_panel), squeeze=False)[0]
    for ax, (heading, by_net) in zip(axes, by_panel.items(), strict=True):
        for net, curves in by_net.items():
            values = np.array([[math.nan if v is None else max(v, FAINT) for v in curve] for curve in curves])
            if not values.size or np.isnan(values).all():
                continue
            for curve in values:
                ax.semilogy(curve, color=find_colour(net), lw=0.6, alpha=0.5)
            known = values[~np.isnan(values).all(1)]
            ax.semilogy(np.median(known, 0), color=find_colour(net), label=net)
        ax.axhline(NOTICEABLE, color=LIGHT["ink"], ls=(0, (2, 2)), lw=1)
        ax.set(xlabel="readings ago", title=heading)
        ax.set_ylim(bottom=1e-7)
    axes[0].set_ylabel("gradient, share of the newest input's")
    _put_legend(figure, axes[0])


def draw_norms(figure: Figure, by_panel: Mapping[str, Rows], clip: float) -> None:
    """By lag: median, 99th percentile and largest norm before clipping."""
    axes = figure.subplots(1, len(by_panel), squeeze=False, sharey=True)[0]
    for ax, (heading, rows) in zip(axes, by_panel.items(), strict=True):
        lags = sorted({row["lag"] for row in rows})
        for net in NETS:
            for key, style, words in (("norm_median", "-", "median"), ("norm_p99", "--", "99 %"),
                                      ("norm_max", ":", "largest")):  # fmt: skip
                middle = [
                    np.median([r[key] for r in rows if r["net"] == net and r["lag"] == lag]) for lag in lags
                ]
                ax.plot(lags, middle, style, color=find_colour(net), marker=MARKERS[net], ms=3,
                        label=f"{net}, {words}")  # fmt: skip
        ax.axhline(clip, color=LIGHT["ink"], ls=(0, (2, 2)), lw=1)
        ax.set_yscale("log")
        _mark_powers(ax, lags)
        ax.set(xlabel="lag or length", title=heading)
    axes[0].set_ylabel("norm of the gradient")
    _put_legend(figure, axes[0])


def draw_setting(figure: Figure, rows: Rows, key: str, words: str) -> None:
    """Errors by the value of a setting; beside them, relative to those at its first value."""
    left, right = figure.subplots(1, 2)
    errors = by_setting(rows, key)
    values = sorted(errors)
    names = (*NETS, "naive") if key == "share" else NETS
    for name in names:
        table = np.array([[errors[value][seed][name] for seed in sorted(errors[value])] for value in values])
        style = {"color": find_colour(name), "marker": MARKERS[name], "ls": DASHES.get(name, "-"), "ms": 4}
        left.plot(values, table.mean(1), label=name, **style)
        right.plot(values, (table / table[0]).mean(1) - 1.0, **style)
        for column in table.T if name != "naive" else ():
            left.plot(values, column, ".", color=find_colour(name), ms=3, alpha=0.5)
    for ax in (left, right):
        ax.set_xlabel(words)
        if key == "share":
            ax.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        else:
            ax.set_xticks(values)
    right.yaxis.set_major_formatter(PercentFormatter(1.0))
    right.axhline(0, color=LIGHT["ink"], lw=1)
    left.set_ylabel("mean absolute error")
    right.set_ylabel("growth since the first")
    _put_legend(figure, left)


def draw_speed(figure: Figure, rows: Rows) -> None:
    ax = figure.subplots()
    for net in NETS:
        own = sorted((row for row in rows if row["net"] == net), key=lambda row: row["series"])
        ax.plot(
            [row["series"] for row in own], [1.0 / row["median"] for row in own],
            color=find_colour(net), marker=MARKERS[net], ms=4, label=net,
        )  # fmt: skip
    own = sorted((row for row in rows if row["net"] == "rnn"), key=lambda row: row["series"])
    ax.set_xscale("log")
    ax.set_xticks([r["series"] for r in own], [f"{r['series']}\nin chunks\nof {r['chunk']}" for r in own])
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_yscale("log")
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    ax.set(xlabel="series side by side", ylabel="readings learnt a second, one core")
    _put_legend(figure, ax)


def _draw_dots(
    ax: Axes, rows: Rows, read: Callable[[Row], float | None], middle: Callable[[list[float]], Any]
) -> None:
    lags = sorted({row["lag"] for row in rows})
    for number, net in enumerate(NETS):
        line = []
        for lag in lags:
            found = [read(row) for row in rows if row["net"] == net and row["lag"] == lag]
            known = [max(value, FAINT) for value in found if value is not None]
            aside = lag * (0.97, 1.03)[number]
            ax.plot([aside] * len(known), known, MARKERS[net], color=find_colour(net), ms=3.5, alpha=0.55)
            line.append(float(middle(known)) if known else math.nan)
        ax.plot(lags, line, color=find_colour(net), label=net)


def _mark_powers(ax: Axes, lags: Sequence[int]) -> None:
    ax.set_xscale("log", base=2)
    ax.set_xticks(lags)
    ax.xaxis.set_major_formatter(ScalarFormatter())


def _put_legend(figure: Figure, ax: Axes) -> None:
    handles, labels = ax.get_legend_handles_labels()
    if len(labels) <= MOST_ABOVE:
        figure.legend(handles, labels, loc="outside upper right", ncols=len(labels))
    else:
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
