"""Through a broker: librdkafka's mock cluster in this process, which keeps messages in memory."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pipeline.cli import main
from pipeline.placement import find_partition

# kafka-python reads its schemas by a function that Python 3.11 calls deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:.*is deprecated. Use files:DeprecationWarning")


@pytest.fixture(scope="module")
def bootstrap() -> Iterator[str]:
    confluent_kafka = pytest.importorskip("confluent_kafka")
    cluster = confluent_kafka.Producer(
        {"test.mock.num.brokers": 1, "bootstrap.servers": "mock", "log_level": 2}
    )
    brokers = cluster.list_topics(timeout=10).brokers.values()
    cluster.list_topics("readings", timeout=10)  # makes the topic
    yield ",".join(f"{broker.host}:{broker.port}" for broker in brokers)
    del cluster


def call(bootstrap: str, *args: object) -> Result:
    # The mock cluster's answer to newer versions can't be read.
    shared = ("--bootstrap", bootstrap, "--client", "api_version=2.3")
    return CliRunner().invoke(main, [*(str(arg) for arg in args), *shared])


def test_simulated_readings_arrive_and_can_be_inspected(bootstrap: str, tmp_path: Path) -> None:
    pytest.importorskip("pipeline.codec")
    result = call(
        bootstrap, "simulate", "--series", 40, "--cadence", "10s", "--history", "1h", "--past-only",
        "--topic", "readings", "--faults-per-hour", 60, "--labels", tmp_path / "faults.json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    sent = int(result.stderr.split(" readings in ")[0].rsplit(" ", 1)[1].replace(",", ""))
    result = call(bootstrap, "inspect", "--topic", "readings", "--write", tmp_path / "first.toml")
    assert result.exit_code == 0, result.output
    assert f"{sent:,} of 4 partitions, json, one reading a message" in result.stdout
    assert "as murmur2 of the id has it" in result.stdout
    assert "bad_quality" in result.stdout
    text = (tmp_path / "first.toml").read_text()
    assert "cadence_ms = 10000" in text
    assert 'quality = "quality"' in text


def test_messages_lie_where_and_as_they_were_sent(bootstrap: str, tmp_path: Path) -> None:
    from pipeline.sources.peek import read_newest

    path = tmp_path / "plant.csv"
    path.write_text("time,a,b,c\n" + "".join(f"{1_700_000_000 + k},{k},{k / 7},{-k}\n" for k in range(50)))
    result = call(bootstrap, "replay", path, "--speed", 0, "--topic", "history", "--batch", 20)
    assert result.exit_code == 0, result.output
    batches = read_newest(bootstrap, "history", 1000, {"api_version": (2, 3)})
    found: dict[str, list[float]] = {}
    for batch in batches:
        for value in batch.value:
            for item in json.loads(value or b""):
                assert find_partition(item["series"], 4) == batch.partition
                found.setdefault(item["series"], []).append(item["value"])
    assert found == {
        "a": [float(k) for k in range(50)],
        "b": [k / 7 for k in range(50)],
        "c": [float(-k) for k in range(50)],
    }
    assert sum(map(len, read_newest(bootstrap, "history", 4, {"api_version": (2, 3)}))) <= 4


def test_a_broker_that_is_not_there_is_one_sentence() -> None:
    """In processes of their own: a client that fails to start leaves sockets to the garbage collector."""
    missing = ("--bootstrap", "127.0.0.1:1", "--client", "bootstrap_timeout_ms=300")
    for args in (("simulate",), ("inspect", "--topic", "t")):
        done = subprocess.run(
            [sys.executable, "-m", "pipeline.cli", *args, *missing],
            cwd=Path(__file__).parents[3],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 1
        assert done.stderr.startswith("gatecast: expected a Kafka broker at 127.0.0.1:1, but none answered")
        assert done.stderr.count("\n") == 1


def test_an_unknown_setting_is_named(bootstrap: str) -> None:
    result = call(bootstrap, "simulate", "--client", "speeed=1")
    assert result.exit_code == 1
    assert "speeed" in result.stderr
    assert result.stderr.endswith("check --client\n")
