"""Ticks of a real bank where each round brings another number of readings."""

from __future__ import annotations

import numpy as np
import pytest

from forecasters import Bank, build
from pipeline.engine.engine import Engine
from pipeline.engine.intake import Intake, IntakeOptions
from pipeline.records import Readings

SERIES, ROUNDS, CADENCE_MS = 40, 60, 60_000
NAMES = tuple(f"s{k}" for k in range(SERIES))


def make_log(seed: int, by_exception: int = SERIES // 4) -> Readings:
    """So many series report when they like, the others in each round; some are unusable, some are lost."""
    rng = np.random.default_rng(seed)
    rows = []
    for k in range(ROUNDS):
        here = np.flatnonzero((np.arange(SERIES) >= by_exception) | (rng.random(SERIES) < 0.3) | (k == 0))
        if by_exception and k > 2:
            here = here[rng.random(here.size) > 0.02]
        rows += [(series, k) for series in rng.permutation(here)]
    index, time = np.array(rows).T
    return Readings(
        series=NAMES,
        series_index=index.astype(np.int32),
        event_time_ms=time * CADENCE_MS,
        value=np.where(rng.random(time.size) < 0.03, np.nan, rng.normal(size=time.size).cumsum()),
    )


def take(log: Readings, rows: slice) -> Readings:
    return Readings(
        series=log.series,
        series_index=log.series_index[rows],
        event_time_ms=log.event_time_ms[rows],
        value=log.value[rows],
    )


def make_engine() -> tuple[Engine[object], Bank]:
    bank = build(("naive", "linear", "rnn", "blend"), horizon=4, device="cpu", chunk=4, hidden=4, pool=8)
    return Engine(bank, Intake(IntakeOptions(cadence_ms=CADENCE_MS, max_gap=3), bank)), bank


@pytest.mark.parametrize("seed", range(3))
def test_a_round_is_one_wave(seed: int) -> None:
    engine, bank = make_engine()
    log = make_log(seed)
    done, sizes = 0, []
    for k in range(ROUNDS):
        end = int(np.searchsorted(log.event_time_ms, k * CADENCE_MS, "right"))
        sizes.append([wave.slots.size for wave in engine.process(take(log, slice(done, end)))])
        done = end
    settled = sizes[10:]
    assert [len(waves) for waves in settled] == [1] * len(settled)
    assert len({waves[0] for waves in settled}) > 3  # rounds do differ
    assert ROUNDS <= bank.ticks <= ROUNDS + 20


@pytest.mark.parametrize("by_exception", [SERIES // 4, 0])
@pytest.mark.parametrize("seed", range(3))
def test_however_the_log_is_cut_and_saved_the_ticks_are_the_same(seed: int, by_exception: int) -> None:
    log, rng = make_log(seed, by_exception), np.random.default_rng(seed)
    whole, expected = make_engine()
    list(whole.process(log))
    parts, bank = make_engine()
    cuts = np.sort(rng.integers(1, len(log), 60)).tolist()
    for number, (start, stop) in enumerate(zip([0, *cuts], [*cuts, len(log)], strict=True)):
        list(parts.process(take(log, slice(start, stop))))
        if number % 20 == 7:
            saved = bank.save(), dict(parts.intake.save())
            parts, bank = make_engine()
            bank.load(saved[0])
            parts.intake.load(saved[1])
    assert bank.ticks == expected.ticks
    ours, theirs = bank.save(), expected.save()
    for name, tensor in theirs.items():
        np.testing.assert_array_equal(ours[name].numpy(), tensor.numpy(), err_msg=name)
