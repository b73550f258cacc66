"""The `bench` commands."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pipeline.benches.rows import Row


@click.group("bench", context_settings={"help_option_names": ["-h", "--help"]})
def bench() -> None:
    """Measure this machine; every figure beside a yardstick of the same run.

    Example:
      gatecast bench engine --json engine.json
    """


_RUNS = click.option(
    "--runs", default=5, show_default=True, type=click.IntRange(min=1), help="Median of so many."
)
_JSON = click.option(
    "--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), help="Write JSON here."
)
_SCALE = click.option(
    "--scale", default=1.0, show_default=True, type=click.FloatRange(min=0.001, max=100.0),
    help="Times the readings of a full run, for a quick look.",
)  # fmt: skip
_BOOTSTRAP = click.option("--bootstrap", help="A broker. [default: one of its own, which needs Java 17]")


@bench.command("engine")
@click.option(
    "--series", default="1,83,1000,10000", show_default=True, help="Numbers of series, with commas."
)
@click.option("--device", default="cpu", show_default=True, help="cpu: one core of it; or cuda, cuda:N.")
@_RUNS
@_JSON
def engine(series: str, device: str, runs: int, json_path: Path | None) -> None:
    """Readings per second of forecast and learn on one core, or on a GPU.

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
    from pipeline.benches.engine import run_engine, run_engine_on  # torch loads here, for a quick --help

    if device == "cpu":
        _report(run_engine(tuple(counts), runs), json_path)
        return
    with _on(device):
        rows, more = run_engine_on(device, tuple(counts), runs)
    _report(rows, json_path, **more)


@bench.command("ingest", short_help="From a topic to columns of readings.")
@_BOOTSTRAP
@_SCALE
@_RUNS
@_JSON
def ingest(bootstrap: str | None, scale: float, runs: int, json_path: Path | None) -> None:
    """Readings per second from a topic to columns, beside kafka-python with json.loads.

    Example:
      gatecast bench ingest --runs 3
    """
    from pipeline.benches.ingest import run_ingest

    with _broker(bootstrap) as address:
        _report(run_ingest(address, runs, scale), json_path)


@bench.command("emit", short_help="Forecasts into a topic.")
@_BOOTSTRAP
@_SCALE
@_RUNS
@_JSON
def emit(bootstrap: str | None, scale: float, runs: int, json_path: Path | None) -> None:
    """Forecasts per second into a topic, beside a send for each record.

    Example:
      gatecast bench emit --runs 3
    """
    from pipeline.benches.emit import run_emit

    with _broker(bootstrap) as address:
        _report(run_emit(address, runs, scale), json_path)


@bench.command("exposition", short_help="The text of a scrape.")
@_RUNS
@_JSON
def exposition(runs: int, json_path: Path | None) -> None:
    """Samples per second of /metrics, beside prometheus_client's generate_latest; and a default scrape.

    Example:
      gatecast bench exposition
    """
    from pipeline.benches.exposition import run_exposition

    _report(run_exposition(runs), json_path)


@bench.command("end-to-end", short_help="From a topic through workers to the forecasts topic.")
@click.option(
    "--workers", default=2, show_default=True, type=click.IntRange(min=1), help="Processes of the worker."
)
@click.option("--device", default="auto", show_default=True, help="Of the workers: auto, cpu or cuda.")
@click.option(
    "--worker-cores",
    help="Numbers of cores, as 0,1: they are the workers' alone, and broker and yardstick keep to the others "
    "(Linux). [default: all share all]",
)
@_SCALE
@_RUNS
@_JSON
def end_to_end(
    workers: int, device: str, worker_cores: str | None, scale: float, runs: int, json_path: Path | None
) -> None:
    """Readings per second through real workers and a real broker, beside one network per sensor.

    Example:
      gatecast bench end-to-end --runs 3 --json end-to-end.json
    """
    cores = _read_cores(worker_cores)
    import torch

    from pipeline.benches.end_to_end import run_end_to_end

    with _on(device):
        if device != "auto":
            torch.empty(0, device=device)  # before minutes are spent

    with _explained():
        rows, more = run_end_to_end(runs, workers, scale, device, cores, tell=partial(click.echo, err=True))
    _report(rows, json_path, **more)


def _read_cores(text: str | None) -> frozenset[int]:
    """Raises UsageError unless some of the cores that this process may use are named, and not all."""
    if text is None:
        return frozenset()
    parts = [part.strip() for part in text.split(",")]
    cores = frozenset(int(part) for part in parts if part.isdecimal())
    allowed = os.sched_getaffinity(0)
    if not all(part.isdecimal() for part in parts) or not cores < allowed:
        raise click.UsageError(
            f"--worker-cores: expected some of {','.join(map(str, sorted(allowed)))}, and one left for the "
            f"broker, got {text!r}."
        )
    return cores


@bench.command("scaling", short_help="With the number of series, the size of a shard, the workers.")
@click.option(
    "--part",
    "parts",
    multiple=True,
    type=click.Choice(["series", "shards", "workers"]),
    help="Of these alone. [default: all]",
)
@_SCALE
@_RUNS
@_JSON
def scaling(parts: tuple[str, ...], scale: float, runs: int, json_path: Path | None) -> None:
    """How time and memory grow from 100 to 100,000 series at a constant total rate; shards of 83, 250 and
    1,000 series beside each other; two workers beside one, on a broker of its own, which needs Java 17.

    Example:
      gatecast bench scaling --part series --json scaling-series.json
    """
    from pipeline.benches.scaling import PARTS, run_scaling

    with _explained():
        rows = run_scaling(parts or PARTS, runs, scale)
    _report(rows, json_path)


@contextmanager
def _broker(bootstrap: str | None) -> Iterator[str]:
    """The broker that was named, or one of its own while it lasts."""
    with _explained():
        if bootstrap is not None:
            yield bootstrap
            return
        from pipeline.demo.kafka_server import KafkaServer

        with tempfile.TemporaryDirectory() as folder, KafkaServer(Path(folder)) as server:
            yield server.bootstrap


@contextmanager
def _on(device: str) -> Iterator[None]:
    """Says in one sentence that torch has no CUDA, or that there is no such device."""
    try:
        yield
    except (RuntimeError, AssertionError, ValueError) as error:
        raise click.UsageError(f"--device {device} can't be used ({str(error).splitlines()[0]})") from error


@contextmanager
def _explained() -> Iterator[None]:
    """What a broker or a worker fails with, as one sentence."""
    from kafka.errors import KafkaError

    from pipeline.clients import BrokerError
    from pipeline.demo.kafka_server import ServerError

    try:
        yield
    except (KafkaError, BrokerError, ServerError, TimeoutError, RuntimeError) as error:
        raise click.ClickException(str(error) or type(error).__name__) from error


def _report(rows: Sequence[Row], json_path: Path | None, **more: object) -> None:
    from pipeline.benches.rows import make_report

    report = make_report(rows, **more)
    if json_path:
        json_path.write_text(json.dumps(report, indent=1) + "\n")
    _print(report)
    for name, value in more.items():
        click.echo(f"{name}: {value}")


def _print(report: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console, table = Console(highlight=False), Table()
    for heading in ("case", "series", "value", "unit", "times", "yardstick"):
        table.add_column(heading, justify="right" if heading in ("series", "value", "times") else "left")
    for row in report["results"]:
        yardstick = f"{row['yardstick']}: {_write_number(row['yardstick_value'])}"
        table.add_row(
            row["case"], f"{row['series']:,}", _write_number(row["value"]), row["unit"],
            f"{row['ratio']:,.4g}", yardstick,
        )  # fmt: skip
    console.print(table)
    for row in report["results"]:
        share = ", ".join(f"{k} {v:.0%}" for k, v in row["share"].items() if v >= 0.005)
        if share:
            console.print(f"time of {row['case']}, {row['series']:,} series: {share}")


def _write_number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1_000 else f"{value:.4g}"
