"""`gatecast simulate`: a simulated plant into a topic."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.clients import DEFAULT_TOPIC, parse_client_settings
from pipeline.durations import format_duration
from pipeline.feed_options import Duration, broker_options, format_options, resolve_batch

if TYPE_CHECKING:
    from pipeline.demo.feed import OpenOutlet
    from pipeline.demo.plant import Plant
    from pipeline.records import Readings

OUT_FILE = click.Path(dir_okay=False, path_type=Path)
_LABELS_EVERY_S = 1.0
_TRIAL_STEPS = 61  # who sends by exception sends at every sixtieth at the latest


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What of the command line says how long and how fast."""

    past_only: bool
    speed: float
    for_s: float
    num_readings: int | None
    labels: Path | None


@click.command("simulate", short_help="A simulated plant into a Kafka topic.")
@click.option(
    "--series", "num_series", type=click.IntRange(min=1), default=100, show_default=True, help="So many."
)
@click.option(
    "--rate",
    type=click.FloatRange(min=0, min_open=True),
    help="Readings a second, about: sets the cadence, knowing that sensors by exception leave readings out.",
)
@click.option("--cadence", type=Duration(), help="Distance of two readings of a sensor. [default: 1s]")
@click.option("--for", "for_ms", type=Duration(), help="End after so long by the clock. [default: at Ctrl-C]")
@click.option("--readings", "num_readings", type=click.IntRange(min=1), help="End after so many readings.")
@click.option("--topic", default=DEFAULT_TOPIC, show_default=True)
@broker_options
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="A seed is a plant.")
@format_options
@click.option(
    "--faults-per-hour",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    help="Labelled faults in an hour of simulated time, over all sensors.",
)
@click.option("--calm", type=Duration(), default="0s", help="From the start so long without faults.")
@click.option("--history", type=Duration(), default="0s", help="Begin so long before now. [default: now]")
@click.option("--past-only", is_flag=True, help="End when the history has come to now.")
@click.option(
    "--speed",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    help="How many times as fast the history goes; 0 is as fast as it can. From now on it is live.",
)
@click.option("--day", type=Duration(), default="1d", help="Length of a day and its season. [default: 1d]")
@click.option(
    "--labels",
    type=OUT_FILE,
    metavar="OUT.json",
    help="Write what was wrong with which sensor, and when.",
)
@click.option(
    "--series-file",
    type=OUT_FILE,
    metavar="OUT.csv",
    help="Write what the plant knows about its sensors, for readings.series_file.",
)
def simulate(
    num_series: int, rate: float | None, cadence: int | None, seed: int, faults_per_hour: float, calm: int,
    history: int, past_only: bool, speed: float, day: int, for_ms: int | None, num_readings: int | None,
    labels: Path | None, series_file: Path | None, **where: Any,
) -> None:  # fmt: skip
    """Send what the sensors of a simulated plant measure into a topic, until Ctrl-C.

    The plant has daily and weekly seasons, sensors that move together, machines that are switched on and off,
    sensors that send by exception, slow drift and lost readings. Nothing is sent before its time.

    \b
    Examples:
      gatecast simulate --series 1000 --rate 2000 --series-file plant.csv
      gatecast simulate --cadence 60s --history 7d --faults-per-hour 6 --labels faults.json
    """
    from pipeline.demo.plant import Plant, PlantOptions

    cadence_ms = resolve_cadence(num_series, rate, cadence, seed=seed, day_ms=day)
    if not history and (speed or past_only):
        raise click.UsageError("--speed and --past-only are about the past: add --history, such as 7d.")
    start_ms = (int(time.time() * 1000) - history) // cadence_ms * cadence_ms
    for path in (labels, series_file):
        check_folder(path)
    plant = Plant(
        PlantOptions(
            num_series=num_series, start_ms=start_ms, cadence_ms=cadence_ms, seed=seed, day_ms=day,
            faults_per_hour=faults_per_hour, calm_ms=calm,
        )
    )  # fmt: skip
    run = Run(
        past_only=past_only, speed=speed, num_readings=num_readings, labels=labels,
        for_s=for_ms / 1000 if for_ms is not None else float("inf"),
    )  # fmt: skip
    if series_file is not None:
        from pipeline.demo.papers import write_series_file

        write_series_file(series_file, plant)
    run_command(plant, run, **where)


def resolve_cadence(
    num_series: int, rate: float | None, cadence_ms: int | None, *, seed: int, day_ms: int
) -> int:
    """Milliseconds between two steps of a sensor. Raises click.UsageError."""
    if rate is not None and cadence_ms is not None:
        raise click.UsageError("expected --rate or --cadence, but both are given; each sets the other.")
    if rate is not None:
        first_ms = max(1, round(num_series / rate * 1000))
        cadence_ms = round(count_sent(num_series, first_ms, seed, day_ms) / rate * 1000)
        if cadence_ms < 1:
            raise click.UsageError(
                f"--rate {rate:g}: a reading of each of {num_series} series every "
                f"{num_series / rate * 1e6:.0f} µs is too fast, as times are whole milliseconds; take more "
                "series or a lower rate."
            )
    if cadence_ms == 0:
        raise click.UsageError("expected --cadence of at least 1ms.")
    return 1000 if cadence_ms is None else cadence_ms


def count_sent(num_series: int, cadence_ms: int, seed: int, day_ms: int) -> float:
    """Readings of a step on average, as a plant of this seed sends them: from a trial that nobody hears."""
    from pipeline.demo.plant import Plant, PlantOptions

    options = PlantOptions(num_series=num_series, start_ms=0, cadence_ms=cadence_ms, seed=seed, day_ms=day_ms)
    sizes = [len(step) for step in islice(Plant(options), _TRIAL_STEPS)]
    return sum(sizes[1:]) / (_TRIAL_STEPS - 1)  # all send at the first one


def check_folder(path: Path | None) -> None:
    """Raise click.UsageError if a file can't be written there because its folder is missing."""
    if path is not None and not path.absolute().parent.is_dir():
        raise click.UsageError(f"{path}: expected a folder that exists; make {path.parent} first.")


def run_command(
    plant: Plant,
    run: Run,
    *,
    topic: str,
    bootstrap: str,
    client: tuple[str, ...],
    format: str,
    batch: int | None,
    open_outlet: OpenOutlet | None = None,
) -> None:
    """Raises BrokerError or SettingError, before anything is simulated where possible."""
    from rich.console import Console

    from pipeline.demo import feed as feeds
    from pipeline.demo.encoding import Encoder
    from pipeline.demo.session import run_session

    console = Console(stderr=True, highlight=False)
    outlet = (open_outlet or feeds.open_outlet)(bootstrap, topic, parse_client_settings(client))
    encoder = Encoder(format, resolve_batch(format, batch), with_quality=True)
    feed = feeds.Feed(outlet, plant.layout.series, encoder)
    now_ms = int(time.time() * 1000)
    pacer = feeds.Pacer(plant.options.start_ms, run.speed, live_at_ms=now_ms)
    console.print(describe_plant(plant, f"{topic} ({outlet.num_partitions} partitions)"), soft_wrap=True)
    steps = write_labels_along(plant, run.labels)
    if run.past_only:
        steps = take_past(plant, steps, now_ms)
    meter, _ = run_session(  # Ctrl-C is the usual end
        console,
        outlet,
        feed,
        feeds.join_due(steps, lambda: plant.time_ms, pacer, feeds.CHUNK_READINGS),
        pacer,
        for_s=run.for_s,
        num_readings=run.num_readings,
        describe=lambda: describe_now(plant, now_ms),
    )
    if run.labels is not None and feed.last_ms is not None:
        save_labels(plant, run.labels, feed.last_ms + plant.options.cadence_ms)
    meter.summarise(f"simulated {len(plant.faults)} faults" if plant.faults else "simulated")


def describe_plant(plant: Plant, where: str) -> str:
    options, layout = plant.options, plant.layout
    return (
        f"{len(layout.series):,} series in {layout.num_areas} areas with {layout.num_machines} machines, "
        f"{int(layout.by_exception.sum())} by exception, every {format_duration(options.cadence_ms)}, "
        f"into {where}"
    )


def describe_now(plant: Plant, now_ms: int) -> str:
    """Where in time the plant is, and what is wrong with it."""
    moment = time.strftime("%Y-%m-%d %H:%M", time.gmtime(plant.time_ms / 1000))
    faults = f"{plant.num_active_faults} faults on" if plant.options.faults_per_hour else ""
    return ", ".join(filter(None, ("live" if plant.time_ms >= now_ms else moment, faults)))


def take_past(plant: Plant, steps: Iterator[Readings], now_ms: int) -> Iterator[Readings]:
    for step in steps:
        yield step
        if plant.time_ms > now_ms:
            return


def write_labels_along(plant: Plant, path: Path | None) -> Iterator[Readings]:
    """The plant's steps; a new fault is on disk soon, even if the process is killed."""
    written, next_s = -1, 0.0
    for step in plant:
        if path is not None and len(plant.faults) != written and time.monotonic() >= next_s:
            save_labels(plant, path, plant.time_ms)
            written, next_s = len(plant.faults), time.monotonic() + _LABELS_EVERY_S
        yield step


def save_labels(plant: Plant, path: Path, before_ms: int) -> None:
    from pipeline.demo.papers import write_labels

    write_labels(path, plant, before_ms=before_ms)
