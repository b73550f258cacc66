"""`gatecast replay`: files of history into a topic, at a multiple of their speed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from pipeline.clients import DEFAULT_TOPIC, parse_client_settings
from pipeline.feed_options import broker_options, format_options, resolve_batch
from pipeline.table_options import table_options, take_table_options

if TYPE_CHECKING:
    from pipeline.demo.feed import OpenOutlet
    from pipeline.sources.dialect import TableOptions


@click.command("replay", short_help="Files of history into a Kafka topic.")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--topic", default=DEFAULT_TOPIC, show_default=True)
@broker_options
@click.option(
    "--speed",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    help="How many times as fast as it was measured; 0 is as fast as it goes.",
)
@click.option("--rows", type=click.IntRange(min=1), help="Take only the first so many rows of each file.")
@format_options
@table_options
def replay(files: tuple[str, ...], **settings: Any) -> None:
    """Send the history in FILE... into a topic, in time order, as if it were measured now.

    A file is CSV or Parquet, wide (time, then a column per series) or long (time, series, value). Readings
    keep their event times and their values to the last bit; a cell without a usable value is sent as null.

    \b
    Example:
      gatecast replay ETTh1.csv --speed 3600 --topic gatecast.readings --bootstrap localhost:9092
    """
    run_command(files, take_table_options(settings), **settings)


def run_command(
    files: Sequence[str],
    table: TableOptions,
    *,
    topic: str,
    bootstrap: str,
    client: tuple[str, ...],
    speed: float,
    rows: int | None,
    format: str,
    batch: int | None,
    open_outlet: OpenOutlet | None = None,
) -> None:
    """Raises TableError, SettingError or BrokerError; KeyboardInterrupt once what was sent has arrived."""
    from rich.console import Console

    from pipeline.demo import feed as feeds
    from pipeline.demo.encoding import Encoder
    from pipeline.demo.session import run_session
    from pipeline.histories import read_history
    from pipeline.printing import print_counts

    console = Console(stderr=True, highlight=False)
    settings = parse_client_settings(client)
    history = read_history(files, table, rows=rows, warmup=0.0, score_from=0.0)
    for note in history.assumed:
        console.print(f"assumed: {note}", markup=False, soft_wrap=True)
    print_counts(console, "in the files", history.counts)
    outlet = (open_outlet or feeds.open_outlet)(bootstrap, topic, settings)
    encoder = Encoder(format, resolve_batch(format, batch), with_quality=False)
    feed = feeds.Feed(outlet, history.series, encoder)
    pacer = feeds.Pacer(int(history.event_time_ms[0]), speed)
    total = len(history.value)
    console.print(
        f"{len(history.series):,} series, {total:,} readings into {topic} "
        f"({outlet.num_partitions} partitions)",
        markup=False,
        soft_wrap=True,
    )
    meter, stopped = run_session(
        console, outlet, feed, feeds.cut_due(history, pacer, feeds.CHUNK_READINGS), pacer, total=total
    )
    meter.summarise(f"stopped before the end, of {total:,} readings" if stopped else "replayed")
    if stopped:
        raise KeyboardInterrupt
