"""Section `kafka`: the brokers, how to be let in, and the topics."""

from __future__ import annotations

import re
from typing import Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from pipeline.config.section import OneOrMoreTexts, Section, Text

PATTERN_PREFIX = "re:"
_BROKER = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+):[0-9]{1,5}")
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
_OAUTH = ("oauth_token_url", "oauth_client_id", "oauth_client_secret")


class KafkaConfig(Section):
    """Section `kafka`."""

    bootstrap: OneOrMoreTexts = Field(
        default=("localhost:9092",),
        description="Brokers to ask first: a list of HOST:PORT, or one text with commas.",
        examples=[["kafka-1:9092", "kafka-2:9092"]],
    )
    topics: OneOrMoreTexts = Field(
        default=("gatecast.readings",),
        description="Topics of readings: a list, or one pattern that begins with re: and fits whole names.",
        examples=[["gatecast.readings"], "re:plant\\..*"],
    )
    group: Text = Field(
        default="gatecast", description="Consumer group; workers of one group share the partitions."
    )
    instance_id: Text | None = Field(
        default=None,
        description="Static membership: a name that this worker keeps over restarts, its own in the group.",
        examples=["worker-1"],
    )
    start: Literal["earliest", "latest"] = Field(
        default="earliest",
        description="Where to begin in a partition that has no committed offset and no checkpoint.",
    )
    client_id: Text = Field(default="gatecast", description="Name in the brokers' logs and quotas.")
    session_timeout_ms: int = Field(
        default=45_000,
        ge=1_000,
        le=1_800_000,
        description="A worker silent for so long loses its partitions.",
    )
    max_poll_interval_ms: int = Field(
        default=60_000, ge=1_000, le=1_800_000, description="A worker that hangs for so long loses them too."
    )
    max_poll_records: int = Field(
        default=5_000, ge=1, le=1_000_000, description="Messages taken in one poll, at most."
    )
    compression: Literal["none", "gzip", "lz4", "zstd"] = Field(
        default="lz4", description="How messages that are sent are compressed."
    )
    api_version: str | None = Field(
        default=None,
        pattern=r"^[0-9]+(\.[0-9]+)+$",
        description="Protocol of the brokers. Left out: asked of them; the in-memory broker needs 2.3.",
        examples=["2.3"],
    )

    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        default="PLAINTEXT", description="How the connection to the brokers is secured."
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] | None = Field(
        default=None,
        description="How to log in, where security_protocol begins with SASL_.",
        examples=["SCRAM-SHA-512"],
    )
    sasl_username: Text | None = Field(
        default=None, description="User name for PLAIN and SCRAM.", examples=["gatecast"]
    )
    sasl_password: SecretStr | None = Field(
        default=None, min_length=1, description="Password for PLAIN and SCRAM."
    )
    oauth_token_url: Text | None = Field(
        default=None,
        description="For OAUTHBEARER: where tokens are fetched (client credentials).",
        examples=["https://login.example.com/oauth2/token"],
    )
    oauth_client_id: Text | None = Field(
        default=None, description="Id of this client, for OAUTHBEARER.", examples=["gatecast"]
    )
    oauth_client_secret: SecretStr | None = Field(
        default=None, min_length=1, description="Secret of this client, for OAUTHBEARER."
    )
    oauth_scope: Text | None = Field(
        default=None, description="Scope for OAUTHBEARER, where the server asks for one.", examples=["kafka"]
    )
    ssl_ca_file: Text | None = Field(
        default=None,
        description="Certificates (PEM) that vouch for the brokers. Left out: those of the system.",
        examples=["/etc/gatecast/ca.pem"],
    )
    ssl_cert_file: Text | None = Field(
        default=None,
        description="Certificate of this client (PEM), for mutual TLS.",
        examples=["/etc/gatecast/tls.crt"],
    )
    ssl_key_file: Text | None = Field(
        default=None,
        description="Key of that certificate (PEM). Left out: it is in ssl_cert_file.",
        examples=["/etc/gatecast/tls.key"],
    )
    ssl_key_password: SecretStr | None = Field(
        default=None, min_length=1, description="Password of an encrypted key."
    )

    forecasts_topic: Text = Field(default="gatecast.forecasts", description="Where forecasts are sent.")
    alerts_topic: Text = Field(default="gatecast.alerts", description="Where alerts are sent.")
    rejected_suffix: Text = Field(
        default=".rejected",
        description="Bad messages of a topic go to the topic of its name with this behind it.",
    )
    partitions: int = Field(
        default=4,
        ge=1,
        le=10_000,
        description="Partitions of topics that `topics create` makes; 250 series or more in each learn best.",
    )
    replication: int | None = Field(
        default=None,
        ge=1,
        le=100,
        description="Copies of topics that `topics create` makes. Left out: what the brokers are set to.",
        examples=[3],
    )
    retention_hours: int = Field(
        default=168,
        ge=1,
        le=876_000,
        description="How long topics that `topics create` makes keep messages; a backlog has to fit in.",
    )

    @property
    def pattern(self) -> str | None:
        """The pattern of the topics of readings, without its prefix; None where they are listed."""
        first = self.topics[0]
        return first.removeprefix(PATTERN_PREFIX) if first.startswith(PATTERN_PREFIX) else None

    @property
    def api_version_numbers(self) -> tuple[int, ...] | None:
        """`api_version` as numbers, such as (2, 3)."""
        return tuple(map(int, self.api_version.split("."))) if self.api_version else None

    @field_validator("bootstrap")
    @classmethod
    def _check_brokers(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(_BROKER.fullmatch(broker) for broker in value):
            raise ValueError('brokers as HOST:PORT such as ["kafka-1:9092", "kafka-2:9092"]')
        return value

    @field_validator("topics")
    @classmethod
    def _check_topics(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        patterns = [name for name in value if name.startswith(PATTERN_PREFIX)]
        if patterns and len(value) > 1:
            raise ValueError("names of topics, or a single pattern (re:…) and nothing beside it")
        for name in patterns:
            try:
                re.compile(name.removeprefix(PATTERN_PREFIX))
            except re.error as error:
                raise ValueError(f"a regular expression behind re: ({error})") from None
        if not patterns:
            for name in value:
                _check_topic(name)
        return value

    @field_validator("forecasts_topic", "alerts_topic", "rejected_suffix")
    @classmethod
    def _check_names(cls, value: str) -> str:
        return _check_topic(value)

    @model_validator(mode="after")
    def _check_topics_apart(self) -> Self:
        if self.forecasts_topic == self.alerts_topic:
            raise ValueError(
                f"expected forecasts_topic and alerts_topic to differ, but both are {self.alerts_topic!r}"
            )
        for key in ("forecasts_topic", "alerts_topic"):
            if getattr(self, key) in self.topics:
                raise ValueError(
                    f"expected topics of readings other than what is sent, but {getattr(self, key)!r} is "
                    f"also {key}; name another topic in one of them"
                )
        return self

    @model_validator(mode="after")
    def _check_login(self) -> Self:
        uses_sasl = self.security_protocol.startswith("SASL_")
        given = [
            key for key in type(self).model_fields if key.startswith(("sasl_", "oauth_")) and self._has(key)
        ]
        if given and not uses_sasl:
            raise ValueError(
                f"{given[0]} is set, but security_protocol is {self.security_protocol}; set it to SASL_SSL "
                f"(or SASL_PLAINTEXT, without encryption), or leave {given[0]} out"
            )
        if uses_sasl and self.sasl_mechanism is None:
            raise ValueError(
                f"security_protocol {self.security_protocol} needs a sasl_mechanism: "
                "PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER"
            )
        if self.sasl_mechanism is not None:
            wanted = _OAUTH if self.sasl_mechanism == "OAUTHBEARER" else ("sasl_username", "sasl_password")
            if missing := [key for key in wanted if not self._has(key)]:
                raise ValueError(f"sasl_mechanism {self.sasl_mechanism} needs {' and '.join(missing)}")
        return self

    @model_validator(mode="after")
    def _check_certificates(self) -> Self:
        given = [key for key in type(self).model_fields if key.startswith("ssl_") and self._has(key)]
        if given and not self.security_protocol.endswith("SSL"):
            raise ValueError(
                f"{given[0]} is set, but security_protocol is {self.security_protocol}, without "
                f"encryption; set it to SSL or SASL_SSL, or leave {given[0]} out"
            )
        if self.ssl_key_file is not None and self.ssl_cert_file is None:
            raise ValueError("ssl_key_file needs the ssl_cert_file that it belongs to")
        return self

    def _has(self, key: str) -> bool:
        return getattr(self, key) is not None


def _check_topic(name: str) -> str:
    if not _TOPIC.fullmatch(name) or name in (".", ".."):
        raise ValueError("a topic's name of at most 249 letters, digits, '.', '_' and '-'")
    return name
