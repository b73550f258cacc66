"""`gatecast demo` in a process of its own: a real worker, with a broker in its memory, behind its page."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
START_S, STOP_S = 240.0, 30.0


def find_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class DemoProcess:
    """Runs from its entrance to its exit; what it says on the terminal goes to `log`."""

    def __init__(self, log: Path, port: int, *arguments: str) -> None:
        self.url, self._log = f"http://127.0.0.1:{port}/", log
        self._command = [sys.executable, "-m", "pipeline", "demo", "--port", str(port), *arguments]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> DemoProcess:
        paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "OMP_NUM_THREADS": "1",
        }
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command, cwd=self._log.parent, env=environment, stdout=log, stderr=log
            )
        deadline_s = time.monotonic() + START_S
        while time.monotonic() < deadline_s:
            if self._process.poll() is not None:
                break
            try:
                urllib.request.urlopen(f"{self.url}healthz", timeout=5).close()
                return self
            except OSError:
                time.sleep(0.2)
        self.kill()
        raise AssertionError(f"the demo did not come up: {self._log.read_text(errors='replace')[-2000:]}")

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """As a power cut would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(STOP_S)
