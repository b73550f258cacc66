"""A Kafka broker in this process: librdkafka's mock cluster, out of the confluent-kafka wheel.

It keeps everything in memory and forgets it at the end; it is for the demo and for quick tests only.
Clients speak to it with `api_version=(2, 3)`: kafka-python does not get past its answer about newer versions.
It knows no topic ids and no configuration of topics, and makes a topic when somebody asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka.admin import AdminClient

API_VERSION = (2, 3)
QUIET = 2  # of syslog: critical


@contextmanager
def run_broker(brokers: int = 1) -> Iterator[str]:
    """The bootstrap servers of a cluster that lives as long as the context.

    Raises RuntimeError if the library made no cluster.
    """
    # The cluster belongs to this client, and ends with it.
    # Its log is quiet: it complains of each kind of request that it does not know.
    owner = AdminClient({"test.mock.num.brokers": brokers, "bootstrap.servers": "unused", "log_level": QUIET})
    try:
        found = owner.list_topics(timeout=10).brokers.values()
        if len(found) != brokers:
            raise RuntimeError(f"expected {brokers} in-memory brokers, but {len(found)} answered")
        yield ",".join(f"{broker.host}:{broker.port}" for broker in found)
    finally:
        del owner
