"""A whole worker whose broker or storage goes away: it says why, goes on afterwards, and loses nothing."""

from __future__ import annotations

import logging
import os
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaProducer

from pipeline.demo.kafka_server import KafkaServer
from pipeline.store.paths import MANIFEST
from tests.kafka.running import (
    MINUTE_MS,
    SERIES,
    START_MS,
    Running,
    assert_equal,
    build_config,
    read_all,
    send_minutes,
)

MakeTopic = Callable[..., str]
SESSION_S = 6.0  # of build_config
EACH = len(SERIES)
OUTAGE_S = 7200.0


class Now:
    """The wall clock of a worker, which a test can put forward."""

    def __init__(self, now_s: float) -> None:
        self.ahead_s = now_s - time.time()

    def __call__(self) -> float:
        return time.time() + self.ahead_s


def read_forecasts(bootstrap: str, topic: str) -> dict[tuple[str, str], tuple[float, ...]]:
    """The numbers by series and time; sent twice, they must be the same."""
    found: dict[tuple[str, str], tuple[float, ...]] = {}
    for each in read_all(bootstrap, topic):
        numbers = (*each["mean"], *each["lower"], *each["upper"])
        assert found.setdefault((each["series"], each["time"]), numbers) == numbers
    return found


def test_broker_away_for_longer_than_the_session(server: KafkaServer, tmp_path: Path) -> None:
    """Two hours by the worker's clock: nobody is called silent, neither meanwhile nor for the backlog."""
    topic = "readings"
    admin = KafkaAdminClient(bootstrap_servers=server.bootstrap)
    plan = {"num_partitions": 1, "replication_factor": 1}
    names = (topic, f"{topic}-forecasts", f"{topic}-alerts", "others-forecasts")
    admin.create_topics(dict.fromkeys(names, plan), wait_for_metadata=True)
    admin.close()
    sections: dict[str, dict[str, Any]] = {
        "checkpoints": {"interval_s": 2},
        "forecasters": {"names": ("naive", "rnn")},
    }
    config = build_config(server.bootstrap, topic, tmp_path / "checkpoints", **sections)
    now = Now(START_MS / 1000 + 60 * 60)
    with KafkaProducer(bootstrap_servers=server.bootstrap) as producer:
        send_minutes(producer, topic, range(60))
    with Running(config, now) as worker:
        worker.wait_for_offset(60 * EACH)
        worker.wait_until(lambda: worker.readyz() == {})
        server.kill()
        now.ahead_s += OUTAGE_S
        worker.wait_until(lambda: None in worker.readyz())
        time.sleep(SESSION_S + 2)
        assert f"{server.bootstrap}: no connection to the group's broker" in worker.readyz()[None]
        server.start()
        with KafkaProducer(bootstrap_servers=server.bootstrap) as producer:
            send_minutes(producer, topic, range(60, 180))
        worker.wait_for_offset(180 * EACH, timeout_s=60)
        worker.wait_until(lambda: worker.readyz() == {})
        time.sleep(2)  # a check of silence or two
        assert worker.count("accepted") == 180 * EACH

    sections["kafka"] = {"group": "uninterrupted", "forecasts_topic": "others-forecasts"}
    with Running(build_config(server.bootstrap, topic, tmp_path / "others", **sections), now) as other:
        other.wait_for_offset(180 * EACH)
    assert_equal(worker.state(), other.state())
    forecasts = read_forecasts(server.bootstrap, f"{topic}-forecasts")
    assert forecasts == read_forecasts(server.bootstrap, "others-forecasts")
    assert len(forecasts) == 180 * EACH
    alerts = read_all(server.bootstrap, f"{topic}-alerts")
    assert [alert for alert in alerts if alert["kind"] == "silent"] == []
    assert {alert["state"] for alert in alerts} <= {"noted"}, "nobody is told of a backlog"


@pytest.fixture
def topic(make_topic: MakeTopic) -> str:
    """A topic of readings with its outputs, but without one for dead letters."""
    name = f"t-{uuid.uuid4().hex[:12]}"
    for made in (name, f"{name}-forecasts", f"{name}-alerts"):
        make_topic(made)
    return name


def test_dead_letter_topic_is_missing(
    bootstrap: str, producer: KafkaProducer, topic: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = build_config(bootstrap, topic, tmp_path, forecasters={"names": ("naive",)})
    send_minutes(producer, topic, range(3))
    for value in (b"{", b"\xff", b'{"series": "boiler/1"}'):
        producer.send(topic, value, timestamp_ms=START_MS + 3 * MINUTE_MS)
    send_minutes(producer, topic, range(3, 6))
    with Running(config) as worker:
        worker.wait_for_offset(6 * EACH + 3)
        worker.wait_until(lambda: worker.readyz() == {})
        assert worker.count("accepted") == 6 * EACH
        worker.wait_until(lambda: worker.metric("gatecast_dead_letters_failed_total") == 3)
        assert worker.metric("gatecast_readings_rejected_total", reason="not_decodable") == 2
    assert f"no topic {topic}.rejected for dead letters: make it with `gatecast topics create`" in caplog.text
    assert len(read_all(bootstrap, f"{topic}-forecasts")) == 6 * EACH
    with Running(config) as again:
        again.wait_for_offset(6 * EACH + 3)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip(
            "no small disk: only root may mount one; tests/unit/test_runner.py has a store that fails"
        )
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_disk_is_full_under_the_checkpoints(
    bootstrap: str, producer: KafkaProducer, topic: str, small_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "pipeline")
    config = build_config(
        bootstrap, topic, small_disk, checkpoints={"interval_s": 1}, forecasters={"names": ("naive",)}
    )
    filler = small_disk / "filler"
    filler.write_bytes(bytes(1 << 20))
    send_minutes(producer, topic, range(5))
    with Running(config) as worker:
        worker.wait_until(lambda: worker.metric("gatecast_checkpoint_failures_total") >= 2)
        send_minutes(producer, topic, range(5, 10))
        worker.wait_for_offset(10 * EACH)
        assert worker.readyz() == {}
        filler.unlink()
        worker.wait_until(
            lambda: (
                worker.metric("gatecast_checkpoints_total")
                > worker.metric("gatecast_checkpoint_failures_total")
            )
        )
    assert f"{topic}/0: the checkpoint can't be written, learning goes on: [Errno 28]" in caplog.text
    with Running(config) as again:
        again.wait_for_offset(10 * EACH)
    assert f"{topic}/0 reads on at offset {10 * EACH}" in caplog.text
    assert_equal(again.state(), worker.state())
    (folder,) = small_disk.glob(f"{topic}-group/{topic}/*/0")
    assert all((each / MANIFEST).exists() for each in folder.iterdir()), "no half-written one is left"
