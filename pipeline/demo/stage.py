"""The demonstration itself: broker, feeder and worker in one process, each on threads of its own.

The worker is the one that `gatecast run` builds; only its broker is another.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pipeline.app import Worker
from pipeline.config import Config
from pipeline.demo.broker import API_VERSION, run_broker
from pipeline.demo.encoding import Encoder
from pipeline.demo.feed import FLUSH_TIMEOUT_S, Feed
from pipeline.demo.outlet import BoundedOutlet
from pipeline.demo.programme import HORIZON, Programme
from pipeline.exporters.readings import ReadingsProducer
from pipeline.kafka_options import take_kafka_options
from pipeline.ports import Partition

TOPIC = "gatecast.readings"
BATCH = 50
"""Readings in a message: an array of JSON objects, some kilobytes."""
END_S = 15.0
"""For the worker's last checkpoint and the feeder's last message; they take a second or two."""

log = logging.getLogger(__name__)


class Ended(Exception):  # noqa: N818 - ends the feeder's wait; no error
    """The demonstration is over."""


class Task(threading.Thread):
    """A thread whose error is kept, for `check` to raise where somebody hears it."""

    def __init__(self, name: str, run: Callable[[], None]) -> None:
        super().__init__(name=name, daemon=True)
        self._do = run
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            self._do()
        except Ended:
            return
        except BaseException as error:
            self._error = error

    def check(self) -> None:
        if self._error is not None:
            raise self._error


class Stage:
    """A demonstration that runs. `is_live` once the history was handed over, `is_played` after the last
    reading."""

    def __init__(self, programme: Programme, bootstrap: str, folder: Path, port: int) -> None:
        """Raises ConfigError."""
        self._programme = programme
        config = build_config(programme, bootstrap, folder, port)
        options = dataclasses.replace(take_kafka_options(config.kafka), makes_topics=True)
        self.worker = Worker(config, kafka=options)
        self._bootstrap, self._over = bootstrap, threading.Event()
        self.is_live = self.is_played = False
        self._tasks = (
            Task("worker", lambda: self.worker.run(self._over.is_set)),
            Task("feeder", self._feed),
        )

    def start(self) -> None:
        for task in self._tasks:
            task.start()

    def check(self) -> None:
        """Raises what the worker or the feeder has raised."""
        for task in self._tasks:
            task.check()

    def end(self) -> None:
        """Saves and ends, as a worker does; raises nothing."""
        self._over.set()
        deadline = time.monotonic() + END_S
        for task in self._tasks:
            if task.ident is not None:
                task.join(max(deadline - time.monotonic(), 0.1))

    def _feed(self) -> None:
        settings = {"api_version": API_VERSION, "allow_auto_create_topics": True}
        producer = ReadingsProducer(self._bootstrap, TOPIC, settings)
        try:
            series = self._programme.series
            outlet = BoundedOutlet(producer, len(series), next_offset=self._next_offset, sleep=self._sleep)
            feed = Feed(outlet, series, Encoder("json", BATCH, with_quality=True))
            self._programme.play(feed, self._sleep, self._on_live)
            outlet.flush(FLUSH_TIMEOUT_S)
            self.is_played = True
        finally:
            producer.close()

    def _on_live(self) -> None:
        self.is_live = True

    def _next_offset(self, partition: int) -> int:
        holding = self.worker.runner.holdings.get(Partition(TOPIC, partition))
        return 0 if holding is None else holding.next_offset

    def _sleep(self, seconds: float) -> None:
        if self._over.wait(seconds):
            raise Ended


@contextmanager
def run_stage(programme: Programme, port: int) -> Iterator[Stage]:
    """Runs for as long as the context, and leaves nothing behind."""
    with TemporaryDirectory(prefix="gatecast-demo-") as folder, run_broker() as bootstrap:
        stage = Stage(programme, bootstrap, Path(folder), port)
        stage.start()
        try:
            yield stage
        finally:
            stage.end()


def build_config(programme: Programme, bootstrap: str, folder: Path, port: int) -> Config:
    own: dict[str, dict[str, Any]] = {
        "kafka": {
            "bootstrap": (bootstrap,),
            "topics": (TOPIC,),
            "group": "gatecast-demo",
            "api_version": ".".join(map(str, API_VERSION)),
        },
        "readings": {"fields": {"quality": "quality"}},
        "forecasters": {"horizon": HORIZON, "device": "cpu"},
        "checkpoints": {"url": str(folder / "checkpoints")},
        "server": {"port": port},
    }
    chosen = programme.config(folder)
    return Config.model_validate({name: own.get(name, {}) | chosen.get(name, {}) for name in {*own, *chosen}})
