"""gatecast demo as a process: what it prints without a terminal, serves, refuses and leaves behind."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pipeline.cli import main
from pipeline.demo.show import LIVE

ROOT = Path(__file__).resolve().parents[3]
WAIT_S = 120.0  # an idle core takes 7 s to the first forecast; a busy machine takes many times that


@contextmanager
def run_demo(folder: Path, *args: str) -> Iterator[subprocess.Popen[str]]:
    """Its temporary files go below the folder, its output into `out` and `err` there."""
    temporary = folder / "tmp"
    temporary.mkdir()
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(temporary), "OMP_NUM_THREADS": "1"}
    environ["PYTHONUNBUFFERED"] = "1"
    command = [sys.executable, "-m", "pipeline", "demo", "--port", "0", *args]
    with (folder / "out").open("w") as out, (folder / "err").open("w") as err:
        process = subprocess.Popen(command, env=environ, stdout=out, stderr=err, text=True)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def read(folder: Path) -> str:
    return (folder / "out").read_text(encoding="utf-8")


def wait_for(folder: Path, process: subprocess.Popen[str], pattern: str) -> re.Match[str]:
    deadline = time.monotonic() + WAIT_S
    while (found := re.search(pattern, read(folder), re.M)) is None:
        assert process.poll() is None, (folder / "err").read_text()
        assert time.monotonic() < deadline, f"no {pattern!r} in:\n{read(folder)}"
        time.sleep(0.1)
    return found


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())


def find_total(text: str, name: str) -> float:
    """The sum over a metric's samples."""
    found = re.findall(rf"^{name}(?:\{{.*\}})? (\S+)$", text, re.M)
    return sum(map(float, found))


@pytest.mark.slow
def test_the_plant_is_forecast_shown_and_gone_after_ctrl_c(tmp_path: Path) -> None:
    with run_demo(tmp_path, "--series", "12") as process:
        url = wait_for(tmp_path, process, r"^page: (\S+)$")[1]
        wait_for(tmp_path, process, r"^\d+ s: first forecast scored$")
        # a batch counts as consumed once all of it is, the first one is the history, a partition is served
        # as soon as it can be, whatever becomes of the others, and sensors are compared once they all ran
        deadline = time.monotonic() + WAIT_S
        metrics, overview = "", {"worker": {"series": 0}, "sentence": ""}
        while (
            find_total(metrics, "gatecast_readings_consumed_total") < 12 * 10
            or find_total(metrics, "gatecast_partitions_assigned") < 4
            or overview["worker"]["series"] < 12
            or "12 sensors: " not in overview["sentence"]
        ):
            assert time.monotonic() < deadline, (overview, metrics)
            time.sleep(0.1)
            metrics = fetch(f"{url}/metrics")
            overview = json.loads(fetch(f"{url}/api/v1/overview"))
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0, (tmp_path / "err").read_text()
    assert find_total(metrics, "gatecast_forecasts_scored_total") > 0
    assert find_total(metrics, "gatecast_readings_rejected_total") == 0
    lines = read(tmp_path).splitlines()
    assert lines[0].startswith("a simulated plant: 12 sensors, a reading of each every 1s, days of 2m")
    assert "12 series: " in read(tmp_path)
    table = [line.split()[0] for line in lines if re.match(r"[a-z_]+ +\d\.\d{3} ", line)]
    assert table == ["naive", "seasonal_naive", "linear", "rnn", "lstm", "blend"]
    total, marks, alerts = lines[-2].split("; ")
    assert re.fullmatch(r"\d+ s", total)
    # in the order in which the page showed them, and an alert is shown at once, figures every few seconds
    seen = re.findall(r"(.+?) after \d+\.\d s(?:, |$)", marks)
    assert len(seen) == marks.count(",") + 1
    assert "first forecast scored" in seen
    assert set(seen) <= {"first forecast scored", LIVE, "first alert"}
    assert re.fullmatch(r"alerts: \d+ fired, \d+ resolved", alerts)
    assert "12 sensors: " in lines[-1]
    assert lines[-1].endswith("."), "the sentence of the comparison"
    assert (tmp_path / "err").read_text() == ""
    assert list((tmp_path / "tmp").iterdir()) == [], "no checkpoint stays"


@pytest.mark.slow
def test_a_data_set_plays_for_some_seconds_and_ends_by_itself(tmp_path: Path) -> None:
    with run_demo(tmp_path, "--data", "WaterFlow", "--for", "6") as process:
        assert process.wait(timeout=WAIT_S) == 0, (tmp_path / "err").read_text()
    lines = read(tmp_path).splitlines()
    assert lines[0].startswith("WaterFlow: 1 series, a reading of each every 1h, 3600 times as fast")
    assert (tmp_path / "err").read_text() == ""
    assert list((tmp_path / "tmp").iterdir()) == []


def call(*args: object) -> Result:
    return CliRunner().invoke(main, ["demo", *map(str, args)])


def test_a_port_in_use_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        result = call("--port", port)
    assert result.exit_code == 1
    assert result.stderr == (
        f"gatecast: expected port {port} of 127.0.0.1 to be free, but something listens there already, "
        "perhaps another demo; name another with --port, or 0 for a free one\n"
    )


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (("--data", "nowhere.csv"), "nowhere.csv: expected a file, or the name of a data set"),
        (("--speed", "2"), "--speed is about --data"),
        (("--delimiter", ";"), "--delimiter is about --data"),
        (("--series", "0"), "0 is not in the range"),
    ],
)
def test_what_can_not_be_played_is_one_sentence(args: tuple[str, ...], sentence: str) -> None:
    result = call("--port", 0, *args)
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_file_that_is_no_table_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(bytes(range(256)) * 20)
    result = call("--port", 0, "--data", path)
    assert result.exit_code == 2
    assert str(path) in result.stderr
    assert len(result.stderr.splitlines()) == 1
