"""`gatecast run --workers N`: N worker processes in one consumer group, watched by this one.

A worker learns on one core, so N of them use N. Kafka spreads the partitions; the processes share nothing.
One that ends by itself is started again, later each time; one that finds its configuration wrong ends them
all.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import requests

from pipeline.config import Config
from pipeline.config.environment import extend_environment
from pipeline.config.keys import KeyPath
from pipeline.exporters.exposition import TEXT
from pipeline.exporters.http import HttpOptions, HttpServer, Providers
from pipeline.exporters.merging import merge
from pipeline.readiness import Obstacle

REFUSED = 2
"""Exit status of wrong usage or configuration: starting again would not help."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
STEADY_S = 300.0
"""Who ran so long begins with the first pause again."""
LOOK_S = 0.2
ASK_S = 5.0
END_S = 25.0
"""A worker saves within 10 s; docker compose and Kubernetes wait for 30."""

log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Member:
    """One worker process."""

    number: int
    url: str
    command: list[str]
    environment: Mapping[str, str]
    core: int | None = None  # that it keeps to
    process: subprocess.Popen[bytes] | None = None
    started_s: float = 0.0
    pause_s: float = FIRST_PAUSE_S
    due_s: float = field(default=0.0)

    def start(self, now_s: float) -> None:
        # a group of its own: Ctrl-C in a terminal reaches this process alone, which then ends them in order
        self.process = subprocess.Popen(
            self.command, env=dict(self.environment), stdin=subprocess.DEVNULL, start_new_session=True
        )
        if self.core is not None:
            os.sched_setaffinity(self.process.pid, {self.core})  # and so of all threads, which come later
        self.started_s = now_s


class Crew:
    """The processes and the one port in front of them."""

    def __init__(
        self,
        config: Config,
        path: str | None,
        size: int,
        options: HttpOptions,
        *,
        cores: Sequence[int] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """path: of the configuration file, for the processes to read themselves. cores: to each process one
        in turn, which it keeps to (Linux); without, the system moves them about."""
        self._clock = clock
        self._session = requests.Session()
        self._verify = False  # our own processes, on this machine
        if options.credentials is not None and config.server.password is not None:
            login = f"{config.server.username}:{config.server.password.get_secret_value()}"
            self._session.headers["Authorization"] = f"Basic {b64encode(login.encode()).decode()}"
        scheme = "https" if options.tls is not None else "http"
        command = [sys.executable, "-m", "pipeline", "run", "--supervisor", str(os.getpid())]
        command += ("--config", path) if path else ()
        self.members = [
            Member(
                number=number,
                url=f"{scheme}://127.0.0.1:{port}",
                command=command,
                environment=make_environment(config, number, port),
                core=cores[number % len(cores)] if cores else None,
            )
            for number, port in enumerate(_find_ports(options.port, size))
        ]
        self.server = HttpServer(
            options,
            Providers(
                metrics=self._merge_metrics,
                readiness=self,
                overview=lambda: self._ask("/api/v1/overview", {}),
                series=lambda asked: self._ask("/api/v1/series", asked),
                one_series=lambda name, asked: self._find_series(name, asked),
                errors=lambda asked: self._ask("/api/v1/errors", asked),
                networks=lambda: self._ask("/api/v1/networks", {}),
            ),
        )

    def run(self, is_over: Callable[[], bool], is_asked_to_declare: Callable[[], bool]) -> int:
        """Until `is_over`, or until one refuses its configuration. The exit status."""
        self.server.start()
        log.info("%s workers behind %s: %s", len(self.members), self.server.url, self._list_urls())
        status = 0
        try:
            while not is_over() and not status:
                for member in self.members:
                    status = status or self._look_after(member)
                if is_asked_to_declare():
                    self._signal(signal.SIGHUP)
                time.sleep(LOOK_S)
        finally:
            self._end()
            self.server.stop()
        return status

    def obstacles(self) -> tuple[Obstacle, ...]:
        """Of all members, as `Readiness`."""
        found: list[Obstacle] = []
        for member in self.members:
            try:
                answer = self._get(member, "/readyz").json()
            except (requests.RequestException, ValueError):
                found.append(Obstacle(reason=f"worker {member.number} does not answer"))
                continue
            for each in answer.get("obstacles", []):
                reason = f"worker {member.number}: {each['reason']}"
                found.append(Obstacle(reason=reason, topic=each["topic"], partition=each["partition"]))
        return tuple(found)

    def _look_after(self, member: Member) -> int:
        """Starts whoever is due. REFUSED if the configuration is not taken."""
        now_s = self._clock()
        if member.process is None:
            if now_s >= member.due_s:
                member.start(now_s)
            return 0
        ended = member.process.poll()
        if ended is None:
            return 0
        member.process = None
        if ended == REFUSED:
            log.error("worker %s refuses its configuration; all end", member.number)
            return REFUSED
        if now_s - member.started_s >= STEADY_S:
            member.pause_s = FIRST_PAUSE_S
        log.error("worker %s ended with %s; it starts again in %.0f s", member.number, ended, member.pause_s)
        member.due_s = now_s + member.pause_s
        member.pause_s = min(2 * member.pause_s, LONGEST_PAUSE_S)
        return 0

    def _end(self) -> None:
        """All at once, so that they save side by side; whoever takes too long is killed and replays."""
        self._signal(signal.SIGTERM)
        deadline_s = self._clock() + END_S
        for member in self.members:
            if member.process is None:
                continue
            try:
                member.process.wait(max(deadline_s - self._clock(), 0.0))
            except subprocess.TimeoutExpired:
                log.error("worker %s does not end; it is killed", member.number)
                member.process.kill()
                member.process.wait()

    def _signal(self, number: signal.Signals) -> None:
        for member in self.members:
            if member.process is not None and member.process.poll() is None:
                member.process.send_signal(number)

    # -- what the port answers ---------------------------------------------------------------------------

    def _merge_metrics(self, accept: str) -> tuple[bytes, str]:
        """Of the members that answer; one that does not is missed, as `up` would tell of it alone."""
        texts = {}
        for member in self.members:
            try:
                answer = self._get(member, "/metrics")
            except requests.RequestException:
                continue
            if answer.ok:
                texts[str(member.number)] = answer.content.decode()
        return merge(texts).encode(), TEXT

    def _ask(self, path: str, asked: Mapping[str, str]) -> object:
        """Of the first member that answers: its page says which partitions it shows."""
        for member in self.members:
            try:
                return self._get(member, path, asked).json()
            except (requests.RequestException, ValueError):
                continue
        return {"error": "no worker answers yet"}

    def _find_series(self, name: str, asked: Mapping[str, str]) -> object | None:
        for member in self.members:
            try:
                answer = self._get(member, "/api/v1/series", {**asked, "id": name})
            except requests.RequestException:
                continue
            if answer.ok:
                found: object = answer.json()
                return found
        return None

    def _get(self, member: Member, path: str, asked: Mapping[str, str] | None = None) -> requests.Response:
        return self._session.get(
            member.url + path,
            params=dict(asked or {}),
            timeout=ASK_S,
            verify=self._verify,
            headers={"Accept": "text/plain, */*"},
        )

    def _list_urls(self) -> str:
        return ", ".join(member.url for member in self.members)


def make_environment(config: Config, number: int, port: int) -> dict[str, str]:
    """What one process has otherwise than the file says: its port, and its place in the group."""
    own: dict[KeyPath, str] = {("server", "host"): "127.0.0.1", ("server", "port"): str(port)}
    if config.kafka.instance_id is not None:
        own["kafka", "instance_id"] = f"{config.kafka.instance_id}-{number}"
    return extend_environment(own)


def _find_ports(front: int, size: int) -> list[int]:
    """Those behind the one in front; free ones where that is free as well (0)."""
    if front:
        return [front + 1 + number for number in range(size)]
    listeners = [socket.socket() for _ in range(size)]
    try:
        for listener in listeners:
            listener.bind(("127.0.0.1", 0))
        return [listener.getsockname()[1] for listener in listeners]
    finally:
        for listener in listeners:
            listener.close()
