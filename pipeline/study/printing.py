"""What a person sees of a study on the terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from pipeline.study.claims import Claim, by_setting
from pipeline.study.plan import ADDING, RECALL

Rows = Sequence[dict[str, Any]]
NETS = ("rnn", "lstm")
_COLOURS = {"holds": "green", "does not hold": "red", "undecided": "yellow"}


def print_study(console: Console, study: Mapping[str, Any], claims: Sequence[Claim], where: str) -> None:
    for task, words in ((RECALL, "lag"), (ADDING, "length")):
        rows = [row for row in study["drills"] if row["task"] == task]
        if rows:
            console.print(_tabulate_drills(rows, words))
    streams = study["streams"]
    if streams:
        console.print(_tabulate_streams(streams, where))
        console.print(_tabulate_cost(streams, where))
    if any(row["share"] for row in streams):
        console.print(_tabulate_masks([row for row in streams if row["layers"] == 1], where))
    console.print(_tabulate_speed(study["speed"]))
    console.print(_tabulate_claims(claims))
    if study.get("sentence"):
        console.print(f"{where}: {study['sentence']}.", markup=False, highlight=False, soft_wrap=True)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for at, column in enumerate(columns):
        table.add_column(column, justify="left" if at == 0 else "right")
    return table


def _tabulate_drills(rows: Rows, words: str) -> Table:
    """Mean of the seeds for scores; the middle one for what spreads over decades."""
    is_recall = rows[0]["task"] == RECALL
    score, reach = ("right", "reach at lag") if is_recall else ("error", "reach at start")
    table = _table(rows[0]["task"], words, "chunk", "network", score, reach, "memory", "p99 / p50", "clipped")
    for lag in sorted({row["lag"] for row in rows}):
        for at, net in enumerate(NETS):
            own = [r for r in rows if r["lag"] == lag and r["net"] == net]
            spikes = [r["norm_p99"] / r["norm_median"] for r in own if r["norm_median"]]
            table.add_row(
                "" if at else str(lag), "" if at else str(own[0]["chunk"]), net,
                _cell(own, "score", np.mean, _share if is_recall else _ratio),
                _cell(own, "reach_at_lag", np.median, _small),
                _write_memory(own, own[0]["chunk"] - 1),
                f"{np.mean(spikes):.1f}" if spikes else "-",
                _cell(own, "clipped", np.mean, _share),
                end_section=at > 0,
            )  # fmt: skip
    return table


def _write_memory(rows: Rows, longest: int) -> str:
    """The middle one; one that reaches the end of the stretch may go on beyond it."""
    known = [row["memory_length"] for row in rows if row["memory_length"] is not None]
    if not known:
        return "-"
    middle = float(np.median(known))
    return f"{'≥ ' if middle >= longest else ''}{middle:.0f}"


def _list_layers(streams: Rows) -> list[tuple[str, int, Rows]]:
    whole = [row for row in streams if not row["share"]]
    return [
        (net, layers, [row["nets"][net] for row in whole if row["layers"] == layers])
        for net in NETS
        for layers in sorted({row["layers"] for row in whole})
    ]


def _tabulate_streams(streams: Rows, where: str) -> Table:
    table = _table(
        f"{where}: errors and gradients by layers",
        "network", "layers", "MAE", "skill", "memory", "p50", "p99", "clipped", "skipped",
    )  # fmt: skip
    for net, layers, rows in _list_layers(streams):
        longest = next((len(row["reach"]) - 1 for row in rows if row["reach"]), 0)
        table.add_row(
            net, str(layers),
            _cell(rows, "mae", np.mean, _ratio), _cell(rows, "skill", np.mean, _share),
            _write_memory(rows, longest),
            _cell(rows, "norm_median", np.mean, _ratio), _cell(rows, "norm_p99", np.mean, _ratio),
            _cell(rows, "clipped", np.mean, _share), _cell(rows, "skipped", np.mean, _share),
        )  # fmt: skip
    return table


def _tabulate_cost(streams: Rows, where: str) -> Table:
    table = _table(
        f"{where}: cost of a reading by layers",
        "network", "layers", "µs", "thousand FLOP", "parameters", "bytes a series",
    )  # fmt: skip
    for net, layers, rows in _list_layers(streams):
        table.add_row(
            net, str(layers),
            _cell(rows, "seconds", np.median, lambda value: f"{1e6 * value:.1f}"),
            _cell(rows, "flops", np.mean, lambda value: f"{value / 1000:,.0f}"),
            _cell(rows, "parameters", np.mean, "{:,.0f}".format),
            _cell(rows, "bytes", np.mean, "{:,.0f}".format),
        )  # fmt: skip
    return table


def _tabulate_masks(streams: Rows, where: str) -> Table:
    names = ("naive", *NETS)
    table = _table(f"{where}: MAE by share of masked steps", "masked", *names, *(f"{n} +" for n in names))
    errors = by_setting(streams, "share")
    base = {name: np.array([by_net[name] for by_net in errors[0.0].values()]) for name in names}
    for share in sorted(errors):
        own = {name: np.array([by_net[name] for by_net in errors[share].values()]) for name in names}
        growth = [f"{100 * float((own[n] / base[n]).mean() - 1):+.1f} %" for n in names]
        table.add_row(_share(share), *(_ratio(float(own[n].mean())) for n in names), *growth)
    return table


def _tabulate_speed(rows: Rows) -> Table:
    table = _table("readings learnt a second on one core", "series", "chunk", *NETS)
    for series in sorted({row["series"] for row in rows}):
        own = {row["net"]: row for row in rows if row["series"] == series}
        cells = [f"{1.0 / own[net]['median']:,.0f}" for net in NETS]
        table.add_row(str(series), str(own["rnn"]["chunk"]), *cells)
    return table


def _tabulate_claims(claims: Sequence[Claim]) -> Table:
    table = Table(title="what is said of the plain RNN", title_justify="left", show_lines=True)
    for heading in ("claim", "where", "measured", "verdict"):
        table.add_column(heading, overflow="fold")
    for claim in claims:
        table.add_row(
            claim.text, claim.where, describe_gain(claim),
            f"[{_COLOURS[claim.verdict]}]{claim.verdict}[/]",
        )  # fmt: skip
    return table


def describe_gain(claim: Claim) -> str:
    """The gain with its interval, its unit and what would matter."""
    if claim.mean is None:
        return f"{claim.unit}: not known"
    spread = "" if claim.half_width is None else f" ± {claim.half_width:.3g}"
    return (
        f"{claim.unit}: {claim.mean:+.3g}{spread} over {len(claim.gains)}; material from {claim.material:.2g}"
    )


def _cell(rows: Rows, key: str, middle: Callable[[list[float]], Any], write: Callable[[float], str]) -> str:
    known = [row[key] for row in rows if row[key] is not None]
    return write(float(middle(known))) if known else "-"


def _share(value: float) -> str:
    return f"{100 * value:.0f} %"


def _ratio(value: float) -> str:
    return f"{value:.3f}"


def _small(value: float) -> str:
    return f"{value:.2g}"
