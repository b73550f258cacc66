"""gatecast simulate, replay and inspect: what they send, print and refuse; the broker is a list here."""

from __future__ import annotations

import csv
import json
import os
import signal
import threading
import time
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

import pipeline.demo.feed as feeds
from pipeline.cli import main
from pipeline.clients import BrokerError
from pipeline.demo.plant import DAY_MS, Plant, PlantOptions
from pipeline.histories import read_history
from pipeline.placement import find_partition
from pipeline.simulate_command import resolve_cadence
from pipeline.sources.dialect import TableOptions


class Shelf:
    """An outlet that keeps what it gets; an order of the calls is kept too."""

    num_partitions = 4

    def __init__(self) -> None:
        self.messages: list[tuple[int, bytes | None, bytes]] = []
        self.calls: list[str] = []
        self.opened: tuple[str, str, Mapping[str, Any]] | None = None

    def send(self, partition: int, key: bytes | None, value: bytes) -> None:
        self.messages.append((partition, key, value))

    def flush(self, timeout_s: float) -> None:
        self.calls.append("flush")

    def close(self) -> None:
        self.calls.append("close")

    def read(self) -> list[dict[str, Any]]:
        return [json.loads(value) for _, _, value in self.messages]


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch) -> Shelf:
    shelf = Shelf()

    def open_outlet(bootstrap: str, topic: str, settings: Mapping[str, Any]) -> Shelf:
        shelf.opened = bootstrap, topic, settings
        return shelf

    monkeypatch.setattr(feeds, "open_outlet", open_outlet)
    return shelf


def call(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


def test_simulate_sends_the_past_and_writes_its_papers(shelf: Shelf, tmp_path: Path) -> None:
    labels, series_file = tmp_path / "faults.json", tmp_path / "plant.csv"
    before_ms = time.time() * 1000
    result = call(
        "simulate", "--series", 30, "--cadence", "60s", "--history", "6h", "--past-only",
        "--faults-per-hour", 10,
        "--labels", labels, "--series-file", series_file, "--topic", "t", "--bootstrap", "b:1",
        "--client", "api_version=2.3",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert shelf.opened == ("b:1", "t", {"api_version": (2, 3)})
    assert shelf.calls == ["flush", "close"]
    readings = shelf.read()
    times = np.array([reading["time"] for reading in readings])
    assert times.min() >= before_ms - 6 * 3_600_000 - 60_000
    assert times.max() <= time.time() * 1000
    assert (np.diff(np.unique(times)) == 60_000).all()
    assert {reading["quality"] for reading in readings} == {"good", "bad"}
    for partition, key, value in shelf.messages[:500]:
        name = json.loads(value)["series"]
        assert (key, partition) == (name.encode(), find_partition(name, 4))
    report = json.loads(labels.read_text())
    assert len(report["faults"]) > 10
    assert max(fault["start"] for fault in report["faults"]) <= times.max()
    with series_file.open(encoding="utf-8") as file:
        assert {row["match"] for row in csv.DictReader(file)} >= {reading["series"] for reading in readings}
    assert "30 series in 2 areas with 1 machines" in result.stderr
    assert f"{len(readings):,} readings in {len(readings):,} messages" in result.stderr


def test_simulate_is_live_and_ends_in_time_or_at_a_number(shelf: Shelf) -> None:
    result = call("simulate", "--series", 10, "--rate", 200, "--for", "300ms")
    assert result.exit_code == 0, result.stderr
    assert 0 < len(shelf.messages) <= 10 * 8
    assert max(reading["time"] for reading in shelf.read()) <= time.time() * 1000
    shelf.messages.clear()
    result = call(
        "simulate", "--series", 10, "--history", "1h", "--readings", 123, "--format", "columns", "--batch", 50
    )
    assert result.exit_code == 0, result.stderr
    assert sum(len(message["value"]) for message in shelf.read()) == 123


@pytest.mark.parametrize(("series", "rate"), [(200, 400), (50, 5)])
def test_simulate_sends_as_many_as_are_asked_for(series: int, rate: float) -> None:
    """It sent 73 % of them: sensors by exception leave readings out."""
    cadence_ms = resolve_cadence(series, rate, None, seed=3, day_ms=DAY_MS)
    start_ms = 1_795_415_863_000
    plant = Plant(PlantOptions(num_series=series, start_ms=start_ms, cadence_ms=cadence_ms, seed=3))
    sent = sum(len(step) for step in islice(plant, 300))
    assert sent / (plant.time_ms - start_ms) * 1000 == pytest.approx(rate, rel=0.1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_simulate_ends_with_a_flush_when_interrupted(shelf: Shelf, number: int) -> None:
    timer = threading.Timer(0.5, os.kill, (os.getpid(), number))
    timer.start()
    result = call("simulate", "--series", 3, "--cadence", "100ms", "--for", "30s")
    timer.join()
    assert result.exit_code == 0, result.stderr
    assert shelf.calls == ["flush", "close"]
    assert "simulated: " in result.stderr.splitlines()[-1]


def test_replay_sends_history_in_order_with_every_bit(shelf: Shelf, tmp_path: Path) -> None:
    path = tmp_path / "plant.csv"
    rng = np.random.default_rng(0)
    rows = "".join(
        f"2024-01-01T00:{k:02}Z,{rng.random()!r},{'' if k % 3 else rng.random() * 1e-9}\n" for k in range(60)
    )
    path.write_text("time,a,b\n" + rows)
    result = call("replay", path, "--speed", 0, "--topic", "t")
    assert result.exit_code == 0, result.stderr
    history = read_history([str(path)], TableOptions(), rows=None, warmup=0.0, score_from=0.0)
    for number, name in enumerate(history.series):
        rows_of = history.series_index == number
        found = [reading for reading in shelf.read() if reading["series"] == name]
        assert [reading["time"] for reading in found] == history.event_time_ms[rows_of].tolist()
        values = np.array([reading["value"] for reading in found], float)  # null becomes NaN
        np.testing.assert_array_equal(values, history.value[rows_of])
    assert "in the files: missing 40" in result.stderr
    assert "replayed: 120 readings" in result.stderr


def test_replay_keeps_its_pace_and_says_when_it_was_stopped(shelf: Shelf, tmp_path: Path) -> None:
    path = tmp_path / "plant.csv"
    path.write_text("time,value\n" + "".join(f"{1_700_000_000 + k},{k}\n" for k in range(1000)))
    started = time.monotonic()
    assert call("replay", path, "--rows", 31, "--speed", 100).exit_code == 0
    assert 0.25 < time.monotonic() - started < 5
    timer = threading.Timer(0.6, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    result = call("replay", path, "--speed", 10)
    timer.join()
    assert result.exit_code == 130
    assert "stopped before the end, of 1,000 readings: " in result.stderr
    assert result.stderr.endswith("gatecast: stopped\n")
    assert shelf.calls == ["flush", "close"] * 2


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["simulate", "--rate", 5, "--cadence", "1s"], "expected --rate or --cadence, but both are given"),
        (["simulate", "--series", 1, "--rate", 5000], "--rate 5000: a reading of each of 1 series"),
        (["simulate", "--cadence", 0], "expected --cadence of at least 1ms"),
        (["simulate", "--speed", 3], "--speed and --past-only are about the past: add --history"),
        (["simulate", "--history", "3 years"], "expected a length of time such as 500ms"),
        (["simulate", "--labels", "nowhere/out.json"], "expected a folder that exists; make nowhere first"),
        (["simulate", "--client", "x"], "--client: expected KEY=VALUE"),
        (["simulate", "--format", "xml"], "'xml' is not one of 'json', 'columns', 'arrow'"),
        (["replay", "missing.csv"], "missing.csv"),
        (["replay"], "Missing argument 'FILE...'"),
        (["inspect"], "expected files or --topic, one of them"),
        (["inspect", "a.csv", "--topic", "t"], "expected files or --topic, one of them"),
        (["inspect", "a.csv", "--write", "nowhere/a.toml"], "make nowhere first"),
    ],
)  # fmt: skip
def test_wrong_usage_is_one_sentence(shelf: Shelf, args: list[object], words: str) -> None:
    result = call(*args)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert result.stderr.startswith("gatecast: ")
    assert words in result.stderr
    assert shelf.messages == []


def test_a_broker_that_fails_is_one_sentence_and_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    def open_outlet(*args: object) -> None:
        raise BrokerError("expected a Kafka broker at b:1, but none answered; name it with --bootstrap")

    monkeypatch.setattr(feeds, "open_outlet", open_outlet)
    result = call("simulate", "--bootstrap", "b:1")
    assert result.exit_code == 1
    assert result.stderr == (
        "gatecast: expected a Kafka broker at b:1, but none answered; name it with --bootstrap\n"
    )


@pytest.mark.parametrize("command", ["simulate", "replay", "inspect"])
def test_help_has_an_example(command: str) -> None:
    result = call(command, "--help")
    assert result.exit_code == 0
    assert f"gatecast {command} " in result.stdout.partition("Example")[2]


def test_inspect_writes_once_and_replaces_when_told(tmp_path: Path) -> None:
    path, out = tmp_path / "plant.csv", tmp_path / "first.toml"
    path.write_text("time,a\n" + "".join(f"{1_700_000_000 + k},{k}\n" for k in range(20)))
    result = call("inspect", path, "--write", out)
    assert result.exit_code == 0, result.stderr
    assert "1, 1 sampled, 0 by exception" in result.stdout
    assert f"next: gatecast config check --config {out}" in result.stderr
    result = call("inspect", path, "--write", out)
    assert result.exit_code == 2
    assert f"{out} exists already; choose another name, or replace it with --force." in result.stderr
    assert call("inspect", path, "--write", out, "--force").exit_code == 0
