"""The `checkpoints` commands."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pipeline.config import load_config

if TYPE_CHECKING:
    from pipeline.adoption import GroupAdmin
    from pipeline.ports import Position
    from pipeline.store import Found, Manifest

CallableT = TypeVar("CallableT", bound=Callable[..., Any])

UNKNOWN = "–"
FILE_WIDTH = 200
"""Of a table that goes to a file or a pipe: nothing is folded, so that lines can be searched."""


@click.group("checkpoints", context_settings={"help_option_names": ["-h", "--help"]})
def checkpoints() -> None:
    """What shards have learnt, on disk: look at it, check it, make it count again.

    \b
    Example:
      gatecast checkpoints list --url /var/lib/gatecast/checkpoints
    """


def place_options(command: CallableT) -> CallableT:
    """--config, --url, --group and --topic."""
    for option in (
        click.option("--topic", help="Topic of the readings."),
        click.option("--group", help="Consumer group."),
        click.option("--url", help="Folder or fsspec URL. [default: checkpoints.url as configured]"),
        click.option("--config", "path", type=click.Path(), help="TOML file of a worker."),
    ):
        command = option(command)
    return command


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where checkpoints are and who committed them: what was given, over what is configured."""

    url: str
    group: str | None
    topic: str | None
    bootstrap: str | None


def find_place(
    path: str | None,
    *,
    url: str | None,
    group: str | None,
    topic: str | None,
    bootstrap: str | None = None,
    is_whole: bool = False,
) -> Place:
    """is_whole: group, topic and brokers are taken from the configuration even without --config.

    Raises ConfigError, and UsageError where the configuration names no single topic.
    """
    config = load_config(path)
    if path is not None or is_whole:
        group, bootstrap = group or config.kafka.group, bootstrap or ",".join(config.kafka.bootstrap)
        if topic is None and is_whole:
            if len(config.kafka.topics) > 1 or config.kafka.pattern:
                raise click.UsageError("kafka.topics names several topics: say which with --topic")
            topic = config.kafka.topics[0]
    return Place(url=url or config.checkpoints.url, group=group, topic=topic, bootstrap=bootstrap)


@checkpoints.command("list")
@place_options
@click.option("--bootstrap", help="Kafka, HOST:PORT[,…]: to say which checkpoints are committed.")
def list_command(
    path: str | None, url: str | None, group: str | None, topic: str | None, bootstrap: str | None
) -> None:
    """A row for each checkpoint, whole or not.

    \b
    Example:
      gatecast checkpoints list --url s3://plant/gatecast --group gatecast --bootstrap kafka:9092
    """
    from pipeline.store import find_checkpoints

    place = find_place(path, url=url, group=group, topic=topic, bootstrap=bootstrap)
    found = _read(lambda: list(find_checkpoints(place.url, place.group, place.topic)))
    committed: dict[tuple[str, str, int], Position] | None = None
    if place.bootstrap:
        committed = _read_committed(place.bootstrap, sorted({one.group for one in found}))
    _print_table(found, committed)


@checkpoints.command()
@place_options
def verify(path: str | None, url: str | None, group: str | None, topic: str | None) -> None:
    """Read every checkpoint and compare its hash. Ends with 1 if one is broken.

    \b
    Example:
      gatecast checkpoints verify --url /var/lib/gatecast/checkpoints
    """
    from pipeline.store import find_checkpoints

    place = find_place(path, url=url, group=group, topic=topic)
    broken = total = 0
    try:
        for one in find_checkpoints(place.url, place.group, place.topic, verify=True):
            total += 1
            broken += bool(one.problem)
            click.echo(f"{_describe(one)}: {one.problem or 'whole'}")
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if broken:
        raise click.ClickException(f"{broken} of {total} checkpoints can't be taken")
    click.echo(f"{total} checkpoints, all whole")


@checkpoints.command()
@place_options
@click.option("--bootstrap", help="Kafka, HOST:PORT[,…]. [default: as configured]")
@click.option("--partition", "partitions", multiple=True, type=click.IntRange(min=0), help="Repeatable.")
@click.option("--all", "every", is_flag=True, help="All partitions that have checkpoints.")
@click.option("--at", type=click.IntRange(min=0), help="Take none above this offset.")
def adopt(
    path: str | None,
    url: str | None,
    group: str | None,
    topic: str | None,
    bootstrap: str | None,
    partitions: tuple[int, ...],
    every: bool,
    at: int | None,
) -> None:
    """Commit the newest whole checkpoint of each partition, so that workers go on from it.

    For when the group's committed offset has expired or was deleted. Stop the workers first.

    \b
    Example:
      gatecast checkpoints adopt --url /data --group plant --topic plant.readings --all --bootstrap kafka:9092
    """
    if every == bool(partitions):
        raise click.UsageError("expected either --all or at least one --partition")
    place = find_place(path, url=url, group=group, topic=topic, bootstrap=bootstrap, is_whole=True)
    assert place.group is not None
    assert place.topic is not None
    assert place.bootstrap is not None
    admin = open_admin(place.bootstrap)
    try:
        chosen = adopt_partitions(
            admin, place.url, place.group, place.topic, None if every else partitions, at
        )
    finally:
        admin.close()
    for partition, manifest in sorted(chosen.items()):
        click.echo(f"partition {partition}: adopted {manifest.next_offset}-{manifest.uuid}")


def adopt_partitions(
    admin: GroupAdmin, url: str, group: str, topic: str, partitions: Iterable[int] | None, at: int | None
) -> dict[int, Manifest]:
    """Choose, then commit all at once; partitions None: all that have a folder. Raises ClickException."""
    from kafka.errors import KafkaError  # type: ignore[import-untyped,unused-ignore]

    from pipeline import adoption
    from pipeline.store import open_store

    store = _read(lambda: open_store(url, group, topic))

    def attempt() -> dict[int, Manifest]:
        about = adoption.describe_topic(admin, topic)
        wanted = store.list_partitions(about.id) if partitions is None else sorted(set(partitions))
        if not wanted:
            raise adoption.AdoptionError(
                f"expected checkpoints of topic id {about.id} in {store.describe_place(about.id)}, but there "
                "are none; `gatecast checkpoints list` shows what there is"
            )
        chosen = {p: adoption.select_checkpoint(store, about, p, at) for p in wanted}
        adoption.adopt(admin, group, topic, chosen)
        return chosen

    try:
        return adoption.ask_patiently(attempt)
    except adoption.AdoptionError as error:
        raise click.ClickException(str(error)) from error
    except KafkaError as error:
        raise click.ClickException(f"Kafka: {error}; adopt again once the broker answers") from error


def open_admin(bootstrap: str) -> Any:
    """A connected admin client; the caller closes it. Raises ClickException where no broker answers."""
    from kafka import KafkaAdminClient  # type: ignore[import-untyped,unused-ignore]
    from kafka.errors import KafkaError

    servers = [server.strip() for server in bootstrap.split(",")]
    try:
        return KafkaAdminClient(bootstrap_servers=servers)
    except KafkaError as error:
        raise click.ClickException(
            f"expected a Kafka broker at {bootstrap}, but none answers ({error}); check --bootstrap"
        ) from error


ReadT = TypeVar("ReadT")


def _read(read: Callable[[], ReadT]) -> ReadT:
    """What `read` returns; a URL that can't be used is wrong usage."""
    try:
        return read()
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _read_committed(bootstrap: str, groups: Iterable[str]) -> dict[tuple[str, str, int], Position]:
    from kafka.errors import KafkaError

    from pipeline.adoption import ask_patiently, read_committed

    admin = open_admin(bootstrap)

    def ask() -> dict[tuple[str, str, int], Position]:
        return {
            (group, topic, partition): position
            for group in groups
            for (topic, partition), position in read_committed(admin, group).items()
        }

    try:
        return ask_patiently(ask)
    except KafkaError as error:
        raise click.ClickException(f"Kafka: can't read the committed offsets ({error})") from error
    finally:
        admin.close()


def _describe(one: Found) -> str:
    return f"{one.group} {one.topic} ({one.topic_id}) partition {one.partition} {one.folder}"


def _print_table(found: list[Found], committed: Mapping[tuple[str, str, int], Position] | None) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for heading in ("group", "topic", "topic id"):
        table.add_column(heading, overflow="fold")
    for heading in ("partition", "offset", "written (UTC)", "MB", "series", "learnt", "whole", "committed"):
        table.add_column(heading, justify="right")
    for one in found:
        manifest = one.manifest
        position = (committed or {}).get((one.group, one.topic, one.partition))
        is_committed = position is not None and position.metadata.startswith(f"{one.folder.uuid}:")
        figures = [UNKNOWN] * 4
        if manifest:
            figures = [f"{manifest.written_at:%Y-%m-%d %H:%M:%S}", f"{manifest.state_bytes / 1e6:,.1f}"]
            figures += [
                f"{manifest.counts[key]:,}" if key in manifest.counts else UNKNOWN
                for key in ("series", "readings_learned")
            ]
        table.add_row(
            one.group, one.topic, one.topic_id, str(one.partition), f"{one.folder.next_offset:,}", *figures,
            "yes" if manifest else "no", UNKNOWN if committed is None else "yes" if is_committed else "",
        )  # fmt: skip
    console = Console()
    if not console.is_terminal:
        console.width = FILE_WIDTH
    console.print(table)
    for one in found:
        if one.problem:
            click.echo(f"{_describe(one)}: {one.problem}")
