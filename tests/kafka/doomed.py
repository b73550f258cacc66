"""A worker that sends itself a signal, by default SIGKILL, when a place is reached for the n-th time.

The product knows nothing of it: what is called at each place is wrapped here, before `gatecast run` builds
its worker. To be called in a process of its own.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import wraps
from typing import Any

from kafka.coordinator.base import BaseCoordinator

from pipeline.exporters.kafka import KafkaEmitter
from pipeline.runner import Runner
from pipeline.sources.kafka import KafkaSource
from pipeline.sources.kafka_group import GroupConsumer
from pipeline.store import FRESH, CheckpointStore, files


class Fate:
    """Counts how often a place is reached."""

    def __init__(self, count: int, number: signal.Signals) -> None:
        self._left, self._number = count, number

    def approach(self) -> None:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), self._number)
            time.sleep(0.1)  # SIGSTOP takes effect a moment later; nothing more is done before it does


def wrap(owner: Any, name: str, fate: Fate, *, is_after: bool) -> None:
    call = getattr(owner, name)

    @wraps(call)
    def wrapped(*arguments: Any, **named: Any) -> Any:
        if not is_after:
            fate.approach()
        result = call(*arguments, **named)
        if is_after:
            fate.approach()
        return result

    setattr(owner, name, wrapped)


def wrap_commit(fate: Fate, *, is_after: bool, is_fresh: bool) -> None:
    """Commits of checkpoints, or those with which a fresh start begins."""
    call = KafkaSource.commit

    def commit(self: KafkaSource, positions: Any) -> Any:
        counts = is_fresh == any(position.metadata == FRESH for position in positions.values())
        if counts and not is_after:
            fate.approach()
        done = call(self, positions)
        if counts and is_after and done.done:
            fate.approach()
        return done

    KafkaSource.commit = commit  # type: ignore[method-assign]


def wrap_file(fate: Fate, name: str) -> None:
    """In the middle of a file of that name."""
    call = files.write_file

    def write_file(fs: Any, path: str, pieces: Iterable[Any]) -> int:
        def cut() -> Iterator[Any]:
            for piece in pieces:
                half = len(piece) // 2
                yield piece[:half]
                fate.approach()
                yield piece[half:]

        return call(fs, path, cut() if path.endswith(name) else pieces)

    files.write_file = write_file


def wrap_handing_over(fate: Fate, *, is_after: bool) -> None:
    """The commit of partitions that go to another worker."""
    call = GroupConsumer.commit_on_loop

    async def commit_on_loop(self: GroupConsumer, positions: Any, timeout_s: float) -> None:
        if not is_after:
            fate.approach()
        await call(self, positions, timeout_s)
        if is_after:
            fate.approach()

    GroupConsumer.commit_on_loop = commit_on_loop  # type: ignore[method-assign]


def wrap_join(fate: Fate) -> None:
    """Between JoinGroup and SyncGroup of a rebalance that finds partitions being read."""
    start, process = KafkaSource.start, BaseCoordinator._process_join_group_response
    is_reading = []

    def note_start(self: KafkaSource, partition: Any, offset: int) -> bool:
        is_reading.append(True)
        return start(self, partition, offset)

    def process_response(self: Any, response: Any, send_time: float) -> Any:
        done = process(self, response, send_time)
        if is_reading:
            fate.approach()
        return done

    KafkaSource.start = note_start  # type: ignore[method-assign]
    BaseCoordinator._process_join_group_response = process_response


def hang_writes() -> None:
    """The storage takes what is written, and never answers."""
    CheckpointStore.write = lambda *_: time.sleep(3600)  # type: ignore[method-assign,assignment]


PLACES: dict[str, Callable[[Fate], None]] = {
    "never": lambda fate: None,
    "hanging": lambda fate: hang_writes(),
    "before the fresh commit": lambda fate: wrap_commit(fate, is_after=False, is_fresh=True),
    "after the fresh commit": lambda fate: wrap_commit(fate, is_after=True, is_fresh=True),
    "learnt": lambda fate: wrap(KafkaEmitter, "forecasts", fate, is_after=False),
    "sent": lambda fate: wrap(KafkaEmitter, "forecasts", fate, is_after=True),
    "in the state": lambda fate: wrap_file(fate, ".safetensors"),
    "in the manifest": lambda fate: wrap_file(fate, ".json"),
    "written": lambda fate: wrap(CheckpointStore, "write", fate, is_after=True),
    "before the commit": lambda fate: wrap_commit(fate, is_after=False, is_fresh=False),
    "after the commit": lambda fate: wrap_commit(fate, is_after=True, is_fresh=False),
    "pruned": lambda fate: wrap(CheckpointStore, "prune", fate, is_after=True),
    "loaded": lambda fate: wrap(CheckpointStore, "load", fate, is_after=True),
    "joined": wrap_join,
    "frozen": lambda fate: wrap(Runner, "freeze", fate, is_after=True),
    "before handing over": lambda fate: wrap_handing_over(fate, is_after=False),
    "after handing over": lambda fate: wrap_handing_over(fate, is_after=True),
    "dropped": lambda fate: wrap(Runner, "drop", fate, is_after=True),
}


def live(place: str, count: int, number: signal.Signals, settings: Mapping[str, str], log: str) -> None:
    """`gatecast run` with these variables, until the place is reached or somebody ends it."""
    with open(log, "ab") as stderr:
        os.dup2(stderr.fileno(), 2)
    for name in [name for name in os.environ if name.startswith("GATECAST_")]:
        del os.environ[name]
    os.environ.update(settings)
    PLACES[place](Fate(count, number))
    from pipeline.cli import main  # after the places, and slow

    sys.argv[1:] = ["run"]
    main()
