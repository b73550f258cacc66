"""Bad input through the worker on a real broker: counted to the last message, set aside, and no hindrance."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer

from pipeline.codec import CodecOptions, build_codec
from tests.kafka.conftest import MakeTopic
from tests.kafka.live import LiveWorker, Record, list_forecast_times, make_config, make_topics, read_topic
from tests.unit.codec.batches import NOW_MS, arrow, build_messages
from tests.unit.codec.corpus import CORPUS, Hostile

FOREVER = str(2**63 - 1)
SENDERS_CLOCK = {  # broker timestamps are those of the corpus, whenever the test runs
    "message_timestamp_type": "CreateTime",
    "message_timestamp_after_max_ms": FOREVER,
    "retention_ms": "-1",
    "max_message_bytes": str(32 << 20),
}
MAX_AHEAD_MS = 3_600_000
CUT_BYTES = 1024
STEADY = "steady/1"
FORMATS = ("json", "columns", "arrow", "influx")


@pytest.fixture
def name() -> str:
    return f"bad-{uuid.uuid4().hex[:12]}"


def read_letters(records: Sequence[Record]) -> dict[tuple[int, int], Record]:
    """By partition and offset of the message."""
    found = {}
    for record in records:
        headers = dict(record.headers[-6:])
        found[int(headers["gatecast-partition"]), int(headers["gatecast-offset"])] = record
    assert len(found) == len(records), "a message has two dead letters"
    return found


def own_headers(
    topic: str, offset: int, reasons: Sequence[str], indices: Sequence[int]
) -> list[tuple[str, bytes]]:
    return [
        ("gatecast-reasons", ",".join(reasons[:100]).encode()),
        ("gatecast-indices", ",".join(map(str, indices[:100])).encode()),
        ("gatecast-topic", topic.encode()),
        ("gatecast-partition", b"0"),
        ("gatecast-offset", str(offset).encode()),
    ]


def steady(format: str, time_ms: int, value: float) -> bytes:
    """One good reading."""
    if format == "influx":
        return f"steady v={value} {time_ms}000000".encode()
    if format == "arrow":
        return arrow(series=[STEADY], time=[time_ms], value=[value])
    row: dict[str, Any] = {"series": STEADY, "time": time_ms, "value": value}
    if format == "columns":
        row = {key: [part] for key, part in row.items()}
    return json.dumps(row).encode()


@pytest.mark.parametrize("format", FORMATS)
def test_hostile_messages_among_good_ones(
    format: str, bootstrap: str, name: str, make_topic: MakeTopic, tmp_path: Path
) -> None:
    hostile = [each for each in CORPUS if each.format == format and each.clock_ms == NOW_MS]
    mixed: list[Hostile] = []
    times = []
    for number, each in enumerate(hostile):
        mixed.append(
            replace(each, key=b"gone") if each.payload is None else each
        )  # clients send none without
        if number % 3 == 0:
            times.append(NOW_MS - 1_000_000 + len(times) * 1_000)
            good = steady(format, times[-1], 20.0 + len(times) % 7)
            mixed.append(Hostile(name="good", format=format, payload=good, outcomes=("good",)))
    make_topic(name, **SENDERS_CLOCK)
    readings = {"format": format, "cadence_ms": 1_000}
    config = make_config(bootstrap, name, tmp_path, {"readings": readings})
    make_topics(config)
    with KafkaProducer(
        bootstrap_servers=bootstrap, max_request_size=32 << 20, delivery_timeout_ms=60_000
    ) as producer:
        for each in mixed:
            producer.send(
                name, key=each.key, value=each.payload, timestamp_ms=NOW_MS, headers=[("h", b"\x00\xff")]
            )
        producer.flush()
    # The codec's own tests hold it against the corpus; here it says what the worker has to do with each.
    decoded = build_codec(CodecOptions(format=format)).decode(
        build_messages([each.payload for each in mixed], [each.key for each in mixed])
    )
    refused: dict[int, list[tuple[str, int]]] = {}
    for one in decoded.rejected:
        refused[one.message] = list(zip(one.reasons, one.indices, strict=True))
    columns = decoded.readings
    assert columns.message is not None
    assert columns.index is not None
    for row in (columns.event_time_ms > NOW_MS + MAX_AHEAD_MS).nonzero()[0].tolist():
        entry = ("too_far_ahead", int(columns.index[row]))
        refused.setdefault(int(columns.message[row]), []).append(entry)

    with LiveWorker(config) as live:
        live.wait_for_end()
        metrics = live.scrape()

    reasons = Counter(reason for found in refused.values() for reason, _ in found)
    assert metrics.by("reason", "readings_rejected_total") == reasons
    assert metrics.by("partition", "readings_consumed_total") == {"0": len(columns)}
    dropped = metrics.by("reason", "readings_dropped_total")
    assert dropped.pop("tombstone") == sum(each.payload is None for each in mixed)
    masked = metrics.by("reason", "readings_masked_total")
    masked.pop("gap", None)  # steps without a reading
    fates = metrics.value("readings_learned_total"), *masked.values(), *dropped.values()
    assert sum(fates) + reasons["too_far_ahead"] == len(columns)

    letters = read_letters(read_topic(bootstrap, f"{name}.rejected"))
    assert letters.keys() == {(0, offset) for offset in refused}
    assert metrics.value("dead_letters_failed_total") == 0
    for offset, found in refused.items():
        check_letter(letters[0, offset], mixed[offset], name, offset, found)

    series = "steady/v" if format == "influx" else STEADY
    assert list_forecast_times(bootstrap, config.kafka.forecasts_topic)[series] == times


def check_letter(
    letter: Record, hostile: Hostile, topic: str, offset: int, refused: list[tuple[str, int]]
) -> None:
    cut = [("gatecast-cut", b"true")]
    is_cut = letter.headers[-1:] == cut
    own = own_headers(topic, offset, *(list(column) for column in zip(*refused, strict=True)))
    assert letter.headers == [("h", b"\x00\xff"), *own, *(cut if is_cut else [])], hostile.name
    assert hostile.payload is not None
    size = len(hostile.payload) + len(hostile.key or b"")
    assert is_cut or size < 1 << 20, hostile.name  # brokers take 1 MB
    assert size > 900_000 or not is_cut, hostile.name
    assert letter.value == (hostile.payload[:CUT_BYTES] if is_cut else hostile.payload), hostile.name
    assert letter.key == (hostile.key and hostile.key[:CUT_BYTES] if is_cut else hostile.key), hostile.name
