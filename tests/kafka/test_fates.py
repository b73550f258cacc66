"""Every fate of a reading through the worker on a real broker, and every format once from end to end."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from kafka import KafkaProducer

from pipeline.placement import find_partition
from tests.kafka.live import (
    LiveWorker,
    Settings,
    list_forecast_times,
    make_config,
    make_topics,
    read_topic,
)
from tests.unit.codec.batches import arrow, dump

CADENCE_MS = 1_000
YEAR_2099_MS = 4_070_908_800_000

Item = tuple[bytes | None, bytes | None]  # key and value of a message


@pytest.fixture
def name() -> str:
    return f"fates-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def begin_ms() -> int:
    """A whole second, a minute ago: the broker stamps readings with its own time."""
    return int(time.time() - 60) * 1000


def reading(series: object, time_ms: object, value: object, **more: object) -> dict[str, Any]:
    return {"series": series, "time": time_ms, "value": value, **more}


def send(
    bootstrap: str, topic: str, items: Sequence[Item], headers: Sequence[tuple[str, bytes]] = ()
) -> None:
    with KafkaProducer(bootstrap_servers=bootstrap) as producer:
        for key, value in items:
            producer.send(topic, key=key, value=value, headers=list(headers), partition=0)
        producer.flush()


def test_each_fate_is_counted_and_the_good_are_forecast(
    bootstrap: str, name: str, begin_ms: int, tmp_path: Path
) -> None:
    file = tmp_path / "series.csv"
    file.write_text("match,min,max,off_when\na,-50,150,\npump,,,< 5\n")
    readings = {
        "cadence_ms": CADENCE_MS, "max_series": 3, "series_file": str(file),
        "max_message_bytes": 2_048, "max_readings": 20,
    }  # fmt: skip
    config = make_config(
        bootstrap, name, tmp_path, {"readings": {**readings, "fields": {"quality": "quality"}}}
    )
    make_topics(config)

    def at(step: float) -> int:
        return begin_ms + int(step * CADENCE_MS)

    good = [(None, dump(reading("a", at(n), 20.0 + n))) for n in range(4)]
    mixed = [
        reading("a", at(4), 24), {"series": "a"}, reading("b", at(0), "7.5"), 17,
        reading("b", "yesterday", 1), reading("\x07", at(0), 1),
    ]  # fmt: skip
    items: list[Item] = [
        *good,
        (b"k", b'{"series": "a", "time'),
        (None, dump(mixed)),
        (b"gone", None),
        (None, dump(reading("a", YEAR_2099_MS, 30))),
        (None, dump([reading("a", at(5), 25), reading("b", YEAR_2099_MS, 30), reading("b", at(1), 8)])),
        (None, dump(reading("a", at(5), 99))),  # the same time
        (None, dump(reading("a", at(5.1), 98))),  # the same step
        (None, dump(reading("a", at(2), 97))),  # a step that is over
        (None, dump(reading("a", at(6), None))),
        (None, dump(reading("a", at(7), "I/O Timeout"))),
        (None, dump(reading("a", at(8), 28, quality="bad"))),
        (None, dump(reading("a", at(9), 400))),
        (None, dump(reading("a", at(12), 32))),  # two steps are missing
        (None, dump(reading("pump", at(0), 1))),
        (None, dump(reading("invented", at(0), 1))),  # a fourth series
        (None, dump(reading("a", at(13), 33) | {"note": "x" * 3_000})),
        (None, dump([reading("a", at(13), 33)] * 21)),
        (b"a", dump({"time": at(13), "value": 33, "series": None})),  # the key is its series
        (None, dump({"value": 33})),
        (None, b"[]"),
    ]
    headers = [("trace", b"\x00\xff"), ("empty", b"")]
    send(bootstrap, name, items, headers)

    with LiveWorker(config) as live:
        live.wait_for_end()
        metrics = live.scrape()

    assert metrics.by("reason", "readings_rejected_total") == {
        "not_decodable": 1, "wrong_type": 2, "bad_time": 1, "bad_series": 1, "too_far_ahead": 2,
        "too_many_series": 1, "too_large": 1, "too_many_readings": 1, "no_series": 1,
    }  # fmt: skip
    assert metrics.by("reason", "readings_dropped_total") == {
        "tombstone": 1, "duplicate": 1, "merged": 1, "late": 1
    }  # fmt: skip
    assert metrics.by("reason", "readings_masked_total") == {
        "missing": 1, "bad_quality": 2, "out_of_range": 1, "gap": 2, "off": 1
    }  # fmt: skip
    assert metrics.value("readings_learned_total") == 10
    assert metrics.by("partition", "readings_consumed_total") == {"0": 21}
    assert metrics.by("partition", "readings_lost_total") == {}
    assert metrics.value("dead_letters_failed_total") == 0
    newest_s = metrics.value("last_reading_timestamp_seconds")
    assert 0 <= time.time() - newest_s < 300

    letters = read_topic(bootstrap, f"{name}.rejected")
    told = {}
    for letter in letters:
        assert letter.headers[:2] == headers
        own = {key: value.decode() for key, value in letter.headers[2:]}
        offset = int(own.pop("gatecast-offset"))
        assert (letter.key, letter.value) == items[offset]
        assert (own.pop("gatecast-topic"), own.pop("gatecast-partition")) == (name, "0")
        told[offset] = (own.pop("gatecast-reasons"), own.pop("gatecast-indices"))
        assert own == {}
    assert told == {
        4: ("not_decodable", "-1"),
        5: ("wrong_type,wrong_type,bad_time,bad_series", "1,3,4,5"),
        7: ("too_far_ahead", "0"),
        8: ("too_far_ahead", "1"),
        18: ("too_many_series", "0"),
        19: ("too_large", "-1"),
        20: ("too_many_readings", "-1"),
        22: ("no_series", "0"),
    }
    assert len(letters) == len(told)
    # A forecast for each reading in its step, masked ones too; those behind the year 2099 among them.
    assert list_forecast_times(bootstrap, config.kafka.forecasts_topic) == {
        "a": [at(n) for n in range(14) if n not in (10, 11)],
        "b": [at(0), at(1)],
        "pump": [at(0)],
    }


def test_placement_by_murmur2(bootstrap: str, name: str, begin_ms: int, tmp_path: Path) -> None:
    """All is sent to partition 0 of 4; what belongs into another is rejected where that is asked for."""
    readings = {"cadence_ms": CADENCE_MS, "placement": "murmur2"}
    config = make_config(bootstrap, name, tmp_path, {"readings": readings})
    make_topics(config)
    names = [f"s{n}" for n in range(20)]
    here = [one for one in names if find_partition(one, config.kafka.partitions) == 0]
    assert 0 < len(here) < len(names)
    send(bootstrap, name, [(None, dump(reading(one, begin_ms, 1))) for one in names])

    with LiveWorker(config) as live:
        live.wait_for_end()
        metrics = live.scrape()

    assert metrics.by("reason", "readings_rejected_total") == {"misplaced": len(names) - len(here)}
    assert list_forecast_times(bootstrap, config.kafka.forecasts_topic).keys() == set(here)


def as_telegraf(times: Sequence[int]) -> list[Item]:
    tags = {"unit": "b3", "host": "gw-1"}
    items = []
    for n, at in enumerate(times):
        fields = {"temp": 81.5 + n, "mode": "auto", "running": True}
        items.append({"name": "boiler", "tags": tags, "timestamp": at // 1000, "fields": fields})
    return [(None, dump(items[0])), (None, dump({"metrics": items[1:]}))]


def as_lines(times: Sequence[int]) -> list[Item]:
    lines = [
        f'boiler,unit=b3,host=gw-1 temp={81.5 + n},running=true,mode="auto" {at}000000\n'
        for n, at in enumerate(times)
    ]
    return [(b"gw-1", line.encode()) for line in lines[:5]] + [(b"gw-1", "".join(lines[5:]).encode())]


def as_columns(times: Sequence[int]) -> list[Item]:
    columns = {"series": ["b3/temp"] * len(times), "time": list(times), "value": list(range(len(times)))}
    return [(None, dump(columns))]


def as_arrow(times: Sequence[int]) -> list[Item]:
    series = pa.array(["b3/temp"] * len(times)).dictionary_encode()
    stamps = pa.array(times, pa.timestamp("ms", tz="UTC"))
    return [(None, arrow(series=series, time=stamps, value=pa.array([float(n) for n in range(len(times))])))]


TELEGRAF_FIELDS = {
    "series": "{tags.unit}/{name}/{field}", "time": "timestamp", "values": "fields.*", "items": "metrics"
}  # fmt: skip
LINES_ID = "boiler,host=gw-1,unit=b3"


@pytest.mark.parametrize(
    ("readings", "encode", "series"),
    [
        (
            {"format": "json", "time_unit": "s", "fields": TELEGRAF_FIELDS},
            as_telegraf,
            ("b3/boiler/temp", "b3/boiler/running"),
        ),
        ({"format": "influx"}, as_lines, (f"{LINES_ID}/temp", f"{LINES_ID}/running")),
        ({"format": "columns"}, as_columns, ("b3/temp",)),
        ({"format": "arrow"}, as_arrow, ("b3/temp",)),
    ],
    ids=["telegraf json", "line protocol", "columns", "arrow"],
)
def test_format_from_end_to_end(
    readings: dict[str, Any], encode: Callable[[Sequence[int]], list[Item]], series: tuple[str, ...],
    bootstrap: str, name: str, begin_ms: int, tmp_path: Path,
) -> None:  # fmt: skip
    """The cadence is inferred from the first readings, which are forecast all the same."""
    settings: Settings = {"readings": readings}
    config = make_config(bootstrap, name, tmp_path, settings)
    make_topics(config)
    times = [begin_ms + n * CADENCE_MS for n in range(12)]
    send(bootstrap, name, encode(times))

    with LiveWorker(config) as live:
        live.wait_for_end()
        metrics = live.scrape()

    assert list_forecast_times(bootstrap, config.kafka.forecasts_topic) == dict.fromkeys(series, times)
    assert metrics.value("readings_learned_total") == len(series) * len(times)
    assert sum(metrics.by("reason", "readings_rejected_total").values()) == 0
    assert read_topic(bootstrap, f"{name}.rejected") == []
