"""Everything from the broker to the mailbox, and how to see what it did."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dashboards.build import write_files
from dashboards.thresholds import Duration, read_thresholds
from tests.kafka.live import make_config, make_topics, read_topic
from tests.stack.inbox import Hook, Mailbox
from tests.stack.plant import CADENCE_MS, SERIES, SERIES_FILE, Plant
from tests.stack.servers import ROOT, Alertmanager, Prometheus, find_port

PARTITIONS = 2
SHOWN = 3
"""Series of a worker that have values of their own, beside watched ones, of which there are none here."""
KEEP = Duration("35s")
"""Shipped are 5 minutes. Here the group waits 6 s for who was killed, and a scrape comes within 10 s."""
GROUP_INTERVAL = "5s"
"""Shipped is a minute: so long may a "resolved" wait for the next look at its group."""


class WorkerProcess:
    """`gatecast run` at a port of its own; see `hasty_worker`."""

    def __init__(self, folder: Path, number: int, settings: dict[str, str]) -> None:
        self.port = find_port()
        self._settings = settings | {"GATECAST_SERVER__PORT": str(self.port)}
        self._log = folder / f"worker-{number}.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        own = {name: text for name, text in os.environ.items() if not name.startswith("GATECAST_")}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.stack.hasty_worker", "run"],
                cwd=ROOT,
                env=own | self._settings | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(60)
            self._process = None

    def check(self) -> None:
        assert self._process is None or self._process.poll() is None, self._log.read_text()[-3000:]


@dataclass(slots=True, kw_only=True)
class Stack:
    """What runs."""

    bootstrap: str
    alerts_topic: str
    workers: tuple[WorkerProcess, ...]
    plant: Plant
    prometheus: Prometheus
    alertmanager: Alertmanager
    mailbox: Mailbox
    hook: Hook

    def wait_until(self, expr: str, timeout_s: float) -> None:
        """Until an expression gives something."""

        def is_so() -> bool:
            for worker in self.workers:
                worker.check()
            return bool(self.prometheus.query(expr))

        self.prometheus.wait_until(is_so, expr, timeout_s)

    def find_alert(self, series: str, state: str) -> tuple[float, dict[str, Any]]:
        """The newest alert of a series in the topic, with the broker's time (seconds since the epoch)."""
        found = [
            (record.timestamp_ms / 1000, alert)
            for record in read_topic(self.bootstrap, self.alerts_topic)
            if (alert := json.loads(record.value or b"{}")).get("series") == series
            and alert["state"] == state
        ]
        assert found, f"no {state} alert of {series} in {self.alerts_topic}"
        return found[-1]


@contextmanager
def run_stack(bootstrap: str, folder: Path) -> Iterator[Stack]:
    """Two workers share a topic of two partitions; entered when both are scraped and all series are live."""
    name = f"stack-{folder.name}-{int(time.time())}"
    series_file = folder / "series.csv"
    series_file.write_text(SERIES_FILE)
    make_topics(make_config(bootstrap, name, folder, {"kafka": {"partitions": PARTITIONS}}))
    settings = {
        "GATECAST_KAFKA__BOOTSTRAP": bootstrap,
        "GATECAST_KAFKA__TOPICS": name,
        "GATECAST_KAFKA__GROUP": f"{name}-group",
        "GATECAST_KAFKA__SESSION_TIMEOUT_MS": "6000",
        "GATECAST_KAFKA__FORECASTS_TOPIC": f"{name}-forecasts",
        "GATECAST_KAFKA__ALERTS_TOPIC": f"{name}-alerts",
        "GATECAST_READINGS__SERIES_FILE": str(series_file),
        "GATECAST_READINGS__CADENCE_MS": str(CADENCE_MS),
        "GATECAST_FORECASTERS__HORIZON": "4",
        "GATECAST_FORECASTERS__HIDDEN": "8",
        "GATECAST_CHECKPOINTS__URL": str(folder / "checkpoints"),
        "GATECAST_CHECKPOINTS__INTERVAL_S": "5",
        "GATECAST_METRICS__MAX_SERIES": str(SHOWN),
        "GATECAST_LOG__FORMAT": "json",
    }
    rules = folder / "rules"
    shipped = read_thresholds()
    kept = shipped.model_copy(update={"sensor_alert": shipped.sensor_alert.model_copy(update={"keep": KEEP})})
    write_files(kept, folder)
    workers = tuple(WorkerProcess(folder, number, settings) for number in range(2))
    with Mailbox() as mailbox, Hook() as hook, Plant(bootstrap, name) as plant:
        alertmanager = Alertmanager(
            folder / "alertmanager", smtp=mailbox.address, hook=hook.url, changes=_shorten
        )
        prometheus = Prometheus(folder / "prometheus", alertmanager=alertmanager.url, rules=rules)
        stack = Stack(
            bootstrap=bootstrap,
            alerts_topic=f"{name}-alerts",
            workers=workers,
            plant=plant,
            prometheus=prometheus,
            alertmanager=alertmanager,
            mailbox=mailbox,
            hook=hook,
        )
        try:
            for worker in workers:
                worker.start()
            alertmanager.start()
            prometheus.start()
            prometheus.set_targets([worker.address for worker in workers])
            stack.wait_until("count(gatecast_partitions_assigned == 1) == 2", 120)
            stack.wait_until(f'sum(gatecast_series{{state="live"}}) == {len(SERIES)}', 120)
            stack.wait_until("max(gatecast_consumer_lag_records) < 20", 120)  # history is worked off
            yield stack
        finally:
            for worker in workers:
                worker.end(signal.SIGKILL)
            prometheus.stop()
            alertmanager.stop()


def _shorten(config: dict[str, Any]) -> None:
    config["route"]["group_interval"] = GROUP_INTERVAL
