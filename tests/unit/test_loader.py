"""How a partition's state is brought up: retried, refused, or there, with the place to read on from."""

from __future__ import annotations

import errno
import threading
import time
from concurrent.futures import Future
from typing import Any

import pytest
import torch

from pipeline.codec import CodecOptions, build_codec
from pipeline.engine.settings import DEFAULT
from pipeline.holdings import Loaded, Refused
from pipeline.loader import Loader
from pipeline.ports import Partition, Position, SourceError, TopicFacts
from pipeline.store import FRESH, Checkpoint, Choice, Fresh, Load, Refuse, open_store
from tests.unit.doubles import TOPIC, Clock, MemorySource, make_reading
from tests.unit.rig import Rig, make_shard

PLACE = Partition(TOPIC, 0)


class Choosing:
    """Chooses what it was told last; an exception is raised."""

    def __init__(self) -> None:
        self.choice: Choice | Exception = Fresh(start="earliest")
        self.asked: list[tuple[Position | None, str]] = []

    def __call__(self, partition: Partition, committed: Position | None, facts: TopicFacts) -> Choice:
        self.asked.append((committed, facts.topic_id))
        if isinstance(self.choice, Exception):
            raise self.choice
        return self.choice


@pytest.fixture
def choose() -> Choosing:
    return Choosing()


@pytest.fixture
def source() -> MemorySource:
    source = MemorySource([], Clock())
    source.assign(0)
    source.send(*[make_reading(minute) for minute in range(5)])
    return source


@pytest.fixture
def loader(choose: Choosing, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("pipeline.loader.RETRY_S", 0.01)
    codec = CodecOptions(format="json")
    loader = Loader(choose, make_shard, lambda: build_codec(codec), lambda _: DEFAULT)
    yield loader
    loader.close()


def load(loader: Loader, source: MemorySource) -> Loaded | Refused:
    return loader.load(source, PLACE, lambda: True).result(10)


@pytest.mark.parametrize(("start", "offset"), [("earliest", 0), ("latest", 5), (3, 3)])
def test_fresh_start(loader: Loader, source: MemorySource, choose: Choosing, start: Any, offset: int) -> None:
    choose.choice = Fresh(start=start)
    loaded = load(loader, source)
    assert isinstance(loaded, Loaded)
    assert loaded.is_fresh
    assert loaded.position == Position(offset=offset, metadata=FRESH)
    assert loaded.facts.topic_id == "topicId"
    assert loaded.shard.counts["accepted"] == 0


def test_refusal_is_handed_on(loader: Loader, source: MemorySource, choose: Choosing) -> None:
    choose.choice = Refuse(reason="the topic was made anew")
    source.group[PLACE] = Position(offset=3)
    assert load(loader, source) == Refused(reason="the topic was made anew")
    assert choose.asked == [(Position(offset=3), "topicId")]


@pytest.mark.parametrize("where", ["broker", "storage"])
def test_is_tried_until_broker_and_storage_answer(
    loader: Loader, source: MemorySource, choose: Choosing, where: str
) -> None:
    source.is_away = where == "broker"
    if where == "storage":
        choose.choice = OSError(errno.EHOSTUNREACH, "No route to host")
    told: list[str] = []
    is_told = threading.Event()

    def tell(reason: str) -> None:
        told.append(reason)
        if len(told) == 3:
            is_told.set()

    future = loader.load(source, PLACE, lambda: True, tell)
    assert is_told.wait(10)
    assert not future.done()
    source.is_away = False
    choose.choice = Fresh(start="earliest")
    assert isinstance(future.result(10), Loaded)
    expected = "[Errno 113] No route to host" if where == "storage" else "kafka:9092 does not answer"
    assert set(told) == {expected}


def test_gives_up_what_is_not_wanted_any_more(loader: Loader, source: MemorySource) -> None:
    source.is_away = True
    is_wanted = [True]
    future = loader.load(source, PLACE, lambda: is_wanted[0])
    is_wanted[0] = False
    assert future.result(10) == Refused(reason="given up")
    source.is_away = False
    assert isinstance(load(loader, source), Loaded), "and does the next"


def test_close_ends_what_waits(loader: Loader, source: MemorySource) -> None:
    source.is_away = True
    waiting = loader.load(source, PLACE, lambda: True)
    behind: Future[Any] = loader.load(source, PLACE, lambda: True)
    while not waiting.running():
        time.sleep(0.001)
    loader.close()
    assert waiting.result(10) == Refused(reason="given up")
    assert behind.cancelled()


def test_what_trying_again_does_not_mend_is_raised(
    loader: Loader, source: MemorySource, choose: Choosing
) -> None:
    choose.choice = SourceError("kafka:9092 has no topic readings")
    with pytest.raises(SourceError, match="has no topic readings"):
        load(loader, source)


def save_one() -> Checkpoint:
    """Of a worker that learnt four readings."""
    rig = Rig()
    rig.assign(0)
    rig.source.send(*[make_reading(minute) for minute in range(4)])
    rig.turn()
    rig.stop()
    (folder,) = rig.store.real.list_folders("topicId", 0)
    return rig.store.real.load("topicId", 0, folder)


def test_checkpoint_is_loaded_and_read_on_from(
    loader: Loader, source: MemorySource, choose: Choosing
) -> None:
    checkpoint = save_one()
    choose.choice = Load(checkpoint=checkpoint, notes=("taken instead of another",))
    loaded = load(loader, source)
    assert isinstance(loaded, Loaded)
    assert not loaded.is_fresh
    assert loaded.position == Position(offset=4, metadata=checkpoint.manifest.metadata)
    assert loaded.shard.counts["accepted"] == 4
    assert loaded.notes == ("taken instead of another",)


def test_state_of_another_make_is_refused(loader: Loader, source: MemorySource, choose: Choosing) -> None:
    store = open_store("memory://make", "plant", TOPIC)
    facts = {"num_partitions": 1, "signatures": save_one().manifest.signatures}
    store.write("topicId", 0, 4, {"a": torch.zeros(3)}, facts)
    (folder,) = store.list_folders("topicId", 0)
    choose.choice = Load(checkpoint=store.load("topicId", 0, folder))
    refused = load(loader, source)
    assert isinstance(refused, Refused)
    assert refused.reason.startswith("the checkpoint at offset 4, written by gatecast ")
    assert refused.reason.endswith("restore the one that wrote it, or set another kafka.group to start fresh")
