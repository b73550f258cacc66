"""`gatecast run --workers 2`: two processes share the partitions behind one port; who dies comes back."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kafka.live import make_config, make_topics, scrape

ROOT = Path(__file__).resolve().parents[2]
PARTITIONS = 4
WAIT_S = 90.0


@pytest.mark.slow
def test_two_workers_behind_one_port(bootstrap: str, tmp_path: Path) -> None:
    name = f"crew-{uuid.uuid4().hex[:12]}"
    config = make_config(bootstrap, name, tmp_path, {"kafka": {"partitions": PARTITIONS}})
    make_topics(config)
    toml = tmp_path / "gatecast.toml"
    toml.write_text(
        f'[kafka]\nbootstrap = "{bootstrap}"\ntopics = ["{name}"]\ngroup = "{name}"\n'
        f"session_timeout_ms = 6000\n"
        f'forecasts_topic = "{config.kafka.forecasts_topic}"\nalerts_topic = "{config.kafka.alerts_topic}"\n'
        f'[checkpoints]\nurl = "{tmp_path / "checkpoints"}"\n[server]\nport = 0\n'
    )
    log = tmp_path / "crew.log"
    with log.open("wb") as stderr:
        crew = subprocess.Popen(
            [sys.executable, "-m", "pipeline", "run", "--config", str(toml), "--workers", "2", "--pin"],
            cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, stderr=stderr, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    try:
        url = wait_for(log, lambda: re.search(r"workers behind (http://\S+?):? ", log.read_text()))[1]
        wait_for(log, lambda: find_assigned(url) == {"0": 2, "1": 2})
        (victim, *_) = list_children(crew.pid)
        os.kill(victim, signal.SIGKILL)
        wait_for(log, lambda: "starts again" in log.read_text())
        wait_for(
            log, lambda: find_assigned(url) == {"0": 2, "1": 2} and victim not in list_children(crew.pid)
        )
        first, *others = sorted(os.sched_getaffinity(0))
        kept = [os.sched_getaffinity(worker) for worker in list_children(crew.pid)]
        assert sorted(kept, key=min) == [{first}, {(others or [first])[0]}]
        crew.send_signal(signal.SIGTERM)
        assert crew.wait(30) == 0
        assert list_children(crew.pid) == []
    finally:
        crew.kill()
        crew.wait()


@pytest.mark.slow
def test_nobody_is_left_behind_by_a_supervisor_that_dies(bootstrap: str, tmp_path: Path) -> None:
    """As one does that is told twice to end, by Ctrl-C and by whoever started it."""
    toml, log = tmp_path / "gatecast.toml", tmp_path / "crew.log"
    toml.write_text(f'[kafka]\nbootstrap = "{bootstrap}"\n[server]\nport = 0\n')
    with log.open("wb") as stderr:
        crew = subprocess.Popen(
            [sys.executable, "-m", "pipeline", "run", "--config", str(toml), "--workers", "2"],
            cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, stderr=stderr, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    wait_for(log, lambda: len(list_children(crew.pid)) == 2)
    left = list_children(crew.pid)
    crew.kill()
    crew.wait()
    wait_for(log, lambda: not any(Path(f"/proc/{pid}").exists() for pid in left))


@pytest.mark.slow
def test_a_configuration_that_is_refused_ends_all(bootstrap: str, tmp_path: Path) -> None:
    toml = tmp_path / "gatecast.toml"
    toml.write_text(
        f'[kafka]\nbootstrap = "{bootstrap}"\n[server]\nport = 0\n[forecasters]\ndevice = "cuda:9"\n'
    )
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "run", "--config", str(toml), "--workers", "2"],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=WAIT_S,
        check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "refuses its configuration; all end" in done.stderr


def wait_for(log: Path, find: Callable[[], object]) -> re.Match[str]:
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        if found := find():
            return found  # type: ignore[return-value]
        time.sleep(0.3)
    raise AssertionError(log.read_text()[-3_000:])


def find_assigned(url: str) -> dict[str, float]:
    return scrape(url).by("worker", "partitions_assigned")


def list_children(pid: int) -> list[int]:
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return []
