"""A real Kafka broker out of Apache Kafka's jars: one KRaft node in a folder of its own.

For tests and benchmarks. `python -m pipeline.demo.kafka_server` fetches the jars (43 MB) with Maven, once;
after that nothing is downloaded. Needs Java 17 or later; `java` and `mvn` are those of the PATH.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

VERSION = "4.4.0"
CACHE = Path.home() / ".cache" / "gatecast" / f"kafka-{VERSION}"
HEAP = "-Xmx512m"
START_S = 60.0  # 3 s on an idle core; a busy machine takes many times that
JAVA = 17  # the oldest that Kafka 4 runs on
FETCH_S = 600.0

USER, PASSWORD = "worker", "let-me-in"
"""Who may speak to the listener with SASL. A broker of a test, in a temporary folder, on 127.0.0.1."""

_LOGGER = "org.slf4j:slf4j-simple:1.7.36"
_CLUSTER_ID = "4L6g3nShT-eMCtK--X86sw"


class ServerError(Exception):
    """The broker can't be had or does not start."""


def find_obstacle() -> str | None:
    """Why a broker can't be started here, with the way out; None if it can."""
    if why := find_java_obstacle():
        return f"{why}: install Java {JAVA} or later, or set KAFKA_BOOTSTRAP to a broker for tests"
    if not any(CACHE.glob("kafka_2.13-*.jar")):
        return f"no Kafka in {CACHE}: `make kafka` fetches it with Maven, or set KAFKA_BOOTSTRAP"
    return None


@functools.cache
def find_java_obstacle() -> str | None:
    """What is wrong with Java here, as in `no Java`; None if a broker runs on it."""
    if shutil.which("java") is None:
        return "no Java"
    said = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False).stderr
    found = read_java_version(said)
    return None if found is None or found >= JAVA else f"Java {found} is too old"


def read_java_version(said: str) -> int | None:
    """The version in what `java -version` says: `"17.0.15"` is 17, `"1.8.0_392"` is 8; None if there is none
    to be seen, in which case the broker's own log will tell."""
    found = re.search(r'version "(?:1\.)?(\d+)', said)
    return int(found[1]) if found else None


def fetch_jars() -> Path:
    """Puts Kafka's jars into the cache folder unless they are there. Raises ServerError."""
    if any(CACHE.glob("kafka_2.13-*.jar")):
        return CACHE
    missing = [
        why for why in (find_java_obstacle(), None if shutil.which("mvn") else "no Maven (mvn)") if why
    ]
    if missing:
        raise ServerError(
            f"{' and '.join(missing)}: Kafka's jars are fetched by Maven 3 on Java {JAVA} or later "
            "(Debian: apt-get install openjdk-17-jre-headless maven)"
        )
    coordinates = (f"org.apache.kafka:kafka_2.13:{VERSION}", _LOGGER)
    dependencies = "".join(
        "<dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version></dependency>".format(
            *name.split(":")
        )
        for name in coordinates
    )
    # Fetched beside and moved in whole, so that a broken download is never taken for a broker.
    fresh = CACHE.with_name(f"{CACHE.name}.{os.getpid()}")
    fresh.mkdir(parents=True)
    try:
        (fresh / "pom.xml").write_text(
            '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
            "<groupId>gatecast</groupId><artifactId>broker</artifactId><version>1</version>"
            f"<dependencies>{dependencies}</dependencies></project>"
        )
        command = ["mvn", "-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime"]
        # Without them an index that does not answer is waited for, half an hour a file.
        command += ["-Daether.connector.connectTimeout=10000", "-Daether.connector.requestTimeout=60000"]
        try:
            done = subprocess.run(
                [*command, f"-DoutputDirectory={fresh}"], cwd=fresh, check=False, timeout=FETCH_S
            )
        except subprocess.TimeoutExpired as error:
            raise ServerError(f"Maven has not fetched Kafka {VERSION} within {FETCH_S:.0f} s") from error
        if done.returncode:
            raise ServerError(
                f"expected Maven to fetch Kafka {VERSION}, but it ended with {done.returncode}; "
                "its last lines say why (a mirror goes into ~/.m2/settings.xml)"
            )
        if CACHE.exists():
            shutil.rmtree(CACHE)
        fresh.rename(CACHE)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return CACHE


class KafkaServer:
    """One broker on fixed ports in a fixed folder: stopped or killed and started again, it is the same one.

    `bootstrap` takes anybody; `sasl_bootstrap` wants SASL PLAIN as `USER` with `PASSWORD`. Asking for a
    topic does not make it.
    """

    def __init__(self, folder: Path, settings: Sequence[str] = ()) -> None:
        """`settings` are further lines of server.properties."""
        port, sasl_port, controller_port = _find_free_ports(3)
        self.bootstrap = f"127.0.0.1:{port}"
        self.sasl_bootstrap = f"127.0.0.1:{sasl_port}"
        self._port = port
        self._folder = folder
        self._properties = folder / "server.properties"
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        lines = (*_list_properties(folder / "data", port, sasl_port, controller_port), *settings)
        self._properties.write_text("\n".join(lines) + "\n")

    def __enter__(self) -> KafkaServer:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        """Of the broker's process. Only while it runs."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Returns when the broker takes connections. Raises ServerError."""
        if obstacle := find_obstacle():
            raise ServerError(obstacle)
        if not (self._folder / "data" / "meta.properties").exists():
            self._run(
                "kafka.tools.StorageTool", "format", "-t", _CLUSTER_ID, "-c", str(self._properties)
            ).wait()
        self._process = self._run("kafka.Kafka", str(self._properties))
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise ServerError(f"the broker ended with {self._process.returncode}:\n{self._read_log()}")
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self._port)) == 0:
                    return
            time.sleep(0.05)
        self.kill()
        raise ServerError(f"expected the broker to start within {START_S:.0f} s:\n{self._read_log()}")

    def stop(self) -> None:
        """Shuts down in order; returns when the process is gone."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it at once, as a power cut would."""
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """The process stands still until `thaw`: its connections stay open and nothing answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(number)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _run(self, main: str, *arguments: str) -> subprocess.Popen[bytes]:
        java = ["java", HEAP, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"]
        quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
        with (self._folder / "server.log").open("ab") as log:
            return subprocess.Popen(
                [*java, quiet, "-cp", f"{CACHE}/*", main, *arguments],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                # Ctrl-C in a terminal is for the one who started the broker, not for the broker.
                start_new_session=True,
            )

    def _read_log(self) -> str:
        return "\n".join((self._folder / "server.log").read_text(errors="replace").splitlines()[-20:])


def _list_properties(data: Path, port: int, sasl_port: int, controller_port: int) -> list[str]:
    login = "org.apache.kafka.common.security.plain.PlainLoginModule required"
    return [
        "process.roles=broker,controller",
        "node.id=1",
        f"controller.quorum.bootstrap.servers=127.0.0.1:{controller_port}",
        f"controller.quorum.voters=1@127.0.0.1:{controller_port}",
        f"listeners=PLAIN://127.0.0.1:{port},LOGIN://127.0.0.1:{sasl_port},CONTROL://127.0.0.1:{controller_port}",
        f"advertised.listeners=PLAIN://127.0.0.1:{port},LOGIN://127.0.0.1:{sasl_port}",
        "listener.security.protocol.map=PLAIN:PLAINTEXT,LOGIN:SASL_PLAINTEXT,CONTROL:PLAINTEXT",
        "controller.listener.names=CONTROL",
        "inter.broker.listener.name=PLAIN",
        "listener.name.login.sasl.enabled.mechanisms=PLAIN",
        f'listener.name.login.plain.sasl.jaas.config={login} user_{USER}="{PASSWORD}";',
        f"log.dirs={data}",
        "auto.create.topics.enable=false",
        "num.partitions=1",
        "offsets.topic.num.partitions=1",
        "offsets.topic.replication.factor=1",
        "transaction.state.log.num.partitions=1",
        "transaction.state.log.replication.factor=1",
        "transaction.state.log.min.isr=1",
        "share.coordinator.state.topic.replication.factor=1",
        "share.coordinator.state.topic.min.isr=1",
        # Tests of lost sessions and of retention must not wait for minutes.
        "group.initial.rebalance.delay.ms=0",
        "group.min.session.timeout.ms=1000",
        # A killed broker may come back once its old session is over: 9 s by default.
        "broker.session.timeout.ms=1500",
        "broker.heartbeat.interval.ms=300",
        "log.retention.check.interval.ms=500",
        "num.network.threads=2",
        "num.io.threads=2",
        "background.threads=2",
        "log.cleaner.dedupe.buffer.size=4194304",
    ]


def _find_free_ports(number: int) -> list[int]:
    held = [socket.socket() for _ in range(number)]
    try:
        for each in held:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in held]
    finally:
        for each in held:
            each.close()


if __name__ == "__main__":
    try:
        print(fetch_jars())
    except ServerError as error:
        sys.exit(f"kafka_server: {error}")
