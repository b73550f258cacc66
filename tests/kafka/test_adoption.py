"""`gatecast checkpoints adopt` on a real broker; `bootstrap` and `make_topic` are fixtures of this folder."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from kafka import KafkaAdminClient, KafkaConsumer

from pipeline import adoption
from pipeline.cli import main
from pipeline.store import FRESH, Load, Refuse, choose, open_store


def test_an_expired_offset_is_adopted_and_then_chosen(
    bootstrap: str, make_topic: Callable[..., str], tmp_path: Path
) -> None:
    topic = make_topic(f"t-{uuid.uuid4().hex[:12]}", partitions=2)
    group = f"{topic}-group"
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    about = adoption.describe_topic(admin, topic)
    assert about.num_partitions == 2
    store = open_store(str(tmp_path), group, topic)
    facts = {"num_partitions": 2}
    names = {p: store.write(about.id, p, 40 + p, {"a": torch.zeros(3)}, facts) for p in (0, 1)}
    assert isinstance(choose(store, None, about.id, 0, 2, "earliest"), Refuse)

    args = ["--url", str(tmp_path), "--group", group, "--topic", topic, "--bootstrap", bootstrap]
    result = CliRunner().invoke(main, ["checkpoints", "adopt", *args, "--all"])
    assert result.exit_code == 0, result.stderr
    committed = adoption.read_committed(admin, group)
    for partition, name in names.items():
        position = committed[topic, partition]
        assert (position.offset, position.metadata) == (40 + partition, name)
        choice = choose(store, position, about.id, partition, 2, "earliest")
        assert isinstance(choice, Load)
        assert choice.notes == ()
    result = CliRunner().invoke(main, ["checkpoints", "list", *args], env={"COLUMNS": "250"})
    assert result.exit_code == 0, result.stderr
    assert [line.rsplit("│", 2)[1].strip() for line in result.stdout.splitlines() if "t-" in line] == [
        "yes"
    ] * 2
    assert names[0] != FRESH
    admin.close()


def test_a_group_with_a_live_member_is_left_alone(
    bootstrap: str, make_topic: Callable[..., str], tmp_path: Path
) -> None:
    topic = make_topic(f"t-{uuid.uuid4().hex[:12]}")
    group = f"{topic}-group"
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    about = adoption.describe_topic(admin, topic)
    store = open_store(str(tmp_path), group, topic)
    store.write(about.id, 0, 40, {"a": torch.zeros(3)}, {"num_partitions": 1})
    consumer = KafkaConsumer(topic, bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False)
    for _ in range(100):
        consumer.poll(timeout_ms=100)
        if consumer.assignment():
            break
    else:
        pytest.fail("the consumer got no partition")
    args = ["--url", str(tmp_path), "--group", group, "--topic", topic, "--bootstrap", bootstrap]
    result = CliRunner().invoke(main, ["checkpoints", "adopt", *args, "--all"])
    assert result.exit_code == 1
    assert f"expected a group without members, but {group} has 1" in result.stderr
    assert adoption.read_committed(admin, group) == {}
    consumer.close()
    result = CliRunner().invoke(main, ["checkpoints", "adopt", *args, "--partition", "0"])
    assert result.exit_code == 0, result.stderr
    admin.close()
