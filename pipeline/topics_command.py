"""`gatecast topics create`: the topics that a worker reads and writes, made where they are missing."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import click
from kafka import KafkaAdminClient, errors
from kafka.admin import ConfigResource, ConfigResourceType

from pipeline.config import load_config
from pipeline.kafka_client import build_client, explain_refusal, list_settings
from pipeline.kafka_options import KafkaOptions, take_kafka_options

_HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicPlan:
    """A topic as it should be."""

    name: str
    partitions: int
    settings: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicReport:
    """What was found or done. `differs` is by setting: what it should be, and what it is."""

    name: str
    made: bool
    differs: Mapping[str, tuple[str, str]] = field(default_factory=dict)


class TopicsError(Exception):
    """The topics can't be made; the text says why."""


def plan_topics(options: KafkaOptions) -> list[TopicPlan]:
    """Readings and, for each of them, dead letters; forecasts; alerts. A pattern names none to be made.

    Readings get the broker's time: records stamped years ago would be deleted at the first retention check,
    and all decisions about lateness follow the broker's clock. Alerts are all kept for the retention; of
    older ones the last word on each series stays.
    """
    retention = {"retention.ms": str(options.retention_hours * _HOUR_MS)}
    arrival = {"message.timestamp.type": "LogAppendTime"}
    plans = []
    if options.pattern is None:
        for topic in options.topics:
            plans.append(TopicPlan(name=topic, partitions=options.partitions, settings=arrival | retention))
            plans.append(
                TopicPlan(
                    name=topic + options.rejected_suffix,
                    partitions=1,
                    settings=arrival | retention,
                )
            )
    plans.append(
        TopicPlan(name=options.forecasts_topic, partitions=options.partitions, settings=arrival | retention)
    )
    compacted = {
        "cleanup.policy": "compact",
        "min.compaction.lag.ms": retention["retention.ms"],
        "segment.ms": str(24 * _HOUR_MS),
    }
    plans.append(TopicPlan(name=options.alerts_topic, partitions=1, settings=arrival | compacted))
    return plans


def create_topics(options: KafkaOptions, plans: Sequence[TopicPlan]) -> list[TopicReport]:
    """Makes what is missing and compares what is there; changes nothing that is there. Raises TopicsError."""
    try:
        admin = build_client(KafkaAdminClient, list_settings(options))
        try:
            return [_create_topic(admin, plan, options) for plan in plans]
        finally:
            admin.close()
    except errors.KafkaError as error:
        raise TopicsError(explain_refusal(error, options) or f"{options.servers}: {error}") from error


def _create_topic(admin: KafkaAdminClient, plan: TopicPlan, options: KafkaOptions) -> TopicReport:
    wanted = {
        "num_partitions": plan.partitions,
        "replication_factor": options.replication or -1,
        "configs": dict(plan.settings),
    }
    try:
        admin.create_topics({plan.name: wanted}, wait_for_metadata=True)
    except errors.TopicAlreadyExistsError:
        return TopicReport(name=plan.name, made=False, differs=_compare(admin, plan))
    return TopicReport(name=plan.name, made=True)


def _compare(admin: KafkaAdminClient, plan: TopicPlan) -> dict[str, tuple[str, str]]:
    (found,) = admin.describe_topics([plan.name])
    resource = ConfigResource(ConfigResourceType.TOPIC, plan.name)
    settings: dict[str, Any] = admin.describe_configs([resource], config_filter="all")["topic"][plan.name]
    wanted = {"partitions": str(plan.partitions), **plan.settings}
    there = {name: str(setting["value"]) for name, setting in settings.items()}
    there["partitions"] = str(len(found["partitions"]))
    return {
        name: (value, there.get(name, "")) for name, value in wanted.items() if there.get(name, "") != value
    }


def describe_report(report: TopicReport) -> str:
    """One line for a person."""
    if report.made:
        return f"{report.name}: made"
    if not report.differs:
        return f"{report.name}: there already"
    differences = "; ".join(
        f"{name} is {there}, not {wanted}" for name, (wanted, there) in report.differs.items()
    )
    return f"{report.name}: there already, but {differences}"


@click.group()
def topics() -> None:
    """Topics of a worker."""


@topics.command(short_help="Make the topics that are missing.")
@click.option("--config", "path", type=click.Path(), help="TOML file; without it, defaults and variables.")
@click.option("--bootstrap", help="HOST:PORT, or several with commas. [default: as configured]")
@click.option("--topic", "names", multiple=True, help="Topic of readings. [default: as configured]")
@click.option("--partitions", type=click.IntRange(min=1), help="[default: as configured]")
@click.option("--replication", type=click.IntRange(min=1), help="[default: what the brokers are set to]")
@click.option("--retention-hours", type=click.IntRange(min=1), help="[default: as configured]")
def create(
    path: str | None,
    bootstrap: str | None,
    names: tuple[str, ...],
    partitions: int | None,
    replication: int | None,
    retention_hours: int | None,
) -> None:
    """Make the topics of readings, rejected messages, forecasts and alerts where they are missing.

    What is there stays as it is; where it differs from what a worker needs, that is said.

    \b
    Example:
      gatecast topics create --bootstrap kafka-1:9092 --partitions 8 --replication 3
    """
    given: dict[str, Any] = {
        "bootstrap": tuple(part.strip() for part in bootstrap.split(",")) if bootstrap else None,
        "topics": names or None,
        "partitions": partitions,
        "replication": replication,
        "retention_hours": retention_hours,
    }
    try:
        options = dataclasses.replace(
            take_kafka_options(load_config(path).kafka),
            **{name: value for name, value in given.items() if value is not None},
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    run_create(options)


def run_create(options: KafkaOptions) -> None:
    """Makes the topics and prints a line for each. Raises click.ClickException with the reason."""
    try:
        reports = create_topics(options, plan_topics(options))
    except TopicsError as error:
        raise click.ClickException(str(error)) from error
    for report in reports:
        click.echo(describe_report(report))
