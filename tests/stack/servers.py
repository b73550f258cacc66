"""Prometheus and Alertmanager as processes, with the configuration that is shipped.

Replaced in it are targets, paths and addresses, and what a test asks for and says so.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.stack.components import find_program

ROOT = Path(__file__).resolve().parents[2]
START_S = 60.0
ZONE = "Europe/Berlin"
"""Messages tell the time in the zone of the servers."""


def find_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _find_query_flags() -> list[str]:
    """How the shipped Prometheus is told to evaluate."""
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    return [flag for flag in services["prometheus"]["command"] if flag.startswith("--query.")]


def ask(url: str, timeout_s: float = 10.0) -> Any:
    with urllib.request.urlopen(url, timeout=timeout_s) as answer:
        return json.loads(answer.read())


class Server:
    """A program that runs from `start` to `stop`, at a port of its own, in a folder of its own."""

    ready = "/-/ready"

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.port = folder, find_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        raise NotImplementedError

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self.command(),
                cwd=self.folder,
                env={**os.environ, "TZ": ZONE},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.wait_until(self._is_ready, "ready")

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)
            self._process = None

    def wait_until(self, is_so: Callable[[], bool], what: str, timeout_s: float = START_S) -> None:
        deadline = time.monotonic() + timeout_s
        while not is_so():
            assert self._process is None or self._process.poll() is None, f"it ended: {self.read_log()}"
            assert time.monotonic() < deadline, f"expected {what} in {timeout_s:.0f} s: {self.read_log()}"
            time.sleep(0.1)

    def read_log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")[-3000:]

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(self.url + self.ready, timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample of an answer."""

    labels: Mapping[str, str]
    value: float


class Prometheus(Server):
    """targets can be changed while it runs."""

    def __init__(
        self,
        folder: Path,
        *,
        alertmanager: str | None = None,
        rules: Path = ROOT / "dashboards" / "rules",
        scrape_interval: str | None = None,
    ) -> None:
        """alertmanager: its URL. rules: folder with the files of rules. scrape_interval: not the shipped one,
        for rules as well."""
        super().__init__(folder)
        self._program = find_program("prometheus")
        self._targets = folder / "targets.json"
        self.set_targets([])
        config = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
        config["rule_files"] = [str(rules / "*.yaml")]
        found = {"static_configs": [{"targets": [urllib.parse.urlsplit(alertmanager or "").netloc]}]}
        config["alerting"]["alertmanagers"] = [found] if alertmanager else []
        workers = config["scrape_configs"][0]
        assert workers["job_name"] == "gatecast"
        del workers["dns_sd_configs"]
        workers["file_sd_configs"] = [{"files": [str(self._targets)], "refresh_interval": "1s"}]
        config["scrape_configs"] = [workers]
        if scrape_interval is not None:
            config["global"] |= {"scrape_interval": scrape_interval, "scrape_timeout": scrape_interval}
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config, sort_keys=False))

    def command(self) -> list[str]:
        return [
            self._program,
            f"--config.file={self.folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={self.folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--log.level=warn",
            *_find_query_flags(),
        ]

    def set_targets(self, addresses: Sequence[str]) -> None:
        """Hosts with ports, as discovery by DNS would find them."""
        draft = self._targets.with_suffix(".part")
        draft.write_text(json.dumps([{"targets": list(addresses)}]))
        draft.replace(self._targets)  # it looks at the file now and then, half of it or not

    def query(self, expr: str) -> list[Sample]:
        """The vector (a scalar is a vector of one) that an expression gives now. AssertionError with
        Prometheus's own words where it is none."""
        url = f"{self.url}/api/v1/query?{urllib.parse.urlencode({'query': expr})}"
        try:
            data = ask(url)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{expr}: {json.loads(error.read())['error']}") from None
        if data["resultType"] == "scalar":
            return [Sample({}, float(data["result"][1]))]
        assert data["resultType"] == "vector", f"{expr} gives a {data['resultType']}"
        return [Sample(found["metric"], float(found["value"][1])) for found in data["result"]]

    def alerts(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = ask(f"{self.url}/api/v1/alerts")["data"]["alerts"]
        return found

    def find_sick_rules(self) -> list[str]:
        """Rules whose evaluation failed."""
        groups = ask(f"{self.url}/api/v1/rules")["data"]["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        return [f"{rule['name']}: {rule.get('lastError')}" for rule in rules if rule["health"] == "err"]


class Alertmanager(Server):
    """Sends mails to one SMTP address and everything else to one URL."""

    def __init__(
        self, folder: Path, *, smtp: str, hook: str, changes: Callable[[dict[str, Any]], None] | None = None
    ) -> None:
        """changes: of the shipped configuration, beyond addresses and paths."""
        super().__init__(folder)
        self._program = find_program("alertmanager")
        text = (ROOT / "deploy/alertmanager/alertmanager.yml").read_text()
        text = text.replace("/etc/alertmanager/templates", str(ROOT / "deploy/alertmanager/templates"))
        text = text.replace("/run/secrets", str(folder)).replace("http://maintenance:8080", hook)
        text = text.replace("mailpit:1025", smtp)
        config = yaml.safe_load(text)
        if changes is not None:
            changes(config)
        (folder / "slack_webhook_url").write_text(f"{hook}/slack")
        (folder / "maintenance_token").write_text("s3cret")
        (folder / "alertmanager.yml").write_text(yaml.safe_dump(config, sort_keys=False))

    def command(self) -> list[str]:
        return [
            self._program,
            f"--config.file={self.folder / 'alertmanager.yml'}",
            f"--storage.path={self.folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--web.external-url=http://alertmanager.plant.example:9093",
            "--web.route-prefix=/",
            "--cluster.listen-address=",
            "--log.level=warn",
        ]
