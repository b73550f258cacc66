from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from click.testing import CliRunner
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType

from pipeline.cli import main
from pipeline.kafka_options import KafkaOptions
from pipeline.topics_command import TopicReport, TopicsError, create_topics, describe_report, plan_topics

MakeTopic = Callable[..., str]


def read_settings(bootstrap: str, topic: str) -> dict[str, str]:
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    resource = ConfigResource(ConfigResourceType.TOPIC, topic)
    found = admin.describe_configs([resource], config_filter="all")["topic"][topic]
    partitions = len(admin.describe_topics([topic])[0]["partitions"])
    admin.close()
    return {name: setting["value"] for name, setting in found.items()} | {"partitions": str(partitions)}


def test_topics_are_made_once(options: KafkaOptions, bootstrap: str) -> None:
    name = options.topics[0]
    options = replace(options, partitions=3, retention_hours=48)
    plans = plan_topics(options)
    assert [plan.name for plan in plans] == [
        name, f"{name}.rejected", options.forecasts_topic, options.alerts_topic
    ]  # fmt: skip

    assert create_topics(options, plans) == [TopicReport(name=plan.name, made=True) for plan in plans]
    assert create_topics(options, plans) == [TopicReport(name=plan.name, made=False) for plan in plans]

    readings = read_settings(bootstrap, name)
    assert readings["partitions"] == "3"
    assert readings["message.timestamp.type"] == "LogAppendTime"
    assert readings["retention.ms"] == str(48 * 3_600_000)
    assert read_settings(bootstrap, options.alerts_topic)["cleanup.policy"] == "compact"


def test_differences_are_told_and_left(options: KafkaOptions, make_topic: MakeTopic, bootstrap: str) -> None:
    name = make_topic(options.topics[0], partitions=2)
    report = create_topics(options, plan_topics(options)[:1])[0]
    assert not report.made
    assert describe_report(report) == (
        f"{name}: there already, but partitions is 2, not 4; "
        "message.timestamp.type is CreateTime, not LogAppendTime"
    )
    assert read_settings(bootstrap, name)["message.timestamp.type"] == "CreateTime"


def test_command_makes_topics_and_says_so(options: KafkaOptions, bootstrap: str) -> None:
    name = options.topics[0]
    arguments = ["topics", "create", "--bootstrap", bootstrap, "--topic", name, "--partitions", "2"]
    first = CliRunner().invoke(main, arguments)
    assert first.exit_code == 0, first.output
    assert first.output.splitlines()[:2] == [f"{name}: made", f"{name}.rejected: made"]
    second = CliRunner().invoke(main, arguments)
    assert second.exit_code == 0
    assert second.output.splitlines()[0] == f"{name}: there already"


def test_broker_that_is_not_there_is_one_sentence() -> None:
    options = KafkaOptions(bootstrap=("127.0.0.1:9",))
    with pytest.raises(TopicsError, match=r"^127\.0\.0\.1:9: KafkaConnectionError: .*REFUSED"):
        create_topics(options, plan_topics(options))
