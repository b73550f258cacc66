"""`gatecast compare`: the study RNN against LSTM."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pipeline.table_options import table_options, take_table_options


@click.command("compare", short_help="The study RNN against LSTM, on files or on built-in tasks.")
@click.argument("files", nargs=-1, metavar="[FILE]...")
@click.option(
    "--tasks",
    help="Built-in tasks, with commas: recall, adding, plant; or none. [default: all, none with FILE]",
)
@click.option("--seeds", type=click.IntRange(min=2), help="Replications. [default: 3]")
@click.option(
    "--updates", type=click.IntRange(min=25), help="Lessons that a network gets on a task. [default: 400]"
)
@click.option("--rows", type=click.IntRange(min=1), help="Take only the first so many rows of each file.")
@click.option("--horizon", type=click.IntRange(min=1), help="Steps ahead. [default: 12]")
@click.option("--quick", is_flag=True, help="A look in a minute or two: fewer seeds, lessons and settings.")
@click.option("--jobs", type=click.IntRange(min=1), help="Processes. [default: one for each core]")
@click.option(
    "--json", "json_path", type=click.Path(dir_okay=False, writable=True), metavar="OUT",
    help="Write all figures as JSON.",
)  # fmt: skip
@click.option(
    "--plots", type=click.Path(file_okay=False), metavar="DIR", help="Draw every claim, as PNG files."
)
@table_options
def compare(files: tuple[str, ...], json_path: str | None, plots: str | None, **settings: Any) -> None:
    """What is said of plain RNNs, measured: gradients that vanish or explode, memory, irregular streams,
    depth, cost and parallel speed, beside an LSTM of the same width.

    Readings come from FILE..., as `backtest` reads them, or from a simulated plant; recall and adding are
    tasks with a known answer. Each claim gets a verdict from its figures: holds, does not hold, undecided.

    \b
    Examples:
      gatecast compare --quick
      gatecast compare ETTh1.csv --rows 14400 --plots pictures --json study.json
    """
    from pipeline.study.command import run_command  # torch takes seconds to load; --help need not wait

    table = take_table_options(settings)
    run_command(
        files,
        table,
        json_path=Path(json_path) if json_path else None,
        plots=Path(plots) if plots else None,
        **settings,
    )
