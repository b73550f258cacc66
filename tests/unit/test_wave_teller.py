"""Waves are told later than they were stepped: in their order, and before series leave."""

from __future__ import annotations

from dataclasses import fields
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from forecasters import Result, build
from forecasters.backlog import MOST_READINGS, MOST_WAVES
from pipeline.engine.engine import Wave
from pipeline.engine.shard import SteppedWave
from pipeline.ports import Partition
from pipeline.wave_teller import WaveTeller

PLACE = Partition("plant", 0)
MINUTE_MS = 60_000


def make_waves(series: int, count: int) -> list[SteppedWave[Result]]:
    bank = build(("naive", "linear", "rnn", "blend"), horizon=4, seed=0, device="cpu")
    slots = bank.add([f"s{n}" for n in range(series)], cadence_ms=MINUTE_MS)
    draw, made = np.random.default_rng(0), []
    for k in range(count):
        time_ms, value, masked = (
            np.full(series, k * MINUTE_MS),
            draw.normal(size=series),
            np.zeros(series, bool),
        )
        wave = Wave(
            slots=slots, event_time_ms=time_ms, value=value, masked=masked, reading=np.arange(series),
            result=bank.step(slots, time_ms, value),
        )  # fmt: skip
        made.append(
            SteppedWave(
                wave=wave, series=[f"s{n}" for n in range(series)], step_ms=np.full(series, MINUTE_MS),
                fault=np.zeros(series, np.int8), readings_learned=np.full(series, k),
            )
        )  # fmt: skip
    return made


class Listener:
    """Observer, showcase and page in one."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, Any]] = []

    def on_wave(self, topic: str, partition: int, scores: Any) -> None:
        self.heard.append(("scores", scores))

    def on_shown(self, topic: str, partition: int, shown: Any) -> None:
        self.heard.append(("shown", shown))

    def on_series_left(self, topic: str, partition: int, slots: Any) -> None:
        self.heard.append(("left", slots.tolist()))

    def take(self, partition: Partition, stepped: SteppedWave[Result]) -> Any:
        return lambda: int(stepped.readings_learned[0])

    def leave(self, partition: Partition, slots: Any) -> None:
        self.heard.append(("leave", slots.tolist()))

    def see(self, partition: Partition, stepped: SteppedWave[Result]) -> None:
        self.heard.append(("seen", int(stepped.readings_learned[0])))

    def list(self, kind: str) -> list[Any]:
        return [what for found, what in self.heard if found == kind]


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture
def teller(listener: Listener) -> WaveTeller:
    return WaveTeller(listener, listener, listener)  # type: ignore[arg-type]


def test_each_is_told_once_in_order(teller: WaveTeller, listener: Listener) -> None:
    for stepped in make_waves(3, 5):
        teller.add(PLACE, stepped)
    assert listener.heard == []
    teller.tell()
    assert listener.list("shown") == listener.list("seen") == [0, 1, 2, 3, 4]
    assert len(listener.list("scores")) == 5
    teller.tell()
    assert len(listener.heard) == 15


def test_a_few_waves_or_many_readings_are_enough(teller: WaveTeller, listener: Listener) -> None:
    one = make_waves(1, MOST_WAVES)
    for stepped in one[:-1]:
        teller.add(PLACE, stepped)
    assert listener.heard == []
    teller.add(PLACE, one[-1])
    assert len(listener.list("seen")) == MOST_WAVES
    (large,) = make_waves(4, 1)
    many = SteppedWave(
        wave=large.wave, series=["x"] * MOST_READINGS, step_ms=large.step_ms, fault=large.fault,
        readings_learned=large.readings_learned,
    )  # fmt: skip
    teller.add(PLACE, many)
    assert len(listener.list("seen")) == MOST_WAVES + 1


def test_series_leave_after_the_waves_that_had_them(teller: WaveTeller, listener: Listener) -> None:
    first, second = make_waves(2, 2)
    teller.add(PLACE, first)
    teller.tell_freed(PLACE, np.empty(0, np.int64))
    assert listener.heard == []
    teller.tell_freed(PLACE, np.array([1]))
    teller.add(PLACE, second)
    teller.tell()
    kinds = [kind for kind, _ in listener.heard]
    assert kinds == ["scores", "shown", "seen", "left", "leave", "scores", "shown", "seen"]


def test_what_a_wave_brought_stays_as_it_was() -> None:
    """The bank goes on before the wave is told."""
    steps, series = 20, 70
    bank = build(("naive", "linear", "rnn", "blend"), horizon=4, seed=0, device="cpu", chunk=4)
    slots = bank.add([f"s{n}" for n in range(series)], cadence_ms=MINUTE_MS)
    draw, kept = np.random.default_rng(0), []
    for k in range(steps):
        masked = draw.random(series) < 0.2
        result = bank.step(slots, np.full(series, k * MINUTE_MS), draw.normal(size=series), masked)
        columns = [f.name for f in fields(result) if isinstance(getattr(result, f.name), torch.Tensor)]
        kept.append((result, SimpleNamespace(**{name: getattr(result, name).clone() for name in columns})))
    for result, before in kept:
        for name, column in vars(before).items():
            torch.testing.assert_close(getattr(result, name), column, rtol=0, atol=0, equal_nan=True)
