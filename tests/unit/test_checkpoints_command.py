"""`gatecast checkpoints`: tables, exit codes, sentences; Kafka is played by a stand-in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from kafka.errors import (
    CoordinatorNotAvailableError,
    GroupAuthorizationFailedError,
    KafkaTimeoutError,
    NoError,
    UnknownMemberIdError,
)
from kafka.structs import OffsetAndMetadata, TopicPartition

import pipeline.checkpoints_command as command
from pipeline.cli import main
from pipeline.store import open_store
from pipeline.store.paths import STATE

TOPIC_ID = "b1f5c1a0-5d5f-4c7e-9c1b-0d0e0f101112"


class StandIn:
    """The four calls of kafka-python's admin client that are used, with a group's offsets and members."""

    def __init__(self) -> None:
        self.members: list[dict[str, str]] = []
        self.offsets: dict[str, dict[TopicPartition, OffsetAndMetadata]] = {}
        self.topic_id = TOPIC_ID
        self.num_partitions = 2
        self.refuses: set[int] = set()
        self.closed = False

    def describe_groups(self, group_ids: list[str]) -> dict[str, dict[str, Any]]:
        return {group: {"group_id": group, "members": self.members} for group in group_ids}

    def describe_topics(self, topics: list[str]) -> list[dict[str, Any]]:
        if topics != ["readings"]:
            return [{"name": topics[0], "error_code": 3, "topic_id": "0", "partitions": []}]
        parts = [{"partition_index": p} for p in range(self.num_partitions)]
        return [{"name": "readings", "error_code": 0, "topic_id": self.topic_id, "partitions": parts}]

    def list_group_offsets(self, group_specs: dict[str, None]) -> dict[str, Any]:
        return {group: self.offsets.get(group, {}) for group in group_specs}

    def alter_group_offsets(self, group_id: str, offsets: dict[Any, Any]) -> dict[Any, Any]:
        good = {place: said for place, said in offsets.items() if place.partition not in self.refuses}
        self.offsets.setdefault(group_id, {}).update(good)
        return {place: NoError if place in good else UnknownMemberIdError for place in offsets}

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    stand_in = StandIn()
    monkeypatch.setattr(command, "open_admin", lambda bootstrap: stand_in)
    return stand_in


@pytest.fixture
def names(tmp_path: Path) -> dict[tuple[int, int], str]:
    """Metadata by (partition, offset): two checkpoints in each of two partitions."""
    store = open_store(str(tmp_path), "plant", "readings")
    facts = {"num_partitions": 2, "counts": {"series": 1000, "readings_learned": 123456}}
    return {
        (p, offset): store.write(TOPIC_ID, p, offset, {"a": torch.zeros(500_000)}, facts)
        for p in (0, 1)
        for offset in (100, 2000 + p)
    }


def call(*args: object) -> Result:
    return CliRunner().invoke(main, ["checkpoints", *[str(arg) for arg in args]], env={"COLUMNS": "250"})


def damage(folder: Path, name: str) -> None:
    (path,) = folder.rglob(f"*{name.partition(':')[0]}/{STATE}")
    path.write_bytes(path.read_bytes()[:-1] + b"x")


def adopt(folder: Path, *args: object) -> Result:
    place = ("--url", folder, "--group", "plant", "--topic", "readings", "--bootstrap", "k:9092")
    return call("adopt", *place, *args)


def test_list_has_a_row_for_each(tmp_path: Path, names: dict[tuple[int, int], str]) -> None:
    result = call("list", "--url", tmp_path)
    assert result.exit_code == 0, result.stderr
    rows = [line for line in result.stdout.splitlines() if "plant" in line]
    assert len(rows) == 4
    assert all(
        word in rows[1] for word in ("readings", TOPIC_ID, "2,000", "2.0", "1,000", "123,456", "yes", "–")
    )
    assert call("list", "--url", tmp_path, "--group", "other").exit_code == 0


def test_list_into_a_pipe_folds_nothing(tmp_path: Path, names: dict[tuple[int, int], str]) -> None:
    result = CliRunner().invoke(main, ["checkpoints", "list", "--url", str(tmp_path)], env={"COLUMNS": None})
    rows = [line for line in result.stdout.splitlines() if line.startswith("│ plant")]
    assert len(rows) == 4
    assert all(TOPIC_ID in row and "123,456" in row for row in rows)


def test_list_says_what_is_committed_and_what_is_not_whole(
    tmp_path: Path, names: dict[tuple[int, int], str], broker: StandIn
) -> None:
    committed = OffsetAndMetadata(2001, names[1, 2001], -1)
    broker.offsets["plant"] = {
        TopicPartition("readings", 1): committed, TopicPartition("readings", 0): OffsetAndMetadata(-1, "", -1)
    }  # fmt: skip
    (manifest,) = tmp_path.rglob(f"*{names[0, 100].partition(':')[0]}/manifest.json")
    manifest.unlink()
    result = call("list", "--url", tmp_path, "--bootstrap", "k:9092")
    rows = [line for line in result.stdout.splitlines() if line.startswith("│ plant")]
    assert ["yes" in row.rsplit("│", 2)[1] for row in rows] == [False, False, False, True]
    assert "no" in rows[0].split("│")[-3]
    assert "its write was never finished" in result.stdout
    assert broker.closed


def test_verify_ends_with_1_if_one_is_broken(tmp_path: Path, names: dict[tuple[int, int], str]) -> None:
    result = call("verify", "--url", tmp_path)
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (0, "4 checkpoints, all whole")
    damage(tmp_path, names[0, 100])
    result = call("verify", "--url", tmp_path)
    assert result.exit_code == 1
    assert "partition 0 100-" in result.stdout.splitlines()[0]
    assert "the SHA-256 differs" in result.stdout.splitlines()[0]
    assert "1 of 4 checkpoints can't be taken" in result.stderr


def test_a_url_that_nothing_reads_is_wrong_usage(tmp_path: Path) -> None:
    for name in ("list", "verify"):
        result = call(name, "--url", "nosuch://x")
        assert result.exit_code == 2
        assert "expected a folder or a URL that fsspec knows" in result.stderr


def test_adopt_commits_the_newest_whole_one(
    tmp_path: Path, names: dict[tuple[int, int], str], broker: StandIn
) -> None:
    damage(tmp_path, names[1, 2001])
    result = adopt(tmp_path, "--all")
    assert result.exit_code == 0, result.stderr
    assert broker.offsets["plant"] == {
        TopicPartition("readings", 0): OffsetAndMetadata(2000, names[0, 2000], -1),
        TopicPartition("readings", 1): OffsetAndMetadata(100, names[1, 100], -1),
    }
    assert "partition 0: adopted 2000-" in result.stdout
    assert broker.closed


def test_adopt_takes_one_partition_and_none_above_an_offset(
    tmp_path: Path, names: dict[tuple[int, int], str], broker: StandIn
) -> None:
    assert adopt(tmp_path, "--partition", 1, "--at", 1999).exit_code == 0
    assert broker.offsets["plant"] == {
        TopicPartition("readings", 1): OffsetAndMetadata(100, names[1, 100], -1)
    }


def test_adopt_leaves_a_living_group_alone(
    tmp_path: Path, names: dict[tuple[int, int], str], broker: StandIn
) -> None:
    broker.members = [{"client_host": "/10.0.0.7"}, {"client_host": "/10.0.0.8"}]
    result = adopt(tmp_path, "--all")
    assert result.exit_code == 1
    assert "expected a group without members, but plant has 2 (on 10.0.0.7, 10.0.0.8)" in result.stderr
    assert "stop its workers, then adopt" in result.stderr
    assert broker.offsets == {}


def test_adopt_refuses_with_the_way_out(
    tmp_path: Path, names: dict[tuple[int, int], str], broker: StandIn
) -> None:
    broker.refuses = {1}
    result = adopt(tmp_path, "--all")
    assert result.exit_code == 1
    assert (
        "the broker refused the offsets of group plant for partition 1 (UnknownMemberIdError)"
        in result.stderr
    )
    broker.num_partitions = 3
    assert "set another kafka.group to start fresh" in adopt(tmp_path, "--all").stderr
    broker.num_partitions = 2
    result = adopt(tmp_path, "--partition", 0, "--partition", 5)
    assert "partition 5 of topic readings: expected a whole checkpoint of topic id" in result.stderr
    for name in names.values():
        damage(tmp_path, name)
    assert "`gatecast checkpoints list` shows what there is" in adopt(tmp_path, "--all").stderr
    broker.topic_id = "another"
    assert "expected checkpoints of topic id another" in adopt(tmp_path, "--all").stderr
    for args in ((), ("--all", "--partition", 0)):
        result = adopt(tmp_path, *args)
        assert result.exit_code == 2
        assert "expected either --all or at least one --partition" in result.stderr


def test_adopt_waits_for_a_coordinator_and_not_for_permission(
    tmp_path: Path, names: dict[tuple[int, int], str], broker: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A group's coordinator is away for seconds when its broker was just started."""
    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)
    describe, left = broker.describe_groups, [CoordinatorNotAvailableError(), CoordinatorNotAvailableError()]

    def late(group_ids: list[str]) -> dict[str, dict[str, Any]]:
        if left:
            raise left.pop()
        return describe(group_ids)

    monkeypatch.setattr(broker, "describe_groups", late)
    assert adopt(tmp_path, "--all").exit_code == 0
    assert len(pauses) == 2
    left.append(GroupAuthorizationFailedError())
    result = adopt(tmp_path, "--all")
    assert result.exit_code == 1
    assert "GroupAuthorizationFailed" in result.stderr
    assert len(pauses) == 2


def test_adopt_names_a_topic_that_is_missing(tmp_path: Path, broker: StandIn) -> None:
    place = ("--url", tmp_path, "--group", "plant", "--topic", "redings", "--bootstrap", "k:9092")
    result = call("adopt", *place, "--all")
    assert result.exit_code == 1
    assert "expected a topic 'redings', but the broker has none; check --topic" in result.stderr


def test_adopt_without_a_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**settings: object) -> None:
        assert settings == {"bootstrap_servers": ["a:1", "b:2"]}
        raise KafkaTimeoutError

    monkeypatch.setattr("kafka.KafkaAdminClient", refuse)  # the real one leaves sockets open when it fails
    result = call("adopt", "--url", "/x", "--group", "g", "--topic", "t", "--bootstrap", "a:1, b:2", "--all")
    assert result.exit_code == 1
    assert "expected a Kafka broker at a:1, b:2, but none answers" in result.stderr
