"""`gatecast inspect`: a look at files or a topic, and a first configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.clients import parse_client_settings
from pipeline.feed_options import broker_options
from pipeline.table_options import table_options, take_table_options

if TYPE_CHECKING:
    from pipeline.inspection.findings import Findings
    from pipeline.inspection.guess import Guess
    from pipeline.records import Messages, Readings, Rejected
    from pipeline.sources.dialect import TableOptions

DEFAULT_MESSAGES = 20_000


@click.command("inspect", short_help="Look at files or a topic before anything is learnt from them.")
@click.argument("files", nargs=-1, metavar="[FILE]...")
@click.option("--topic", help="Look at this topic instead of files; no group is joined, nothing committed.")
@broker_options
@click.option(
    "--messages",
    type=click.IntRange(min=1),
    default=DEFAULT_MESSAGES,
    show_default=True,
    help="The newest so many of the topic, over all partitions.",
)
@click.option("--rows", type=click.IntRange(min=1), help="Take only the first so many rows of each file.")
@click.option(
    "--write",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="OUT.toml",
    help="Write a first configuration, and a series file beside it.",
)
@click.option("--force", is_flag=True, help="Let --write replace files.")
@table_options
def inspect(files: tuple[str, ...], topic: str | None, **settings: Any) -> None:
    """Say what is in FILE... or in a topic, and what a worker would make of it.

    Tells how the files or messages are written, which series there are and how often they report, whether
    they sample or send by exception, what would be masked, dropped or rejected, and series in two partitions.

    \b
    Examples:
      gatecast inspect export.csv --time-zone Europe/Berlin --write gatecast.toml
      gatecast inspect --topic plant.readings --bootstrap localhost:9092
    """
    table = take_table_options(settings)
    if bool(files) == (topic is not None):
        raise click.UsageError("expected files or --topic, one of them; try gatecast inspect export.csv.")
    run_command(files, topic, table, **settings)


def run_command(
    files: Sequence[str],
    topic: str | None,
    table: TableOptions,
    *,
    bootstrap: str,
    client: tuple[str, ...],
    messages: int,
    rows: int | None,
    write: Path | None,
    force: bool,
    read_messages: Callable[[str, str, int, Mapping[str, Any]], list[Messages]] | None = None,
) -> None:
    """Raises TableError, SettingError, BrokerError, or click.UsageError for what --write would replace."""
    from rich.console import Console

    from pipeline.inspection.findings import inspect_files
    from pipeline.inspection.report import print_findings
    from pipeline.inspection.starter import name_series_file, write_starter

    if write is not None:
        _check_target((write, name_series_file(write)), force)
    if topic is None:
        findings = inspect_files(files, table, rows)
    else:
        from pipeline.sources.peek import read_newest

        read = read_messages or read_newest
        batches = read(bootstrap, topic, messages, parse_client_settings(client))
        findings = look_at_topic(batches, bootstrap, topic)
    series_file = write_starter(write, findings) if write is not None else None
    print_findings(Console(highlight=False), findings)
    if series_file is not None:
        click.echo(f"wrote {write} and {series_file}; next: gatecast config check --config {write}", err=True)


def look_at_topic(batches: Sequence[Messages], bootstrap: str, topic: str) -> Findings:
    """Raises click.ClickException where there is nothing to look at."""
    from pipeline.inspection.findings import Findings, inspect_topic

    if not any(map(len, batches)):
        raise click.ClickException(f"{topic} on {bootstrap} holds no messages; is anything sent to it?")
    found = inspect_topic(batches, decode_messages, bootstrap=bootstrap, topic=topic)
    if not isinstance(found, Findings):
        raise click.ClickException(
            f"{topic} on {bootstrap}: expected json, columns, Arrow or InfluxDB line protocol, "
            f"but there is {found.title}"
        )
    return found


def decode_messages(guess: Guess, messages: Messages) -> tuple[Readings, Sequence[Rejected]]:
    """By the worker's own codec, set up as guessed."""
    from pipeline.codec import (  # type: ignore[import-untyped, unused-ignore]
        CodecOptions,
        FieldOptions,
        build_codec,
    )

    fields: dict[str, Any] = dict(guess.fields)
    options = CodecOptions(
        format=guess.format or "json", fields=FieldOptions(**fields), time_unit=guess.time_unit
    )
    decoded = build_codec(options).decode(messages)
    return decoded.readings, decoded.rejected


def _check_target(paths: Sequence[Path], force: bool) -> None:
    for path in paths:
        if not path.absolute().parent.is_dir():
            raise click.UsageError(f"{path}: expected a folder that exists; make {path.parent} first.")
        if path.exists() and not force:
            raise click.UsageError(f"{path} exists already; choose another name, or replace it with --force.")
