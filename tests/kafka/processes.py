"""Workers as processes of their own: started, heard by what they log, stopped, killed and put to sleep."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from tests.kafka.doomed import live

ROOT = Path(__file__).resolve().parents[2]
START_S = 90.0  # imports take 3 s on an idle core; a busy machine takes many times that


@dataclass(frozen=True, slots=True)
class Line:
    """What a worker logged, and when (seconds since the epoch)."""

    time_s: float
    message: str


class WorkerProcess:
    """A worker that runs, or has ended."""

    def __init__(self, process: subprocess.Popen[bytes] | ForkServerProcess, log: Path) -> None:
        assert process.pid is not None
        self._process, self._log, self.pid = process, log, process.pid

    @property
    def status(self) -> int | None:
        """The exit status, minus the signal that ended it; None while it runs."""
        if isinstance(self._process, subprocess.Popen):
            return self._process.poll()
        return self._process.exitcode

    def send(self, number: signal.Signals) -> None:
        if self.status is None:
            os.kill(self.pid, number)

    def wait(self, timeout_s: float) -> int:
        """The exit status."""
        deadline = time.monotonic() + timeout_s
        while (status := self.status) is None:
            assert time.monotonic() < deadline, f"not over within {timeout_s} s; it logged {self.describe()}"
            time.sleep(0.01)
        return status

    def wait_until_asleep(self) -> None:
        """Until SIGSTOP has reached it."""
        deadline = time.monotonic() + START_S
        while not self._read_state().startswith("T"):
            assert time.monotonic() < deadline, f"expected it to sleep; it logged {self.describe()}"
            time.sleep(0.02)

    def _read_state(self) -> str:
        asked = subprocess.run(["ps", "-o", "state=", "-p", str(self.pid)], capture_output=True, text=True)
        return asked.stdout.strip()

    def end(self) -> None:
        """Whatever its state, it is gone when this returns."""
        self.send(signal.SIGKILL)
        self.wait(10.0)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> float:
        """Asks it to end; returns the seconds it took."""
        begun = time.monotonic()
        self.send(number)
        status = self.wait(60.0)
        assert status == 0, f"expected exit status 0, got {status}; it logged {self.describe()}"
        return time.monotonic() - begun

    def read_log(self) -> str:
        return self._log.read_text(errors="replace")

    def describe(self) -> str:
        """Its last words, for a failed assertion."""
        return f"{self._log}:\n" + "\n".join(self.read_log().splitlines()[-12:])

    def lines(self) -> list[Line]:
        """What it logged as JSON so far; a line that is not finished yet is left for the next call."""
        found = []
        for text in self.read_log().splitlines():
            if text.startswith("{"):
                try:
                    line = json.loads(text)
                except ValueError:
                    continue
                found.append(Line(datetime.fromisoformat(line["time"]).timestamp(), line["message"]))
        return found

    def wait_for(self, text: str, count: int = 1, since_s: float = 0.0) -> Line:
        """The line with which it has logged the text so many times since then."""
        deadline = time.monotonic() + START_S
        while True:
            status = self.status  # before reading: what it logged at its end counts
            found = [line for line in self.lines() if text in line.message and line.time_s >= since_s]
            if len(found) >= count:
                return found[count - 1]
            assert status is None, f"expected {text!r}, but it has ended; it logged {self.describe()}"
            assert time.monotonic() < deadline, f"expected {text!r}; it logged {self.describe()}"
            time.sleep(0.02)


class Workers:
    """All processes of a test; none outlives it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._all: list[WorkerProcess] = []

    def start(self, settings: Mapping[str, str]) -> WorkerProcess:
        """`gatecast run` as a user starts it."""
        own = {name: text for name, text in os.environ.items() if not name.startswith("GATECAST_")}
        log = self._name_log()
        with log.open("ab") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-m", "pipeline", "run"],
                cwd=ROOT,
                env=own | settings | {"OMP_NUM_THREADS": "1"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                start_new_session=True,  # Ctrl-C in the terminal of the tests is not for them
            )
        return self._keep(process, log)

    def start_doomed(
        self,
        settings: Mapping[str, str],
        place: str = "never",
        count: int = 1,
        number: signal.Signals = signal.SIGKILL,
    ) -> WorkerProcess:
        """The same, in a fork of a process that has imported all, to be there at once; see `doomed`."""
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["tests.kafka.doomed", "pipeline.app", "pipeline.cli"])
        log = self._name_log()
        arguments = (place, count, number, dict(settings), str(log))
        process = context.Process(target=live, args=arguments, daemon=True)
        process.start()
        return self._keep(process, log)

    def end(self) -> None:
        for worker in self._all:
            worker.end()

    def _name_log(self) -> Path:
        log = self._folder / f"worker-{len(self._all)}.log"
        log.touch()
        return log

    def _keep(self, process: subprocess.Popen[bytes] | ForkServerProcess, log: Path) -> WorkerProcess:
        self._all.append(WorkerProcess(process, log))
        return self._all[-1]


@contextmanager
def run_workers(folder: Path) -> Iterator[Workers]:
    workers = Workers(folder)
    try:
        yield workers
    finally:
        workers.end()
