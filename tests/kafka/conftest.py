"""A real broker for the tests of this folder: KAFKA_BOOTSTRAP, else one started from Apache Kafka's jars."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, KafkaProducer

from pipeline.demo.kafka_server import KafkaServer, find_obstacle
from pipeline.kafka_options import KafkaOptions


def skip_or_fail(why: str) -> None:
    """A tier that must run (`GATECAST_REQUIRE` names it) fails instead of being skipped."""
    if "kafka" in os.environ.get("GATECAST_REQUIRE", "").replace(",", " ").split():
        pytest.fail(f"no Kafka broker, but GATECAST_REQUIRE asks for one: {why}", pytrace=False)
    pytest.skip(f"no Kafka broker: {why}")


@pytest.fixture(scope="session")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """A broker of our own, shared by all tests; who stops it starts it again."""
    if obstacle := find_obstacle():
        skip_or_fail(obstacle)
    with KafkaServer(tmp_path_factory.mktemp("kafka") / "shared") as server:
        yield server


@pytest.fixture(scope="session")
def bootstrap(request: pytest.FixtureRequest) -> str:
    given = os.environ.get("KAFKA_BOOTSTRAP")
    return given or str(request.getfixturevalue("own_server").bootstrap)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[KafkaServer]:
    """A broker for one test, which may stop, kill and freeze it."""
    if obstacle := find_obstacle():
        skip_or_fail(obstacle)
    with KafkaServer(tmp_path / "kafka") as server:
        yield server


@pytest.fixture
def options(bootstrap: str) -> KafkaOptions:
    """A topic, outputs and a group of this test alone; no topic is made yet."""
    name = f"t-{uuid.uuid4().hex[:12]}"
    return make_options(bootstrap, name)


def make_options(bootstrap: str, name: str) -> KafkaOptions:
    return KafkaOptions(
        bootstrap=(bootstrap,),
        topics=(name,),
        group=f"{name}-group",
        session_timeout_ms=6_000,
        forecasts_topic=f"{name}-forecasts",
        alerts_topic=f"{name}-alerts",
    )


MakeTopic = Callable[..., str]


@pytest.fixture
def make_topic(bootstrap: str) -> Iterator[MakeTopic]:
    """make_topic(name, partitions=1, **settings of the topic)"""
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)

    def make(name: str, partitions: int = 1, **settings: str) -> str:
        configs = {key.replace("_", "."): value for key, value in settings.items()}
        plan = {"num_partitions": partitions, "replication_factor": 1, "configs": configs}
        admin.create_topics({name: plan}, wait_for_metadata=True)
        return name

    yield make
    admin.close()


@pytest.fixture
def producer(bootstrap: str) -> Iterator[KafkaProducer]:
    with KafkaProducer(bootstrap_servers=bootstrap) as producer:
        yield producer
