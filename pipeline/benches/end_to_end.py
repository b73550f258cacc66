"""`gatecast bench end-to-end`: a topic filled beforehand goes through real workers into the forecasts topic.

The workers are processes as `gatecast run --workers N --pin` starts them, with the defaults (rnn, lstm,
references, blend, 24 steps, learning) and the blend's forecasts sent as Arrow. The rate is that between two
looks at their metrics, after a warm-up; where the time goes comes from the same metrics. The broker shares
the machine, or all cores but those of the workers: its share of the cores is reported.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import requests
import torch
from kafka import KafkaAdminClient
from kafka.admin import NewTopic
from prometheus_client.parser import text_string_to_metric_families

from pipeline.benches.readings import Load, fill
from pipeline.benches.rows import Row
from pipeline.benches.stack import run_stack
from pipeline.demo.kafka_server import KafkaServer

SERIES = 1_000
PARTITIONS = 2
ROUNDS = {"json": 900, "arrow": 1_200}
BATCH = {"json": 1, "arrow": 1_000}
WARM_UP = 0.3
"""Share of the readings that is not timed: networks, cadences and caches come to life, and series are young
(`forecasters.chunks.YOUNG`), so that more is learnt of them."""
STACK = "kafka-python + json + one nn.LSTM per series + gauges"
STACK_S = 10.0
LIMIT_S = 600.0
LOOK_S = 2.0
"""Between two looks at the workers' metrics, which take their processors to make."""
TOGETHER = ("group.initial.rebalance.delay.ms=3000",)
"""Of the broker, and Kafka's own default: a group waits for all members before partitions are given out. Else
the first worker may get all of them and give one away seconds later, and little time is left in which both
are warm and neither is through."""
_CONSUMED = re.compile(r'^gatecast_readings_consumed_total\{.*partition="(\d+)".*\} (\S+)$', re.MULTILINE)
LAG = re.compile(r"^gatecast_consumer_lag_records(?:\{.*\})? (\S+)$", re.MULTILINE)
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one case came to. cpu: cores in use by the workers together, and by the broker."""

    rate: float
    share: Mapping[str, float]
    cpu: Mapping[str, float]


def run_end_to_end(
    runs: int,
    workers: int,
    scale: float = 1.0,
    device: str = "auto",
    worker_cores: frozenset[int] = frozenset(),
    tell: Callable[[str], None] = lambda _: None,
) -> tuple[list[Row], dict[str, object]]:
    """Rows, and what else the report says. Starts a broker of its own, whose cores are measured.
    worker_cores: that are the workers' alone; without, all share all. tell: is given a line for each figure
    as it is found, since all of them take minutes."""
    torch.set_num_threads(1)
    with (
        keep_off(worker_cores),
        tempfile.TemporaryDirectory() as name,
        KafkaServer(Path(name) / "kafka", TOGETHER) as server,
    ):
        found: dict[str, list[Run]] = {case: [] for case in ROUNDS}
        stack: list[float] = []
        tag = uuid.uuid4().hex[:8]
        topics = {case: f"bench-{tag}-{case}" for case in ROUNDS}
        for case, topic in topics.items():
            load = _load(case, scale)
            fill(server.bootstrap, topic, load, PARTITIONS)
        make_topics(server.bootstrap, f"bench-{tag}")
        for number in range(runs):
            for case, topic in topics.items():
                folder = Path(name) / f"{case}-{number}"
                folder.mkdir()
                config = write_config(folder, server.bootstrap, topic, f"bench-{tag}", case, device)
                found[case].append(
                    run_case(server, folder, config, _load(case, scale), workers, worker_cores)
                )
                tell(f"run {number + 1} of {runs}, {case}: {found[case][-1].rate:,.0f} readings/s")
            stack.append(run_stack(server.bootstrap, topics["json"], f"bench-{tag}-plain", STACK_S * scale))
            tell(f"run {number + 1} of {runs}, {STACK}: {stack[-1]:,.0f} readings/s")
    base = sorted(stack)[len(stack) // 2]
    rows, cpu = [], {}
    for case, each in found.items():
        middle = sorted(each, key=lambda run: run.rate)[len(each) // 2]
        cpu[case] = {name: round(cores, 2) for name, cores in middle.cpu.items()}
        rows.append(
            Row(
                case=case, series=SERIES, value=round(middle.rate, 1), unit="readings/s",
                yardstick=STACK, yardstick_value=round(base, 1),
                ratio=round(middle.rate / base, 2), runs=runs, share=dict(middle.share),
            )
        )  # fmt: skip
    return rows, {
        "workers": workers, "partitions": PARTITIONS, "device": device, "cores": len(os.sched_getaffinity(0)),
        "worker_cores": sorted(worker_cores), "cores_used": cpu,
        "configuration": "defaults (24 steps; the references, rnn, lstm, blend), blend sent as Arrow",
    }  # fmt: skip


@contextmanager
def keep_off(cores: frozenset[int]) -> Iterator[None]:
    """Binds this thread, and what it starts meanwhile, to the cores that it may use but for these (Linux)."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, allowed - cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def _load(case: str, scale: float) -> Load:
    return Load(series=SERIES, rounds=max(round(ROUNDS[case] * scale), 60), format=case, batch=BATCH[case])


def make_topics(bootstrap: str, prefix: str) -> None:
    names = [f"{prefix}-{case}-{end}" for case in ROUNDS for end in ("forecasts", "alerts", "rejected")]
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        admin.create_topics([NewTopic(name, PARTITIONS, 1) for name in (*names, f"{prefix}-plain")])
    finally:
        admin.close()


def write_config(
    folder: Path, bootstrap: str, topic: str, prefix: str, case: str, device: str = "auto"
) -> Path:
    path = folder / "gatecast.toml"
    path.write_text(
        f'[kafka]\nbootstrap = "{bootstrap}"\ntopics = ["{topic}"]\ngroup = "{folder.name}-{prefix}"\n'
        f'start = "earliest"\nforecasts_topic = "{prefix}-{case}-forecasts"\n'
        f'alerts_topic = "{prefix}-{case}-alerts"\n'
        f'[forecasters]\ndevice = "{device}"\n[readings]\nformat = "{case}"\n[forecasts]\nformat = "arrow"\n'
        f'[checkpoints]\nurl = "{folder / "checkpoints"}"\n[server]\nport = 0\n'
    )
    return path


@dataclass(frozen=True, slots=True)
class Look:
    """At workers and broker: readings consumed so far, in all and of the partition with the fewest; whether
    every partition has more of them; the workers' metrics, and processor time of both."""

    at_s: float
    done: float
    fewest: float
    is_fed: bool
    metrics: str
    workers_s: float
    broker_s: float

    @classmethod
    def take(cls, url: str, process: int, server: int) -> Look:
        # read whole at both ends only: to parse it takes as long as to make it
        metrics = requests.get(f"{url}/metrics", timeout=30).text
        consumed: dict[str, float] = {}
        for partition, number in _CONSUMED.findall(metrics):  # also of workers that do not have it
            consumed[partition] = consumed.get(partition, 0.0) + float(number)
        done, fewest = sum(consumed.values()), min(consumed.values(), default=0.0)
        lags = [float(number) for number in LAG.findall(metrics)]
        is_fed = len(lags) == PARTITIONS and min(lags) > 0
        at_s = time.perf_counter()
        return cls(at_s, done, fewest, is_fed, metrics, find_cpu_s(process), find_cpu_s(server))


def run_case(
    server: KafkaServer,
    folder: Path,
    config: Path,
    load: Load,
    workers: int,
    cores: frozenset[int] = frozenset(),
) -> Run:
    """Until all readings have gone through: from the warm-up's end to the last look at which no partition
    was at its end. cores: of the workers; without, those of this process."""
    looks: list[Look] = []
    with start_workers(folder, config, workers, cores) as (process, url):
        deadline = time.monotonic() + LIMIT_S
        while time.monotonic() < deadline:
            looks.append(Look.take(url, process.pid, server.pid))
            if looks[-1].done >= load.num_readings:
                # of each partition: a single worker takes one after the other, and the later is young longer
                warm = WARM_UP * load.num_readings / PARTITIONS
                timed = [look for look in looks if look.fewest >= warm and look.is_fed]
                if len(timed) < 2:  # with few readings there is no time for two in between
                    timed = [before for before, look in pairwise(looks) if look.done] + looks[-1:]
                return _compare(timed[0], timed[-1], workers)
            time.sleep(LOOK_S)
    raise TimeoutError(
        f"expected {load.num_readings} readings to go through within {LIMIT_S:.0f} s; see {folder}"
    )


def _compare(begun: Look, last: Look, workers: int) -> Run:
    spent = last.at_s - begun.at_s
    return Run(
        rate=(last.done - begun.done) / spent,
        share=find_shares(read_metrics(begun.metrics), read_metrics(last.metrics), spent, workers),
        cpu={
            "workers": (last.workers_s - begun.workers_s) / spent,
            "broker": (last.broker_s - begun.broker_s) / spent,
        },
    )


@contextmanager
def start_workers(
    folder: Path, config: Path, workers: int, cores: frozenset[int]
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    log = folder / "worker.log"
    command = [sys.executable, "-m", "pipeline", "run", "--config", str(config)]
    command += ["--workers", str(workers), "--pin"] if workers > 1 else []
    with log.open("wb") as stderr:
        process = subprocess.Popen(command, stderr=stderr, stdin=subprocess.DEVNULL)
    try:
        if cores:
            os.sched_setaffinity(process.pid, cores)  # and so of all that it starts
        deadline = time.monotonic() + 60.0
        while process.poll() is None and time.monotonic() < deadline:
            found = re.search(r"(?:listening at|workers behind) (http\S+?):?(?:\s|$)", log.read_text())
            if found:
                yield process, found[1]
                return
            time.sleep(0.1)
        raise RuntimeError(f"the workers did not start: {log.read_text()[-2_000:]}")
    finally:
        process.terminate()
        process.wait(30)


def read_metrics(text: str) -> dict[str, float]:
    """Sums over labels, by sample name; stages and forecasters one by one."""
    values: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            kept = [sample.labels[name] for name in ("stage", "forecaster") if name in sample.labels]
            name = ":".join([sample.name, *kept])
            values[name] = values.get(name, 0.0) + sample.value
    return values


def find_shares(
    before: Mapping[str, float], after: Mapping[str, float], spent_s: float, workers: int
) -> dict[str, float]:
    """Of the workers' wall-clock time: stages, and within `process` the forecasters."""
    share = {}
    for prefix in ("gatecast_stage_duration_seconds_sum:", "gatecast_forecaster_seconds_total:"):
        for name, value in after.items():
            if name.startswith(prefix):
                part = (value - before.get(name, 0.0)) / spent_s / workers
                share[name.removeprefix(prefix)] = round(part, 3)
    return share


def find_cpu_s(pid: int) -> float:
    """Processor time so far, of a process and its children."""
    total = 0
    for one in find_processes(pid):
        try:
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has just ended
        total += int(fields[11]) + int(fields[12])
    return total / _TICKS


def find_processes(pid: int) -> list[int]:
    """A process and all that it started, as far as they run."""
    found, waiting = [], [pid]
    while waiting:
        one = waiting.pop()
        try:
            tasks = list(Path(f"/proc/{one}/task").iterdir())
            waiting += [int(child) for task in tasks for child in (task / "children").read_text().split()]
        except OSError:
            continue
        found.append(one)
    return found
