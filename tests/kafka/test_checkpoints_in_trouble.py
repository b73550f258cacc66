"""Damaged checkpoints, moved offsets, topics made anew and changed configurations, with a whole worker on a
real broker: it goes on from what is whole and says so, or refuses and names the way out."""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition
from kafka.structs import OffsetAndMetadata

from pipeline import adoption
from pipeline.cli import main
from pipeline.ports import Position
from pipeline.store import FRESH
from pipeline.store.paths import MANIFEST, STATE
from tests.kafka.running import NAMES, SERIES, Running, assert_equal, build_config, read_all, send_minutes

MakeTopic = Callable[..., str]
EACH = len(SERIES)
FIRST, SECOND, THIRD = 12 * EACH, 20 * EACH, 24 * EACH  # offsets behind the three batches of readings

(WHOLE, TRUNCATED, FLIPPED, NO_MANIFEST, OTHER_FORMAT, RESET_BETWEEN, RESET_ABOVE, RESET_BELOW, ALL_GONE,
 EXPIRED) = range(10)  # fmt: skip
GOES_ON = {
    WHOLE: SECOND, TRUNCATED: FIRST, FLIPPED: FIRST, NO_MANIFEST: FIRST, OTHER_FORMAT: FIRST,
    RESET_BETWEEN: FIRST, RESET_ABOVE: SECOND,
}  # fmt: skip
"""Partitions that are served, and the offset that they are read on from."""
REFUSED = (RESET_BELOW, ALL_GONE, EXPIRED)


@pytest.fixture
def topic(make_topic: MakeTopic) -> str:
    """The name of a topic of readings that is still to be made; its outputs are there."""
    name = f"t-{uuid.uuid4().hex[:12]}"
    for output in ("forecasts", "alerts"):
        make_topic(f"{name}-{output}")
    return name


@pytest.fixture
def admin(bootstrap: str) -> Any:
    with KafkaAdminClient(bootstrap_servers=bootstrap) as admin:
        yield admin


def find_newest(folder: Path, topic: str, partition: int) -> Path:
    places = folder.glob(f"{topic}-group/{topic}/*/{partition}/*")
    return max(places, key=lambda place: int(place.name.partition("-")[0]))


def describe_named(position: Position) -> str:
    return f"{position.offset}-{position.metadata.partition(':')[0]}"


def list_committed(admin: KafkaAdminClient, topic: str) -> dict[int, Position]:
    found = adoption.read_committed(admin, f"{topic}-group")
    return {partition: position for (name, partition), position in found.items() if name == topic}


def move_offset(admin: KafkaAdminClient, topic: str, partition: int, offset: int) -> None:
    """As an operator does with Kafka's own tools: without metadata."""
    place = TopicPartition(topic, partition)
    admin.alter_group_offsets(f"{topic}-group", {place: OffsetAndMetadata(offset, "", -1)})


def run_to(config: Any, offset: int, *partitions: int) -> Running:
    """A worker from its start until it has learnt so far and has saved it."""
    with Running(config) as worker:
        worker.wait_for_offset(offset, *partitions)
        worker.wait_until(lambda: worker.readyz() == {})
    return worker


def bring_trouble(folder: Path, topic: str, admin: KafkaAdminClient) -> None:
    for partition in (TRUNCATED, FLIPPED):
        state = find_newest(folder, topic, partition) / STATE
        data = bytearray(state.read_bytes())
        data[len(data) // 2] ^= 16
        state.write_bytes(data if partition == FLIPPED else data[: len(data) // 2])
    (find_newest(folder, topic, NO_MANIFEST) / MANIFEST).unlink()
    manifest = find_newest(folder, topic, OTHER_FORMAT) / MANIFEST
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"format": 99, "software": "9.9"}))
    for state in folder.glob(f"{topic}-group/{topic}/*/{ALL_GONE}/*/{STATE}"):
        state.write_bytes(b"")
    move_offset(admin, topic, RESET_BETWEEN, FIRST + 5)
    move_offset(admin, topic, RESET_ABOVE, SECOND + 5)
    move_offset(admin, topic, RESET_BELOW, FIRST - 5)
    admin.delete_group_offsets(f"{topic}-group", [TopicPartition(topic, EXPIRED)])


def test_damage_and_moved_offsets(
    bootstrap: str,
    make_topic: MakeTopic,
    producer: KafkaProducer,
    admin: KafkaAdminClient,
    topic: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "pipeline")
    everywhere = range(10)
    make_topic(topic, partitions=10)
    models = {"names": ("naive", "linear", "rnn")}
    config = build_config(bootstrap, topic, tmp_path, forecasters=models)
    send_minutes(producer, topic, range(12), everywhere)
    run_to(config, FIRST, *everywhere)
    send_minutes(producer, topic, range(12, 20), everywhere)
    run_to(config, SECOND, *everywhere)
    named = list_committed(admin, topic)
    assert [named[partition].offset for partition in everywhere] == [SECOND] * 10

    bring_trouble(tmp_path, topic, admin)
    send_minutes(producer, topic, range(20, 24), everywhere)
    caplog.clear()
    with Running(config) as worker:
        worker.wait_for_offset(THIRD, *GOES_ON)
        worker.wait_until(lambda: worker.readyz().keys() == set(REFUSED))
        reasons = worker.readyz()
    log = "\n".join(record.getMessage() for record in caplog.records)

    for partition, offset in GOES_ON.items():
        assert f"{topic}/{partition} reads on at offset {offset}\n" in log
        assert (f"partition {partition} of topic {topic}: " in log) == (partition != WHOLE)
        assert worker.count("accepted", partition) == THIRD
    for partition, why in {
        TRUNCATED: "bytes, but",
        FLIPPED: "the SHA-256 differs",
        NO_MANIFEST: "it has no manifest, so its write was never finished",
        OTHER_FORMAT: "it has format 99, written by Gatecast 9.9, but this version reads format 1",
    }.items():
        place = describe_named(named[partition])
        assert f"partition {partition} of topic {topic}: the committed checkpoint {place} can't be" in log
        assert why in log
    for partition, offset in {RESET_BETWEEN: FIRST + 5, RESET_ABOVE: SECOND + 5}.items():
        assert (
            f"partition {partition} of topic {topic}: the committed offset {offset} names no checkpoint, "
            "as after a reset by an operator" in log
        )
    assert "there is no whole one at or below to take; put one back" in reasons[RESET_BELOW]
    assert "there is no whole one below to take; put one back" in reasons[ALL_GONE]
    assert f"`gatecast checkpoints adopt --partition {EXPIRED}`" in reasons[EXPIRED]
    committed = list_committed(admin, topic)
    assert committed[RESET_BELOW] == Position(offset=FIRST - 5)
    assert committed[ALL_GONE] == named[ALL_GONE]
    assert EXPIRED not in committed
    assert all(committed[partition].offset == THIRD for partition in GOES_ON)

    place = ["--url", str(tmp_path), "--group", f"{topic}-group", "--topic", topic, "--bootstrap", bootstrap]
    adopted = CliRunner().invoke(main, ["checkpoints", "adopt", *place, "--partition", str(EXPIRED)])
    assert adopted.exit_code == 0, adopted.output
    with Running(config) as again:
        again.wait_for_offset(THIRD, EXPIRED)
        again.wait_until(lambda: again.readyz().keys() == {RESET_BELOW, ALL_GONE})

    other = build_config(bootstrap, topic, tmp_path, forecasters=models, kafka={"group": f"{topic}-other"})
    uninterrupted = run_to(other, THIRD, *everywhere)
    for partition in GOES_ON:
        assert_equal(worker.state(partition), uninterrupted.state(partition))
    assert_equal(again.state(EXPIRED), uninterrupted.state(EXPIRED))


def test_topic_with_more_partitions_and_topic_made_anew(
    bootstrap: str,
    make_topic: MakeTopic,
    producer: KafkaProducer,
    admin: KafkaAdminClient,
    topic: str,
    tmp_path: Path,
) -> None:
    make_topic(topic)
    config = build_config(bootstrap, topic, tmp_path)
    send_minutes(producer, topic, range(5))
    run_to(config, 5 * EACH)
    before = list_committed(admin, topic)

    admin.create_partitions({topic: 2})
    with Running(config) as worker:
        worker.wait_until(lambda: worker.readyz().keys() == {0, 1})
        worker.wait_until(lambda: all("has 2 partitions" in why for why in worker.readyz().values()))
        for reason in worker.readyz().values():
            assert reason == (
                f"topic {topic} has 2 partitions, but its checkpoints were written with 1, so series may "
                "have moved between shards; set another kafka.group to start fresh, or read from a topic "
                "with 1 partitions"
            )
    assert list_committed(admin, topic) == before

    old_id = adoption.describe_topic(admin, topic).id
    make_anew(admin, make_topic, topic)
    send_minutes(producer, topic, range(9))
    with Running(config) as worker:
        worker.wait_until(lambda: f"but the checkpoints are of {old_id}" in worker.readyz().get(0, ""))
        reason = worker.readyz()[0]
        assert "the topic was deleted and made anew, so their offsets mean other readings" in reason
        assert f"delete the offsets of group {topic}-group, or set another kafka.group" in reason
    assert list_committed(admin, topic) == {}


def make_anew(admin: KafkaAdminClient, make_topic: MakeTopic, topic: str) -> None:
    admin.delete_topics([topic])
    deadline = time.monotonic() + 20
    while True:
        try:
            make_topic(topic)
            return
        except Exception:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_topic_made_anew_under_a_running_worker(
    bootstrap: str,
    make_topic: MakeTopic,
    producer: KafkaProducer,
    admin: KafkaAdminClient,
    topic: str,
    tmp_path: Path,
) -> None:
    """More is in the new log than was read of the old one: no offset is out of range."""
    make_topic(topic)
    config = build_config(bootstrap, topic, tmp_path, checkpoints={"interval_s": 1})
    send_minutes(producer, topic, range(5))
    with Running(config) as worker:
        worker.wait_for_offset(5 * EACH)
        worker.wait_until(lambda: list_committed(admin, topic)[0].metadata != FRESH)
        make_anew(admin, make_topic, topic)
        send_minutes(producer, topic, range(100, 130))
        worker.wait_until(lambda: 0 in worker.readyz())
        worker.wait_until(lambda: "made anew" in worker.readyz().get(0, ""))
        assert worker.next_offset() <= 5 * EACH
    assert 0 not in list_committed(admin, topic)


def test_changed_configurations_go_on(
    bootstrap: str,
    make_topic: MakeTopic,
    producer: KafkaProducer,
    topic: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One after the other, as over the life of a plant."""
    caplog.set_level(logging.INFO, "pipeline")
    make_topic(topic)
    models: dict[str, Any] = {}
    minute = 20
    anew = "comparison: other forecasters or steps; starts anew"
    send_minutes(producer, topic, range(minute))
    run_to(build_config(bootstrap, topic, tmp_path), minute * EACH)
    for change, expected in (
        ({"names": (*NAMES, "lstm")}, ["lstm: new, starts cold beside the others", anew]),
        ({"names": ("naive", "linear", "lstm", "blend")}, ["rnn: no longer asked for, left out", anew]),
        ({"horizon": 3}, ["horizon 2 → 3: common steps and weights go on", anew]),
        ({"hidden": 6}, ["lstm: hidden 4 → 6; starts anew, its state from the histories"]),
        ({"coverage": 0.8}, ["intervals: coverage 0.9 → 0.8; errors go on, factors start anew"]),
    ):
        models |= change
        config = build_config(
            bootstrap, topic, tmp_path, forecasters=models, alerts={"masked_in_a_row": 5 + minute}
        )
        send_minutes(producer, topic, range(minute, minute + 5))
        caplog.clear()
        with Running(config) as worker:
            worker.wait_for_offset((minute + 5) * EACH)
            worker.wait_until(lambda: worker.readyz() == {})
        said = [r.getMessage() for r in caplog.records if r.name == "pipeline.runner"]
        place = f"partition 0 of topic {topic}"
        assert said == [
            *(f"{place}: {note}" for note in expected),
            f"{topic}/0 reads on at offset {minute * EACH}",
        ]
        minute += 5
        assert worker.count("accepted") == minute * EACH
    forecasts = read_all(bootstrap, f"{topic}-forecasts")
    assert [len(f["mean"]) for f in forecasts] == [2] * 30 * EACH + [3] * 15 * EACH
