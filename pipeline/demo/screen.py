"""What the terminal shows of a worker, from the value that `pipeline/live/overview.py` describes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

Overview = Mapping[str, Any]

SHOWN_ALERTS = 8
FIGURES = (("MASE", "mae"), ("skill", "skill"), ("cover", "coverage"))
WIDE = 100
"""Columns of a terminal that has room for a third step."""
STATE_STYLES = {"firing": "bold red", "resolved": "green"}
NOTED = "noted"
"""Alerts that page nobody; with few series they would crowd out those that do."""


def show_worker(overview: Overview, heading: Sequence[str], width: int) -> RenderableType:
    """The whole screen: heading, states, forecasters, sentence, alerts."""
    parts: list[RenderableType] = [Text(heading[0], style="bold"), *(Text(line) for line in heading[1:])]
    parts += [Text(""), Text(say_states(overview)), Text("")]
    if overview["forecasters"]:
        parts += [show_forecasters(overview, width), Text("")]
    parts += [Text(f"{overview['sentence']}.", style="bold"), Text(""), show_alerts(overview)]
    return Group(*parts, Text(""))  # a terminal shows ^C where the cursor is: not behind a full line


def say_states(overview: Overview) -> str:
    """Such as `50 series: 48 live, 2 warming · 50 readings/s · lag 0`."""
    worker = overview["worker"]
    states = ", ".join(f"{number:,} {state}" for state, number in worker["states"].items() if number)
    lag = overview["lag"]
    return (
        f"{worker['series']:,} series{': ' if states else ''}{states} · "
        f"{overview['readings_per_second']:,.0f} readings/s · "
        f"lag {'not known yet' if lag is None else f'{lag:,} messages'}"
    )


def show_forecasters(overview: Overview, width: int) -> Table:
    """A row for each forecaster: its figures at some steps, the series it wins, and where it leads."""
    steps = choose_steps(overview["steps"], 3 if width >= WIDE else 2)
    table = Table(box=None, pad_edge=False, title_justify="left")
    table.add_column("\nforecaster", no_wrap=True)
    for step in steps:
        for at, (heading, _) in enumerate(FIGURES):
            above = "" if at else f"step {step}"
            table.add_column(f"{above}\n{heading}", justify="right", no_wrap=True)
    table.add_column("series\nwon", justify="right")
    table.add_column("leads at\nsteps")
    for each in overview["forecasters"]:
        figures = [each["steps"][str(step)][key] for step in steps for _, key in FIGURES]
        won = "" if each["won"] is None else f"{each['won']:.0%}"
        leads = ", ".join(map(str, list_led(overview, each["name"])))
        style = "bold" if each["recurrent"] else ""
        table.add_row(each["name"], *map(format_figure, figures), won, leads, style=style)
    return table


def choose_steps(steps: Sequence[int], number: int) -> list[int]:
    """The first, the last and, for three, one between them."""
    ends = sorted({steps[0], steps[-1]})
    return ends if number < 3 or len(steps) < 3 else [ends[0], steps[len(steps) // 2], ends[-1]]


def list_led(overview: Overview, name: str) -> list[int]:
    """Steps at which a recurrent forecaster leads the other with significance."""
    nets = {each["name"] for each in overview["forecasters"] if each["recurrent"]}
    rows = [row for row in overview["comparison"] if {row["a"], row["b"]} <= nets]
    return [row["step"] for row in rows if row["leader"] == name and row["step"] is not None]


def format_figure(number: float | None) -> str:
    return "-" if number is None else f"{number:.3f}"


def show_alerts(overview: Overview) -> RenderableType:
    """The newest; a line each, cut where the terminal ends."""
    alerts = [alert for alert in overview["alerts"] if alert["state"] != NOTED][:SHOWN_ALERTS]
    if not alerts:
        return Text("no alert yet", style="dim")
    lines = []
    for alert in alerts:
        line = Text(no_wrap=True, overflow="ellipsis")
        line.append(f"{format_time(alert['time'])} ")
        line.append(f"{alert['state']:<8} ", style=STATE_STYLES.get(alert["state"], ""))
        line.append(f"{alert['kind']:<12} {alert['series']}  ", style="")
        line.append(alert["reason"], style="dim")
        lines.append(line)
    return Group(*lines)


def say_alert(alert: Mapping[str, Any]) -> str:
    """An alert as one line without colours."""
    return (
        f"{format_time(alert['time'])} {alert['state']} {alert['kind']} {alert['series']}: {alert['reason']}"
    )


def say_progress(overview: Overview) -> str:
    """States, and the skill of the recurrent forecasters, on one line."""
    parts = [say_states(overview)]
    steps = choose_steps(overview["steps"], 2) if overview["steps"] else []
    for step in steps:
        skills = [
            f"{each['name']} {format_figure(each['steps'][str(step)]['skill'])}"
            for each in overview["forecasters"]
            if each["recurrent"]
        ]
        parts.append(f"skill at {step}: {', '.join(skills)}")
    return " · ".join(parts)


def format_time(time_ms: int) -> str:
    """In UTC; with its date where it is not of today."""
    moment = datetime.fromtimestamp(time_ms / 1000, UTC)
    is_today = moment.date() == datetime.now(UTC).date()
    return f"{moment:%H:%M:%S}" if is_today else f"{moment:%Y-%m-%d %H:%M}"
