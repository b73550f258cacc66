"""A shard is a function of its log: however it is cut, wherever it is stopped, whatever its slots."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasters import Bank, Result, build
from pipeline.engine.options import IntakeOptions, LifeOptions, SensorAlertOptions, ShardOptions
from pipeline.engine.settings import SeriesSettings
from pipeline.engine.shard import Shard
from pipeline.records import BAD_QUALITY, GOOD, MISSING, Alert, Readings

MINUTE_MS = 60_000
HOUR_MS = 3_600_000
START_MS = 1_795_415_863_000
YEAR_2099_MS = 4_070_908_800_000
SERIES = tuple(f"plant/{k}" for k in range(8))
DECLARED = {
    SERIES[0]: SeriesSettings(cadence_ms=MINUTE_MS, minimum=-2.0, maximum=2.0, unit="bar"),
    SERIES[3]: SeriesSettings(cadence_ms=MINUTE_MS, off_when=("<", -1.0)),
    SERIES[4]: SeriesSettings(by_exception=True, silent_after_ms=20 * MINUTE_MS),
    SERIES[5]: SeriesSettings(season_ms=0),
}
OPTIONS = ShardOptions(
    intake=IntakeOptions(
        cadence_readings=3, max_gap=4, max_series=5, season_ms=10 * MINUTE_MS, placement="murmur2"
    ),
    life=LifeOptions(warm_readings=4, retire_after_ms=2 * HOUR_MS),
    alerts=SensorAlertOptions(masked_in_a_row=2),
)
PRESENCE = np.array([0.85, 0.05, 0.05, 0.85, 0.85, 0.85, 0.3, 0.15])  # two belong into another partition
Reading = tuple[int, int, int, float, int]  # series, clock, event time, value, fault


def make_log(seed: int, num_readings: int) -> list[Reading]:
    """Walks of several series, with all that happens to readings on their way."""
    rng = np.random.default_rng(seed)
    log: list[Reading] = []
    clock, bad = START_MS, np.zeros(len(SERIES), bool)
    while len(log) < num_readings:
        clock += int(rng.choice([500, MINUTE_MS, 3 * HOUR_MS], p=[0.2, 0.78, 0.02]))
        present = rng.random(len(SERIES)) < PRESENCE
        bad ^= rng.random(len(SERIES)) < np.where(bad, 0.3, 0.06)
        for series in rng.permutation(np.flatnonzero(present)).tolist():
            time_ms = clock - int(rng.integers(0, 5000))
            value, fault = float(np.sin(len(log) / 9 + series) + rng.normal() / 4), GOOD
            if bad[series]:
                value, fault = [(9.0, GOOD), (np.nan, MISSING), (1.0, BAD_QUALITY)][int(rng.integers(3))]
            if (luck := rng.random()) < 0.02:
                time_ms = YEAR_2099_MS
            elif luck < 0.06:
                time_ms -= int(rng.integers(0, 4 * MINUTE_MS))
            log.append((series, clock - int(rng.integers(0, 3) * 200), time_ms, value, fault))
            if rng.random() < 0.04:
                log.append(log[-1])
    return log[:num_readings]


def make_readings(log: Sequence[Reading], first: int) -> Readings:
    series, clock, time_ms, value, fault = zip(*log, strict=True)
    number = np.arange(first, first + len(log))
    return Readings(
        series=SERIES,
        series_index=np.array(series, np.int32),
        event_time_ms=np.array(time_ms, np.int64),
        value=np.array(value),
        fault=np.array(fault, np.int8),
        clock_ms=np.array(clock, np.int64),
        message=(number // 3).astype(np.int32),
        index=(number % 3).astype(np.int32),
    )


def make_bank(max_rate: float | None = None) -> Bank:
    return build(
        ("naive", "rnn", "blend"), horizon=3, device="cpu", chunk=4, replay=2, pool=16, hidden=8,
        max_rate=max_rate,
    )  # fmt: skip


def make_shard(
    options: ShardOptions, bank: Bank | None = None, max_rate: float | None = None
) -> Shard[Result]:
    return Shard(
        bank or make_bank(max_rate),
        options,
        lambda name: DECLARED.get(name, SeriesSettings()),
        partition=1,
        partitions=2,
    )


@dataclass
class Heard:
    """All that a shard said."""

    steps: dict[str, list[bytes]] = field(default_factory=dict)
    readings: list[int] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)
    rejected: list[tuple[int, int, str]] = field(default_factory=list)

    def listen(self, shard: Shard[Result], readings: Readings) -> None:
        for outcome in shard.process(readings):
            if (stepped := outcome.stepped) is not None:
                wave = stepped.wave
                said = [wave.result.mean, wave.result.lower, wave.result.upper, wave.result.error]
                columns = [wave.event_time_ms, wave.masked, stepped.step_ms, *(t.numpy() for t in said)]
                for row, name in enumerate(stepped.series):
                    self.steps.setdefault(name, []).append(b"".join(c[row].tobytes() for c in columns))
                self.readings += wave.reading[wave.reading >= 0].tolist()
            self.alerts += outcome.alerts
            for bad in outcome.rejected:
                pairs = zip(bad.indices, bad.reasons, strict=True)
                self.rejected += [(bad.message, index, reason) for index, reason in pairs]


def play(shard: Shard[Result], log: Sequence[Reading], cuts: Sequence[int] = ()) -> Heard:
    heard = Heard()
    for start, stop in itertools.pairwise(sorted({0, len(log), *(c for c in cuts if c < len(log))})):
        heard.listen(shard, make_readings(log[start:stop], start))
    heard.readings.sort()
    return heard


def bits(state: dict[str, torch.Tensor]) -> dict[str, tuple[Any, ...]]:
    return {name: (tuple(t.shape), str(t.dtype), t.numpy().tobytes()) for name, t in state.items()}


def differing(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> list[str]:
    a, b = bits(one), bits(other)
    return sorted(name for name in a.keys() | b.keys() if a.get(name) != b.get(name))


shard_options = st.builds(
    lambda within_step, lateness_ms: replace(
        OPTIONS, intake=replace(OPTIONS.intake, within_step=within_step, lateness_ms=lateness_ms)
    ),
    st.sampled_from(["first", "first", "last", "mean"]),
    st.sampled_from([0, 0, 90_000]),
)
seeds = st.integers(0, 10_000)
max_rates = st.sampled_from([None, 1e-6, 1e-3, 0.01])
"""Readings a second; the log has about .03, and a few hours in which an allowance gathers."""


def test_the_log_has_everything_that_happens_to_readings() -> None:
    """Else the properties below say little."""
    shard = make_shard(OPTIONS)
    heard = play(shard, make_log(1, 1500))
    assert {fate for fate, count in shard.counts.items() if not count} == set()
    assert {(alert.kind, alert.state) for alert in heard.alerts} == {
        (kind, state) for kind in ("bad_quality", "out_of_range") for state in ("firing", "resolved")
    }
    assert {"recovered", "retired"} <= {alert.resolution for alert in heard.alerts}
    assert shard.count_states()["retired"] > 5
    assert any(shard.bank.ids[slot] in SERIES for slot in range(6))
    learnt = shard.bank.save()["shared.rnn.updates"]
    assert int(learnt) > 10


@settings(max_examples=10, deadline=None)
@given(seed=seeds, options=shard_options, rate=max_rates, cuts=st.lists(st.integers(0, 250), max_size=12))
def test_any_cut_gives_the_same(
    seed: int, options: ShardOptions, rate: float | None, cuts: list[int]
) -> None:
    log = make_log(seed, 250)
    whole, parts = make_shard(options, max_rate=rate), make_shard(options, max_rate=rate)
    assert play(whole, log) == play(parts, log, cuts)
    assert whole.counts == parts.counts
    assert differing(whole.save(), parts.save()) == []


@settings(max_examples=3, deadline=None)
@given(seed=seeds, options=shard_options, rate=max_rates)
def test_one_reading_at_a_time_gives_the_same(seed: int, options: ShardOptions, rate: float | None) -> None:
    log = make_log(seed, 200)
    whole, parts = make_shard(options, max_rate=rate), make_shard(options, max_rate=rate)
    assert play(whole, log) == play(parts, log, range(len(log)))
    assert differing(whole.save(), parts.save()) == []


@settings(max_examples=6, deadline=None)
@given(
    seed=seeds, options=shard_options, rate=max_rates,
    stops=st.lists(st.integers(1, 249), min_size=1, max_size=4),
)  # fmt: skip
def test_stopped_anywhere_it_goes_on_as_if_it_had_not(
    seed: int, options: ShardOptions, rate: float | None, stops: list[int]
) -> None:
    log = make_log(seed, 250)
    whole = make_shard(options, max_rate=rate)
    expected = play(whole, log)
    shard, heard = make_shard(options, max_rate=rate), Heard()
    for start, stop in itertools.pairwise(sorted({0, *stops, len(log)})):
        heard.listen(shard, make_readings(log[start:stop], start))
        state = shard.save()
        before = bits(state)
        resumed = make_shard(options, max_rate=rate)
        resumed.load(state)
        assert differing(state, resumed.save()) == []
        # What was saved does not change under the writer's hands.
        heard_twice = Heard()
        heard_twice.listen(shard, make_readings(log[stop - 1 :], stop - 1))
        assert bits(state) == before
        shard = resumed
    heard.readings.sort()
    assert heard == expected
    assert shard.counts == whole.counts
    assert differing(whole.save(), shard.save()) == []


@settings(max_examples=5, deadline=None)
@given(seed=seeds, options=shard_options, removed=st.sets(st.integers(0, 4), max_size=4))
def test_what_a_series_gets_does_not_depend_on_slots(
    seed: int, options: ShardOptions, removed: set[int]
) -> None:
    log = make_log(seed, 250)
    bank = make_bank()
    bank.add([f"other/{k}" for k in range(5)], cadence_ms=MINUTE_MS)
    bank.remove(np.array(sorted(removed), np.int64))
    assert play(make_shard(options), log) == play(make_shard(options, bank), log)


def make_long_log(rounds: int, series: int = 200) -> Readings:
    """So many series once a second, which is `series` readings a second."""
    ids = tuple(f"flow/{k}" for k in range(series))  # of which nothing is declared
    at = np.repeat(np.arange(rounds), series)
    phase = np.tile(np.arange(series), rounds)
    return Readings(
        series=ids,
        series_index=phase.astype(np.int32),
        event_time_ms=START_MS + at * 1000,
        value=np.sin(at / 7.0 + phase) + np.random.default_rng(0).normal(size=at.size) / 4,
        clock_ms=START_MS + at * 1000,
    )


def play_long(max_rate: float | None, rounds: int = 60) -> tuple[Shard[Result], dict[str, list[bytes]]]:
    heard = Heard()
    shard = make_shard(
        replace(OPTIONS, intake=IntakeOptions(cadence_ms=1000, season_ms=20_000)), max_rate=max_rate
    )
    heard.listen(shard, make_long_log(rounds))
    return shard, heard.steps


def count_updates(shard: Shard[Result]) -> int:
    return int(shard.bank.save()["shared.rnn.updates"])


def test_a_limit_that_is_not_reached_changes_no_number() -> None:
    off, free = play_long(None), play_long(200.0)
    assert off[1] == free[1]
    assert off[0].bank.thinned == free[0].bank.thinned == 0
    bare = {name: column for name, column in free[0].save().items() if not name.startswith("thinning.")}
    assert differing(off[0].save(), bare) == []


def test_what_comes_faster_than_the_limit_is_left_out_of_training_alone() -> None:
    """12 000 readings in a minute, where 25 a second are learnt at most and a minute's allowance is there."""
    free, slow = play_long(None)[0], play_long(25.0)
    shard = slow[0]
    assert shard.counts["accepted"] == 12_000
    assert sum(map(len, slow[1].values())) == 12_000  # all are forecast
    trained = shard.counts["accepted"] - shard.bank.thinned
    waiting = 4 * 2 * 200  # chunks that may still wait, two of each series
    assert 3_000 - 64 * 4 <= trained <= 3_000 + waiting
    assert 0 < count_updates(shard) < count_updates(free) / 2
