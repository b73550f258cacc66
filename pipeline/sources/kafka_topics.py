"""What the brokers say about a topic."""

from __future__ import annotations

from kafka import KafkaAdminClient, errors
from kafka.admin import ConfigResource, ConfigResourceType

from pipeline.kafka_client import build_client, explain_refusal, list_settings
from pipeline.kafka_options import KafkaOptions
from pipeline.ports import SourceError, SourceUnavailable, TopicFacts

NO_TOPIC_ID = "none"
"""Of brokers before 2.8 and of the in-memory one; it names a folder of checkpoints, so it can't be empty."""
_TIMESTAMP_TYPE = "message.timestamp.type"


def find_topic_facts(options: KafkaOptions, topic: str) -> TopicFacts:
    """Asks on a connection of its own. Raises SourceUnavailable, or SourceError if there is no such topic."""
    try:
        admin = build_client(KafkaAdminClient, list_settings(options))
        try:
            (found,) = admin.describe_topics([topic])
            if found["error_code"] == errors.UnknownTopicOrPartitionError.errno:
                raise SourceError(
                    f"{options.servers} has no topic {topic}: make it with `gatecast topics create`, "
                    "or correct kafka.topics"
                )
            return TopicFacts(
                topic_id=str(found.get("topic_id") or NO_TOPIC_ID),
                partitions=len(found["partitions"]),
                timestamp_type=_find_timestamp_type(admin, topic),
            )
        finally:
            admin.close()
    except errors.KafkaError as error:
        if sentence := explain_refusal(error, options):
            raise SourceError(sentence) from error
        raise SourceUnavailable(f"{options.servers}: {error}") from error


def _find_timestamp_type(admin: KafkaAdminClient, topic: str) -> str:
    """Empty where this user may not look, or where the broker has no configuration of topics."""
    try:
        found = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)], config_filter="all")
    except errors.KafkaError:
        return ""
    return str(found["topic"][topic].get(_TIMESTAMP_TYPE, {}).get("value", ""))
