"""Messages whose bytes are remembered say the same as those that are made anew."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from pipeline.exporters import arrow_values
from pipeline.exporters.arrow_values import ArrowEncoder
from pipeline.exporters.kafka_values import select
from pipeline.kafka_options import EmitterOptions
from pipeline.records import Forecasts

HORIZON = 6
STEP_MS = 60_000


def make_forecasts(
    series: list[str], wave: int, forecasters: tuple[str, ...] = ("rnn", "blend")
) -> Forecasts:
    """As the bank gives them: rows last in memory."""
    draw = np.random.default_rng(wave)
    said = draw.normal(size=(3, len(forecasters), HORIZON, len(series))).astype(np.float32)
    mean, lower, upper = said.transpose(0, 3, 1, 2)
    return Forecasts(
        series=series,
        event_time_ms=STEP_MS * (wave + np.arange(len(series)) % 3),
        step_ms=np.full(len(series), STEP_MS + wave),
        forecasters=forecasters,
        mean=mean,
        lower=lower,
        upper=upper,
    )


class Sender:
    """An encoder, and in which partition each series lies; `asked`: how often that was looked up."""

    def __init__(self, partitions: int = 3, options: EmitterOptions | None = None) -> None:
        self.encoder, self.options = ArrowEncoder(), options or EmitterOptions(format="arrow")
        self.partitions, self.asked = partitions, 0

    def send(self, forecasts: Forecasts) -> list[tuple[int, pa.Table]]:
        def place() -> np.ndarray:
            self.asked += 1
            return np.array([self.place(name) for name in forecasts.series])

        chosen = select(forecasts, self.options)
        if chosen.is_empty:
            return []
        messages = self.encoder.encode(forecasts, chosen, self.partitions, place)
        return [(partition, pa.ipc.open_stream(value).read_all()) for partition, value in messages]

    def place(self, name: str) -> int:
        return sum(name.encode()) % self.partitions


def check(sender: Sender, forecasts: Forecasts) -> None:
    """What is sent, row by row, against the wave."""
    sent = sender.send(forecasts)
    steps = [h for h in range(1, HORIZON + 1) if not sender.options.steps or h in sender.options.steps]
    seen = []
    for partition, table in sent:
        for row in table.to_pylist():
            n = forecasts.series.index(row["series"])
            assert sender.place(row["series"]) == partition
            if row["forecaster"] in forecasts.forecasters:
                e = forecasts.forecasters.index(row["forecaster"])
            else:
                e = forecasts.forecasters.index("leader")
                assert row["forecaster"] == forecasts.followed[n]
            assert int(row["time"].timestamp() * 1000) == forecasts.event_time_ms[n]
            assert (row["version"], row["step_ms"], row["steps"]) == (1, forecasts.step_ms[n], steps)
            for name in ("mean", "lower", "upper"):
                own = getattr(forecasts, name)[n, e, [h - 1 for h in steps]]
                assert np.float32(row[name]).tobytes() == own.tobytes()
            seen.append((n, e))
    place = forecasts.event_time_ms // forecasts.step_ms
    rows = np.flatnonzero(place % sender.options.every == 0).tolist()
    assert sorted(seen) == [(n, e) for n in rows for e in range(len(forecasts.forecasters))]


@pytest.mark.parametrize(
    "options", [EmitterOptions(), EmitterOptions(steps=(1, 3, 6)), EmitterOptions(every=2)], ids=str
)
def test_waves_of_the_same_series(options: EmitterOptions) -> None:
    sender, series = Sender(options=options), [f"boiler/{n}/°C" for n in range(40)]
    for wave in range(6):
        check(sender, make_forecasts(series, wave))


def test_partitions_are_looked_up_until_the_same_series_have_come_twice() -> None:
    sender, series = Sender(), [f"s{n}" for n in range(10)]
    for wave in range(6):
        check(sender, make_forecasts([*series], wave))
    assert sender.asked == 2


def test_two_shards_in_turn_are_both_remembered() -> None:
    sender = Sender()
    for wave in range(6):
        for shard in ("a", "b"):
            check(sender, make_forecasts([f"{shard}{n}" for n in range(10)], wave))
    assert sender.asked == 4


def test_a_series_in_the_place_of_another_is_another_wave() -> None:
    sender, series = Sender(), [f"s{n}" for n in range(10)]
    for wave in range(3):
        check(sender, make_forecasts(series, wave))
    series[4] = "new"  # the same list, as far as the encoder can tell
    for wave in range(3, 6):
        check(sender, make_forecasts(series, wave))
    check(sender, make_forecasts(series[:-1], 6))


def test_partitions_that_were_added_count_at_once() -> None:
    sender, series = Sender(partitions=2), [f"s{n}" for n in range(20)]
    for wave in range(6):
        sender.partitions = 2 if wave < 3 else 5
        check(sender, make_forecasts(series, wave))


def test_whom_a_series_follows_may_change_from_wave_to_wave() -> None:
    sender, series = Sender(), [f"s{n}" for n in range(9)]
    for wave in range(6):
        made = make_forecasts(series, wave, ("leader", "rnn"))
        followed = ["lstm" if n == wave // 3 else "naive" for n in range(9)]
        check(sender, replace(made, followed=followed))


def test_a_large_wave_is_cut_into_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrow_values, "MESSAGE_BYTES", 7 * (12 * HORIZON + 64))
    sender, series = Sender(), [f"s{n}" for n in range(50)]
    for wave in range(4):
        check(sender, make_forecasts(series, wave))
    assert max(len(table) for _, table in sender.send(make_forecasts(series, 9))) == 7


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrow_values, "REMEMBERED_BYTES", 30_000)
    monkeypatch.setattr(arrow_values, "REMEMBERED_WAVES", 5)
    sender = Sender()
    for wave in range(4):
        for shard in range(20):
            check(sender, make_forecasts([f"{shard}/{n}" for n in range(30)], wave))
            check(sender, make_forecasts([f"{shard}/{n}" for n in range(30)], wave + 1))
            kept = sender.encoder._waves.values()
            assert len(kept) <= 5
            assert sum(each.size for each in kept) == sender.encoder._size <= 30_000
            assert len(kept) > 0
    check(sender, make_forecasts([f"large/{n}" for n in range(300)], 0))
    assert (sender.encoder._waves, sender.encoder._size) == ({}, 0)
