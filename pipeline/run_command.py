"""`gatecast run`: the worker as a process, with its signals and its log."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from types import FrameType

import click

from pipeline.config import Config, load_config
from pipeline.heap import settle

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class Signals:
    """SIGTERM and Ctrl-C end the worker after its turn; SIGHUP has it read the series file again."""

    def __init__(self) -> None:
        self.is_over = False
        self.is_asked_to_declare = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
        if hasattr(signal, "SIGHUP"):
            signal.signal(signal.SIGHUP, self._declare)

    def _end(self, number: int, _: FrameType | None) -> None:
        if self.is_over:  # asked twice: at once, what was learnt since the last checkpoint is learnt again
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self.is_over = True

    def _declare(self, number: int, _: FrameType | None) -> None:
        self.is_asked_to_declare = True


class JsonLines(logging.Formatter):
    """A JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def set_up_log(config: Config) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        JsonLines()
        if config.log.format == "json"
        else logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    )
    logging.basicConfig(level=_LEVELS[config.log.level], handlers=[handler], force=True)
    for chatty in ("uvicorn", "fsspec"):
        logging.getLogger(chatty).setLevel(max(_LEVELS[config.log.level], logging.WARNING))
    if config.log.level != "debug":  # repeats every error ten times a second; our own lines say it once
        logging.getLogger("kafka").setLevel(logging.CRITICAL)


@click.command()
@click.option("--config", "path", type=click.Path(), help="TOML file; without it, defaults and variables.")
@click.option(
    "--workers", default=1, show_default=True, type=click.IntRange(min=1, max=1_024),
    help="So many processes, each on one core, share the partitions.",
)  # fmt: skip
@click.option(
    "--pin", is_flag=True,
    help="Keep each of several workers to a core of its own (Linux), for some percent more; where other "
    "programs need those cores at times, it has to wait for them.",
)  # fmt: skip
@click.option(
    "--supervisor", type=int, hidden=True,
    help="Process that started this one, for whom it ends. A supervisor that is killed can't say so itself.",
)  # fmt: skip
def run(path: str | None, workers: int, pin: bool, supervisor: int | None) -> None:
    """Read sensor streams from Kafka, forecast and learn, until stopped.

    \b
    Examples:
      gatecast run --config deploy/config/gatecast.toml
      gatecast run --config deploy/config/gatecast.toml --workers 2

    SIGTERM or Ctrl-C saves what was learnt and ends; SIGHUP reads the series file again. With several workers
    one port serves all of their metrics; each has a page of its own on the ports behind it.
    """
    if pin and (workers == 1 or not hasattr(os, "sched_setaffinity")):
        raise click.UsageError("--pin: expected --workers of 2 or more, on Linux.")
    config = load_config(path)
    set_up_log(config)
    if workers > 1:
        sys.exit(_run_crew(config, path, workers, sorted(os.sched_getaffinity(0)) if pin else ()))
    from pipeline.app import Worker  # torch takes seconds to load; --help need not wait

    worker = Worker(config)
    settle()
    signals = Signals()

    def is_over() -> bool:
        if signals.is_asked_to_declare:
            signals.is_asked_to_declare = False
            worker.declare()
        return signals.is_over or supervisor not in (None, os.getppid())

    worker.run(is_over)


def _run_crew(config: Config, path: str | None, workers: int, cores: Sequence[int]) -> int:
    from pipeline.app import read_http_options
    from pipeline.crew import Crew

    crew = Crew(config, path, workers, read_http_options(config), cores=cores)
    signals = Signals()

    def is_asked_to_declare() -> bool:
        asked, signals.is_asked_to_declare = signals.is_asked_to_declare, False
        return asked

    return crew.run(lambda: signals.is_over, is_asked_to_declare)
