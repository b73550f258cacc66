"""Alerts of sensors on a real broker, from the reading to the alerts topic and `/metrics`."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer

from pipeline.store import open_store
from tests.kafka.live import LiveWorker, list_forecast_times, make_config, make_topics, read_topic, scrape
from tests.unit.codec.batches import dump

CADENCE_MS = 200
WARM = 40  # readings until a series raises alerts
SILENT_AFTER_S = 3
ROOT = Path(__file__).resolve().parents[2]
SERIES = """\
match,name,unit,site,area,owner,severity,min,max,mode
loop,Feed pump loop,mA,North,Reaction,instrumentation,ticket,3.6,21,
valve,,,,,,,,,by_exception
"""


@pytest.fixture
def name() -> str:
    return f"alerts-{uuid.uuid4().hex[:12]}"


class Feed:
    """Sends readings of named series; the step of each goes on by itself."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self.begin_ms = int(time.time() - 60) * 1000
        self._topic, self._steps = topic, dict[str, int]()
        self._producer = KafkaProducer(bootstrap_servers=bootstrap)

    def send(self, series: str, values: Sequence[float], quality: str = "good", skip: int = 0) -> None:
        step = self._steps.get(series, 0) + skip
        for number, value in enumerate(values):
            row = {"series": series, "time": self.at(step + number), "value": value, "quality": quality}
            self._producer.send(self._topic, key=series.encode(), value=dump(row))
        self._steps[series] = step + len(values)
        self._producer.flush()

    def at(self, step: int) -> int:
        return self.begin_ms + step * CADENCE_MS

    @contextmanager
    def keep_alive(self, *names: str) -> Iterator[None]:
        """Sends readings of these series all along: on a busy machine they would else fall silent."""
        over = threading.Event()

        def run() -> None:
            while not over.wait(CADENCE_MS / 1000):
                for series in names:
                    self.send(series, [11.0])

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def close(self) -> None:
        self._producer.close()


@pytest.fixture
def feed(bootstrap: str, name: str) -> Iterator[Feed]:
    feed = Feed(bootstrap, name)
    yield feed
    feed.close()


def warm_up() -> list[float]:
    return [10.0 + n % 5 for n in range(WARM)]


def read_alerts(bootstrap: str, topic: str) -> list[dict[str, Any]]:
    found = []
    for record in read_topic(bootstrap, topic):
        alert = json.loads(record.value or b"")
        assert record.key == alert["series"].encode()
        assert alert["version"] == 1
        assert alert["software"].startswith("gatecast ")
        found.append(alert)
    return found


def make_alert_config(bootstrap: str, name: str, folder: Path, series_file: Path) -> Any:
    readings = {
        "cadence_ms": CADENCE_MS, "silent_after_s": SILENT_AFTER_S, "series_file": str(series_file),
        "fields": {"quality": "quality"},
    }  # fmt: skip
    return make_config(bootstrap, name, folder, {"readings": readings})


def test_alerts_fire_and_resolve(bootstrap: str, name: str, feed: Feed, tmp_path: Path) -> None:
    file = tmp_path / "series.csv"
    file.write_text(SERIES)
    config = make_alert_config(bootstrap, name, tmp_path, file)
    make_topics(config)
    for series in ("loop", "probe", "quiet", "lively", "valve"):
        feed.send(series, warm_up())
    feed.send("cold", [1.0] * (WARM - 1))

    with LiveWorker(config) as live, feed.keep_alive("lively"):
        feed.send("loop", [0.0] * 3)
        feed.send("probe", [10.0] * 3, quality="bad")
        # then loop, probe and quiet say nothing more
        live.wait_for(lambda: live.scrape().value("alerts_total", kind="silent") >= 3)
        for series in ("loop", "probe", "quiet"):
            feed.send(series, [12.0], skip=5)
        with feed.keep_alive("loop", "probe", "quiet"):
            states = {"live": 5, "warming": 1}  # told once a second
            live.wait_for(lambda: live.scrape().by("state", "series") == states)
            feed.send("valve", [13.0], skip=100)
            live.wait_for_end()
            metrics = live.scrape()

    assert metrics.by("kind", "alerts_total") == {"bad_quality": 1, "out_of_range": 1, "silent": 3}
    place = {"site": "North", "area": "Reaction", "owner": "instrumentation", "severity": "ticket"}
    assert metrics.value("alert_active", series="loop", kind="out_of_range", **place) == 1

    alerts = read_alerts(bootstrap, config.kafka.alerts_topic)
    by_kind: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for alert in alerts:
        by_kind.setdefault((alert["series"], alert["kind"]), []).append(alert)
    assert by_kind.keys() == {
        ("loop", "out_of_range"), ("probe", "bad_quality"),
        ("loop", "silent"), ("probe", "silent"), ("quiet", "silent"),
    }  # fmt: skip
    for fired, resolved in by_kind.values():
        assert (fired["state"], resolved["state"]) == ("firing", "resolved")
        assert fired["id"] == resolved["id"]
        assert fired["ended"] is None
        assert resolved["ended"] >= resolved["started"] == fired["started"]
        assert resolved["resolution"] == "recovered"
    loop, _ = by_kind["loop", "out_of_range"]
    assert loop["labels"] == {
        "site": "North",
        "area": "Reaction",
        "equipment": "",
        "owner": "instrumentation",
    }
    assert (loop["name"], loop["unit"], loop["severity"]) == ("Feed pump loop", "mA", "ticket")
    assert (loop["value"], loop["lower"], loop["upper"]) == (0.0, 3.6, 21.0)
    assert (loop["started"], loop["time"]) == (feed.at(WARM), feed.at(WARM + 2))
    assert "3 readings in a row outside 3.6 to 21 mA" in loop["reason"]
    probe, recovered = by_kind["probe", "bad_quality"]
    assert "3 readings in a row without a usable value" in probe["reason"]
    assert recovered["value"] == 12.0
    quiet, returned = by_kind["quiet", "silent"]
    assert re.search("No reading since .* at the latest after 3 s", quiet["reason"])
    assert returned["time"] - returned["started"] >= SILENT_AFTER_S * 1000
    check_held(bootstrap, config.kafka.forecasts_topic, feed)


def check_held(bootstrap: str, topic: str, feed: Feed) -> None:
    """A sensor that reports by exception held its value for 100 steps. Nothing is forecast at them, which are
    over when that is known; the next forecast is of its level all the same."""
    expected = [feed.at(step) for step in (*range(WARM), WARM + 100)]
    assert list_forecast_times(bootstrap, topic)["valve"] == expected
    rows = [json.loads(record.value or b"") for record in read_topic(bootstrap, topic)]
    held = [row for row in rows if row["series"] == "valve" and row["time"] > feed.at(WARM + 10)]
    lowest, highest = min(warm_up()), max(warm_up())
    assert all(lowest - 5 < mean < highest + 5 for row in held for mean in row["mean"])


@contextmanager
def run_process(config: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`gatecast run` as a process, which can be sent signals."""
    command = [sys.executable, "-m", "pipeline", "run", "--config", str(config)]
    own = {name: text for name, text in os.environ.items() if not name.startswith("GATECAST_")}
    with log.open("ab") as stderr:
        process = subprocess.Popen(command, cwd=ROOT, env=own | {"OMP_NUM_THREADS": "1"}, stderr=stderr)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_for(is_so: Callable[[], Any], log: Path, timeout_s: float = 90.0) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (found := is_so()):
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)
    return found


def test_sighup_takes_a_changed_series_file_over_and_stores_it(
    bootstrap: str, name: str, feed: Feed, tmp_path: Path
) -> None:
    file, log, toml = tmp_path / "series.csv", tmp_path / "log", tmp_path / "gatecast.toml"
    file.write_text("match,min,max\nheater,0,100\n")
    config = make_alert_config(bootstrap, name, tmp_path, file)
    make_topics(config)
    toml.write_text(f"""
[kafka]
bootstrap = "{bootstrap}"
topics = ["{name}"]
group = "{config.kafka.group}"
forecasts_topic = "{config.kafka.forecasts_topic}"
alerts_topic = "{config.kafka.alerts_topic}"
[readings]
cadence_ms = {CADENCE_MS}
series_file = "{file}"
[checkpoints]
url = "{config.checkpoints.url}"
interval_s = 3600
[server]
port = 0
""")
    feed.send("heater", [60.0 + n % 5 for n in range(WARM)] + [70.0] * 3)

    with run_process(toml, log) as process:
        url = wait_for(lambda: re.search(r"listening at (\S+)", log.read_text()), log)[1]
        wait_for(lambda: scrape(url).value("readings_learned_total") == WARM + 3, log)
        assert scrape(url).value("checkpoints_total") == 0

        file.write_text("match,min,max\nheater,0,\nheater,,lots\n")
        process.send_signal(signal.SIGHUP)
        wait_for(lambda: "the series file is not taken over" in log.read_text(), log)
        assert "lots" in log.read_text()

        file.write_text("match,name,min,max\nheater,Heater 3,0,66\n")
        process.send_signal(signal.SIGHUP)
        wait_for(lambda: scrape(url).value("checkpoints_total") == 4, log)
        feed.send("heater", [70.0] * 3)
        wait_for(lambda: scrape(url).by("kind", "alerts_total") == {"out_of_range": 1}, log)
        process.kill()  # no last checkpoint

    (alert,) = read_alerts(bootstrap, config.kafka.alerts_topic)
    assert (alert["kind"], alert["state"], alert["name"]) == ("out_of_range", "firing", "Heater 3")
    assert (alert["started"], alert["upper"]) == (feed.at(WARM + 3), 66.0)
    assert list_stored_maxima(config.checkpoints.url, config.kafka.group, name) == {"heater": 66.0}


def list_stored_maxima(url: str, group: str, topic: str) -> dict[str, float]:
    """By series, as the newest checkpoints of a topic have them."""
    found = {}
    store = open_store(url, group, topic)
    (topic_id,) = store.list_topic_ids()
    for partition in store.list_partitions(topic_id):
        newest = max(store.list_folders(topic_id, partition), key=lambda folder: folder.next_offset)
        state = store.load(topic_id, partition, newest).state
        ids = json.loads(state["intake.ids"].numpy().tobytes())
        found.update(zip(ids, state["intake.maximum"].tolist(), strict=True))
    return found
