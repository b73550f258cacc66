"""The `bench` commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click


@click.group("bench", context_settings={"help_option_names": ["-h", "--help"]})
def bench() -> None:
    """Measure this machine; every figure beside a yardstick of the same run.

    Example:
      gatecast bench engine --json engine.json
    """


@bench.command("engine")
@click.option(
    "--series", default="1,83,1000,10000", show_default=True, help="Numbers of series, with commas."
)
@click.option("--runs", default=5, show_default=True, type=click.IntRange(min=1), help="Median of so many.")
@click.option("--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), help="Write JSON here.")
def engine(series: str, runs: int, json_path: Path | None) -> None:
    """Readings per second of forecast and learn on one core.

    Example:
      gatecast bench engine --series 1,1000 --runs 3
    """
    counts = []
    for text in series.split(","):
        if not text.strip().isdecimal() or int(text) < 1:
            raise click.UsageError(
                f"--series: expected whole numbers with commas, such as 1,1000, got {series!r}."
            )
        counts.append(int(text))
    from pipeline.bench import run_engine  # torch loads here, so that --help stays quick

    report = run_engine(tuple(counts), runs)
    if json_path:
        json_path.write_text(json.dumps(report, indent=1) + "\n")
    _print(report)


def _print(report: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("case", "series", "readings/s", "yardstick", "its value", "ratio", "share of the time")
    for row in report["results"]:
        share = ", ".join(f"{k} {v:.0%}" for k, v in row["share"].items() if v >= 0.005)
        table.add_row(
            row["case"], f"{row['series']:,}", f"{row['value']:,.0f}", row["yardstick"],
            f"{row['yardstick_value']:,.0f}", f"{row['ratio']:,.1f}", share,
        )  # fmt: skip
    Console().print(table)
