"""`gatecast demo`: the main job with nothing installed but the package."""

from __future__ import annotations

import errno
import socket
import time
from typing import Any

import click

from pipeline.table_options import table_options, take_table_options

DEFAULT_SERIES = 50
HOST = "127.0.0.1"


@click.command("demo", short_help="The whole job on one screen, with nothing else installed.")
@click.option("--data", metavar="FILE", help="Play this file, or data set, instead of a simulated plant.")
@click.option(
    "--series",
    "num_series",
    type=click.IntRange(min=1),
    help=f"Sensors of the plant, or so many of the file's series. [default: {DEFAULT_SERIES}, or all]",
)
@click.option(
    "--speed",
    type=click.FloatRange(min=0, min_open=True),
    help="With --data: so many times as fast as it was measured. [default: a step a second]",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=8000,
    show_default=True,
    help="Of the page; 0: a free one",
)
@click.option("--for", "for_s", type=click.FloatRange(min=0, min_open=True), help="End after so many seconds")
@table_options
def demo(
    data: str | None,
    num_series: int | None,
    speed: float | None,
    port: int,
    for_s: float | None,
    **table: Any,
) -> None:
    """Show RNN and LSTM forecasting live sensors, until Ctrl-C: on the terminal, and as a page in a browser.

    Broker, sensors and worker run in this process; nothing is kept at the end. FILE is what `backtest` reads,
    or the name of a data set that ships with an installed package: WaterFlow, CO2.

    \b
    Examples:
      gatecast demo
      gatecast demo --data ETTh1.csv --speed 3600 --for 120
    """
    started_s = time.monotonic()
    if speed is not None and data is None:
        raise click.UsageError("--speed is about --data: the simulated plant is live, as fast as time goes.")
    given = [name for name, value in table.items() if value is not None]
    if given and data is None:
        raise click.UsageError(f"--{given[0].replace('_', '-')} is about --data, which is not given.")
    check_port(port)

    from pipeline.demo.programme import FileProgramme, PlantProgramme, Programme
    from pipeline.demo.show import run_show

    options = take_table_options(table)
    programme: Programme
    if data is None:
        programme = PlantProgramme(num_series or DEFAULT_SERIES)
    else:
        programme = FileProgramme(data, options, num_series=num_series, speed=speed)
    run_show(programme, port, for_s, started_s)


def check_port(port: int) -> None:
    """Before anything takes time. Raises click.ClickException where it is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            why, way_out = error.strerror or str(error), "name another with --port, or 0 for a free one"
            if error.errno == errno.EADDRINUSE:
                why = "something listens there already, perhaps another demo"
            sentence = f"expected port {port} of {HOST} to be free, but {why}; {way_out}"
            raise click.ClickException(sentence) from error
