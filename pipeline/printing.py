"""What a person sees of a backtest: notes, progress, table."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

_COLUMNS = (("MSE", "mse"), ("MAE", "mae"), ("MASE", "mase"), ("skill", "skill"), ("coverage", "coverage"))


class RateColumn(ProgressColumn):
    """Readings per second so far."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed or 0:,.0f} readings/s")


def make_progress(console: Console) -> Progress:
    """A bar with rate and time left; shows nothing where the console is no terminal."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        RateColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def print_counts(console: Console, what: str, counts: Mapping[str, int]) -> None:
    shown = ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in counts.items() if count)
    console.print(escape(f"{what}: {shown or 'none'}"), highlight=False, soft_wrap=True)


def print_report(console: Console, report: Mapping[str, Any]) -> None:
    """A row per forecaster and path."""
    title = (
        f"{report['series']} series, {report['readings']:,} readings, scored from {report['scored_from']}, "
        f"{report['seconds']:.1f} s on {report['device']}"
    )
    table = Table(title=title, title_justify="left")
    table.add_column("forecaster")
    table.add_column("path", justify="right")
    for heading, _ in _COLUMNS:
        table.add_column(heading, justify="right")
    for name, figures in report["forecasters"].items():
        for at, (path, numbers) in enumerate(figures["path"].items()):
            cells = [_format(numbers[key]) for _, key in _COLUMNS]
            last = at == len(figures["path"]) - 1
            table.add_row("" if at else name, path, *cells, end_section=last)
    console.print(table)
    if report["sentence"]:
        console.print(f"{report['sentence']}.", markup=False, highlight=False, soft_wrap=True)


def _format(number: float | None) -> str:
    if number is None:
        return "-"
    return f"{number:.4f}" if abs(number) < 10_000 else f"{number:.4g}"
