"""What is told of a shard now and then, on a real one."""

from __future__ import annotations

import numpy as np

from forecasters import build
from forecasters.verdict import Evidence
from pipeline.engine.observer import Observer
from pipeline.engine.options import DAY_MS, IntakeOptions, ShardOptions
from pipeline.engine.settings import DEFAULT
from pipeline.engine.shard import Shard
from pipeline.ports import Partition
from pipeline.records import Readings
from pipeline.showcase import Showcase, ShowcaseOptions
from pipeline.teller import EVIDENCE_S, REACH_S, Teller
from tests.unit.doubles import Clock

NAMES = ("naive", "rnn", "lstm")
PLACE = Partition("plant", 0)


class Notes(Observer):
    def __init__(self) -> None:
        self.evidence: list[Evidence] = []
        self.wins: dict[str, float] = {}
        self.reach: dict[str, tuple[np.ndarray, int | None]] = {}
        self.cost: dict[str, float] = dict.fromkeys(NAMES, 0.0)
        self.shown: list[str] = []

    def on_evidence(self, topic, partition, evidence) -> None:
        self.evidence.append(evidence)

    def on_wins(self, topic, partition, pair, by_series) -> None:
        assert pair == ("lstm", "rnn")
        self.wins = dict(by_series)

    def on_reach(self, topic, partition, forecaster, inputs, memory_length) -> None:
        self.reach[forecaster] = inputs, memory_length

    def on_cost(self, seconds) -> None:
        for name, spent in seconds.items():
            self.cost[name] += spent

    def on_shown_series(self, topic, partition, profiles) -> None:
        self.shown = [profile.series for profile in profiles]


def feed(shard: Shard, rounds: int, first: int = 0) -> None:
    series = tuple(f"s{k}" for k in range(24))
    times = np.repeat(first + np.arange(rounds), len(series))
    phase = np.tile(np.arange(len(series)), rounds)
    readings = Readings(
        series=series,
        series_index=phase.astype(np.int32),
        event_time_ms=times * 60_000,
        value=np.sin(times / 7.0 + phase) + 0.1 * np.random.default_rng(first).standard_normal(times.size),
    )
    for _ in shard.process(readings):
        pass


def test_who_leads_who_is_shown_and_how_far_memory_reaches() -> None:
    options = ShardOptions(intake=IntakeOptions(cadence_ms=60_000, max_ahead_ms=30 * DAY_MS))
    shard = Shard(build(NAMES, horizon=2, hidden=8, seed=1, device="cpu"), options, lambda _: DEFAULT, 0, 1)
    clock, notes = Clock(), Notes()
    showcase = Showcase(
        ShowcaseOptions(
            forecasters=("rnn",), steps=(1,), max_series=3, is_watched=lambda _: False, champion="rnn"
        ),
        NAMES,
        clock,
    )
    teller = Teller(notes, showcase, clock)
    teller.tell(PLACE, shard)
    assert (notes.shown, notes.wins, notes.reach) == ([], {}, {}), "nothing is known of nobody"
    feed(shard, 120)
    clock.now_s += EVIDENCE_S
    teller.tell(PLACE, shard)
    assert len(notes.evidence) == 2
    assert notes.evidence[-1].series == 24
    assert len(notes.wins) == 20
    assert notes.cost["lstm"] > notes.cost["naive"] >= 0
    assert len(notes.shown) == 3
    clock.now_s += REACH_S
    for _ in NAMES:
        teller.tell(PLACE, shard)
    assert notes.reach.keys() == {"rnn", "lstm"}
    inputs, length = notes.reach["rnn"]
    assert inputs[0] == 1
    assert length is not None


def test_nothing_is_told_twice_and_a_shard_that_comes_back_begins_anew() -> None:
    options = ShardOptions(intake=IntakeOptions(cadence_ms=60_000, max_ahead_ms=30 * DAY_MS))
    shard = Shard(
        build(("naive", "rnn"), horizon=2, hidden=8, device="cpu"), options, lambda _: DEFAULT, 0, 1
    )
    clock, notes = Clock(), Notes()
    showcase = Showcase(
        ShowcaseOptions(
            forecasters=("rnn",), steps=(1,), max_series=3, is_watched=lambda _: False, champion="rnn"
        ),
        ("naive", "rnn"),
        clock,
    )
    teller = Teller(notes, showcase, clock)
    for _ in range(3):
        teller.tell(PLACE, shard)
    assert len(notes.evidence) == 1
    teller.forget(PLACE)
    teller.tell(PLACE, shard)
    assert len(notes.evidence) == 2
