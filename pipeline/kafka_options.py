"""How to reach a Kafka, and what to read from it and send to it; shared by source, emitter and commands."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Any

PATTERN = "re:"
"""Before a text in `topics`: it is a pattern that fits whole names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaOptions:
    """The connection, the group and the topics; field by field what the section `kafka` of a file says."""

    bootstrap: tuple[str, ...] = ("localhost:9092",)
    topics: tuple[str, ...] = ("gatecast.readings",)  # or one "re:PATTERN"
    group: str = "gatecast"
    instance_id: str | None = None  # static membership
    client_id: str = "gatecast"
    session_timeout_ms: int = 45_000
    max_poll_interval_ms: int = 60_000  # a worker that hangs holds up a rebalance for so long
    max_poll_records: int = 5_000
    compression: str = "lz4"
    api_version: str | None = None  # "2.3" for the in-memory broker; None: asked of the broker
    makes_topics: bool = False  # by asking for them, as the in-memory broker needs it

    security_protocol: str = "PLAINTEXT"
    sasl_mechanism: str | None = None
    sasl_username: str | None = None
    sasl_password: str | None = None
    oauth_token_url: str | None = None
    oauth_client_id: str | None = None
    oauth_client_secret: str | None = None
    oauth_scope: str | None = None
    ssl_ca_file: str | None = None
    ssl_cert_file: str | None = None
    ssl_key_file: str | None = None
    ssl_key_password: str | None = None

    forecasts_topic: str = "gatecast.forecasts"
    alerts_topic: str = "gatecast.alerts"
    rejected_suffix: str = ".rejected"
    partitions: int = 4  # of topics that are made
    replication: int | None = None  # None: what the brokers are set to
    retention_hours: int = 168

    def __post_init__(self) -> None:
        patterns = [topic for topic in self.topics if topic.startswith(PATTERN)]
        if not self.topics or (patterns and len(self.topics) > 1):
            raise ValueError(
                f"expected kafka.topics to be names, or one pattern behind {PATTERN!r}, "
                f"but it is {list(self.topics)}"
            )
        if patterns:
            try:
                re.compile(patterns[0].removeprefix(PATTERN))
            except re.error as error:
                raise ValueError(f"expected a regular expression in kafka.topics, but {error}") from error
        for topic in self.topics:
            if not patterns and self.is_own_output(topic):
                raise ValueError(
                    f"expected kafka.topics to name topics of readings, but {topic!r} is one that this "
                    "worker writes: it would read its own output"
                )

    @property
    def pattern(self) -> str | None:
        """Fits the names of the topics to read and none of our own outputs; None if the names are listed."""
        if not self.topics[0].startswith(PATTERN):
            return None
        own = "|".join(re.escape(name) for name in (self.forecasts_topic, self.alerts_topic))
        suffix = re.escape(self.rejected_suffix)
        return rf"(?!(?:{own})\Z)(?!.*{suffix}\Z)(?:{self.topics[0].removeprefix(PATTERN)})\Z"

    @property
    def servers(self) -> str:
        """The bootstrap servers as one text, for clients and for messages."""
        return ",".join(self.bootstrap)

    def is_own_output(self, topic: str) -> bool:
        return topic in (self.forecasts_topic, self.alerts_topic) or topic.endswith(self.rejected_suffix)


@dataclass(frozen=True, slots=True, kw_only=True)
class EmitterOptions:
    """Which forecasts are sent, and how; alerts and dead letters are always sent."""

    format: str = "json"  # or arrow
    forecasters: tuple[str, ...] = ()  # names; empty: all
    steps: tuple[int, ...] = ()  # steps ahead, from 1; empty: all
    every: int = 1  # send those made at every n-th step of a series' grid
    software: str = ""  # fields of alerts
    config: str = ""
    linger_ms: int = 5  # waits so long for company: larger batches, a little later
    buffer_bytes: int = 32 << 20  # sent and not yet delivered; beyond it, the source rests

    def __post_init__(self) -> None:
        if self.format not in ("json", "arrow"):
            raise ValueError(f"expected forecasts.format to be json or arrow, but it is {self.format!r}")
        if self.every < 1 or any(step < 1 for step in self.steps):
            raise ValueError(
                "expected forecasts.every and forecasts.steps to be 1 or more, "
                f"but they are {self.every} and {list(self.steps)}"
            )


def take_kafka_options(section: object) -> KafkaOptions:
    """From an object whose attributes have the names of KafkaOptions, such as a section of the configuration.

    What it lacks keeps its default; secrets that hide their value are opened. Raises ValueError.
    """
    found: dict[str, Any] = {}
    for field in fields(KafkaOptions):
        if hasattr(section, field.name):
            value = getattr(section, field.name)
            opened = getattr(value, "get_secret_value", None)
            found[field.name] = opened() if opened else value
    for name in ("bootstrap", "topics"):
        if isinstance(found.get(name), str):
            found[name] = tuple(part.strip() for part in found[name].split(","))
        elif name in found:
            found[name] = tuple(found[name])
    return KafkaOptions(**found)
