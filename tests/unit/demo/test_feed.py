"""The feed: placement, formats, values to the last bit, pace."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from itertools import islice

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.demo.encoding import FORMATS, Encoder
from pipeline.demo.feed import Feed, Pacer, join_due, run_feed
from pipeline.placement import find_partition
from pipeline.records import BAD_QUALITY, GOOD, Readings

NAMES = tuple(f"Süd/Pump {n}/PI-{n}" for n in range(40))


class Shelf:
    """An outlet that keeps what it gets."""

    num_partitions = 4

    def __init__(self) -> None:
        self.messages: list[tuple[int, bytes | None, bytes]] = []

    def send(self, partition: int, key: bytes | None, value: bytes) -> None:
        self.messages.append((partition, key, value))

    def flush(self, timeout_s: float) -> None: ...
    def close(self) -> None: ...


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now_s += seconds


def make(count: int, *, faults: bool = True, seed: int = 0) -> Readings:
    rng = np.random.default_rng(seed)
    value = rng.standard_normal(count)
    value[::7] = np.nan
    return Readings(
        series=NAMES,
        series_index=rng.integers(0, len(NAMES), count).astype(np.int32),
        event_time_ms=1_700_000_000_000 + np.arange(count),
        value=value,
        fault=np.where(np.arange(count) % 5, GOOD, BAD_QUALITY).astype(np.int8) if faults else None,
    )


def read_back(value: bytes) -> Iterator[tuple[str, int, float | None, str | None]]:
    if value.startswith(b"\xff\xff\xff\xff"):
        table = pa.ipc.open_stream(io.BytesIO(value)).read_all()
        times = table["time"].cast(pa.int64()).to_pylist()
        quality = table["quality"].to_pylist() if "quality" in table.column_names else [None] * len(table)
        yield from zip(table["series"].to_pylist(), times, table["value"].to_pylist(), quality, strict=True)
        return
    data = json.loads(value)
    if isinstance(data, dict) and isinstance(data["series"], list):
        quality = data.get("quality", [None] * len(data["series"]))
        yield from zip(data["series"], data["time"], data["value"], quality, strict=True)
        return
    for item in data if isinstance(data, list) else [data]:
        yield item["series"], item["time"], item["value"], item.get("quality")


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("batch", [1, 16])
@pytest.mark.parametrize("with_quality", [True, False])
def test_readings_arrive_in_their_partition_in_their_order(
    format: str, batch: int, with_quality: bool
) -> None:
    readings, shelf = make(500, faults=with_quality), Shelf()
    feed = Feed(shelf, NAMES, Encoder(format, batch, with_quality=with_quality))
    feed.send(readings)
    wanted: dict[int, list[object]] = {number: [] for number in range(4)}
    for at in range(500):
        name, value = NAMES[readings.series_index[at]], readings.value[at]
        quality = None if readings.fault is None else ("bad" if readings.fault[at] else "good")
        wanted[find_partition(name, 4)].append(
            (name, int(readings.event_time_ms[at]), None if np.isnan(value) else float(value), quality)
        )
    found: dict[int, list[object]] = {number: [] for number in range(4)}
    for partition, key, value in shelf.messages:
        items = list(read_back(value))
        found[partition] += items
        assert len(items) <= batch
        assert key == (items[0][0].encode() if (format, batch) == ("json", 1) else None)
    assert found == wanted
    assert (feed.num_readings, feed.num_messages) == (500, len(shelf.messages))
    assert feed.num_bytes == sum(len(value) for _, _, value in shelf.messages)
    assert feed.last_ms == 1_700_000_000_499


@pytest.mark.parametrize("batch", [1, 3])
@given(values=st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
def test_json_keeps_every_double(batch: int, values: list[float]) -> None:
    shelf = Shelf()
    readings = Readings(
        series=("a",),
        series_index=np.zeros(len(values), np.int32),
        event_time_ms=np.arange(len(values)),
        value=np.array(values),
    )
    Feed(shelf, ("a",), Encoder("json", batch, with_quality=False)).send(readings)
    found = [item[2] for _, _, value in shelf.messages for item in read_back(value)]
    assert np.array(found, float).tobytes() == np.array(values).tobytes()


def test_an_encoder_refuses_what_it_can_not_do() -> None:
    with pytest.raises(ValueError, match=r"expected one of .* and a batch of at least 1, got xml, 1"):
        Encoder("xml", 1, with_quality=False)


def test_the_past_goes_at_its_speed_and_never_before_its_time() -> None:
    clock = Clock()
    pacer = Pacer(0, 60, clock=clock, sleep=clock.sleep)
    assert pacer.wait_for(120_000)
    assert clock.now_s == pytest.approx(1002)
    assert pacer.due_ms == pytest.approx(120_000)
    assert pacer.find_delay_s(60_000) == pytest.approx(1)
    live = Pacer(0, 0, live_at_ms=10_000, clock=clock, sleep=clock.sleep)
    assert live.wait_for(9_999)
    assert live.elapsed_s == 0
    assert live.find_delay_s(5_000) == 0
    assert live.wait_for(13_000)
    assert live.elapsed_s == pytest.approx(3)
    assert not live.wait_for(60_000, deadline_s=4)
    assert live.elapsed_s == pytest.approx(4)
    assert Pacer(0, 0).wait_for(10**15)


def cut(readings: Readings, size: int) -> Iterator[Readings]:
    for at in range(0, len(readings), size):
        rows = slice(at, at + size)
        yield Readings(
            series=readings.series,
            series_index=readings.series_index[rows],
            event_time_ms=readings.event_time_ms[rows],
            value=readings.value[rows],
            fault=None if readings.fault is None else readings.fault[rows],
        )


def test_a_run_ends_at_the_number_of_readings_or_the_time() -> None:
    clock, shelf = Clock(), Shelf()
    feed = Feed(shelf, NAMES, Encoder("json", 1, with_quality=True))
    readings = make(100)
    pacer = Pacer(1_700_000_000_000, 0.01, clock=clock, sleep=clock.sleep)
    seen: list[int] = []
    run_feed(feed, cut(readings, 10), pacer, on_step=lambda step: seen.append(len(step)), num_readings=25)
    assert (seen, feed.num_readings) == ([10, 10, 5], 25)
    assert pacer.elapsed_s == pytest.approx(2.9)  # 29 ms at a hundredth of the speed
    run_feed(feed, cut(readings, 10), pacer, on_step=lambda step: None, for_s=5)
    assert feed.num_readings == 25 + 50
    assert pacer.elapsed_s == pytest.approx(5)


def test_steps_due_together_are_joined() -> None:
    clock = Clock()
    readings = make(100)
    times = iter([*readings.event_time_ms[::10].tolist(), 2**62])
    ahead = [next(times)]

    def steps() -> Iterator[Readings]:
        for step in cut(readings, 10):
            ahead[0] = next(times)
            yield step

    pacer = Pacer(1_700_000_000_000 - 45, 1, clock=clock, sleep=clock.sleep)
    clock.now_s += 0.1  # 55 ms of the readings are due
    joined = join_due(steps(), lambda: ahead[0], pacer, 35)
    assert [len(step) for step in joined] == [40, 20, 10, 10, 10, 10]
    everything = list(join_due(cut(readings, 10), lambda: 0, Pacer(0, 0), 1000))
    np.testing.assert_array_equal(everything[0].value, readings.value)
    np.testing.assert_array_equal(everything[0].fault, readings.fault)


def test_messages_are_what_msgspec_reads_as_a_contract() -> None:
    class Reading(msgspec.Struct, forbid_unknown_fields=True):
        series: str
        time: int
        value: float | None
        quality: str

    shelf = Shelf()
    Feed(shelf, NAMES, Encoder("json", 1, with_quality=True)).send(next(islice(cut(make(9), 9), 1)))
    for _, _, value in shelf.messages:
        msgspec.json.decode(value, type=Reading)
