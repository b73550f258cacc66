"""A worker under a steady load on this machine, with a real broker: memory, lag, and latency to the forecast.

    python -m tests.bench.soak --seconds 1800 --json soak.json

Starts a broker (`pipeline.demo.kafka_server`; needs Java), makes the topics, starts `gatecast run` with the
defaults (several workers with `--pin`) and, once that is ready, `gatecast simulate` at the rate that is asked
for. All of them share the machine. Prints one JSON object:

- `latency_ms`: from the broker's timestamp of a reading to the broker's timestamp of its forecast, both of
  topics with LogAppendTime; of windows of readings spread evenly over the time behind the warm-up, read back
  when all is over, so that measuring costs nothing meanwhile. `missing` counts readings without a forecast.
- `rss_mb`: of the worker, each sample, and `drift`: the median of the last quarter over that of the first
  quarter behind the warm-up, less one.
- `load`: `not_taken` readings were left a minute after the load had ended.
- `lag`: readings that the worker had not taken yet, over all partitions, each sample. A sample is one scrape,
  as often as `deploy/prometheus` scrapes; it is read by a pattern, since Prometheus' own parser in Python
  takes a core for a quarter of a second, and one of two workers would wait for it.
- `cpu`: share of one core of each process, while the load lasts.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import requests
import torch
from kafka import KafkaConsumer, TopicPartition

from pipeline.benches.end_to_end import LAG, find_cpu_s, find_processes
from pipeline.benches.rows import commit
from pipeline.demo.kafka_server import KafkaServer
from tests.kafka.live import Metrics, find_ends, make_config, make_topics, open_reader, scrape

ROOT = Path(__file__).resolve().parents[2]
TOPIC = "soak"
SAMPLE_S = 10.0
WINDOWS, WINDOW = 400, 100
"""Of each partition, and readings in each: with 40 of 1 000, one window of 50 ms amid a pause was the p99."""
FORECAST_WAIT_MS = 30_000
READY_S, DRAIN_S = 120.0, 60.0
MEGABYTE = 1 << 20


class Key(msgspec.Struct):
    """What of a reading or a forecast says which one it is."""

    series: str
    time: int


_decode = msgspec.json.Decoder(Key).decode


@dataclass(slots=True, kw_only=True)
class Samples:
    """Columns of what was seen every few seconds."""

    at_s: list[float] = field(default_factory=list)
    rss_mb: list[float] = field(default_factory=list)
    lag: list[int] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--warm-up", type=float, default=30.0, help="seconds that are left out")
    parser.add_argument("--rate", type=float, default=2_000.0, help="readings a second")
    parser.add_argument(
        "--half-of", type=Path, help="a report of `bench end-to-end`: half of its rate with one-reading JSON"
    )
    parser.add_argument(
        "--forecasts", choices=["json", "arrow"], default="json", help="as what forecasts are sent"
    )
    parser.add_argument("--workers", type=int, default=1, help="processes of the worker")
    parser.add_argument(
        "--plain", action="store_true", help="readings from tests.bench.feeder, without faults, not simulate"
    )
    parser.add_argument("--series", type=int, default=1_000)
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    options = parser.parse_args()
    if options.half_of is not None:
        rows = json.loads(options.half_of.read_text())["results"]
        options.rate = round(next(row["value"] for row in rows if row["case"] == "json") / 2)
    with tempfile.TemporaryDirectory() as folder, KafkaServer(Path(folder) / "kafka") as server:
        report = soak(options, server, Path(folder))
    text = json.dumps(report, indent=1)
    print(text)
    if options.json is not None:
        options.json.write_text(text + "\n")


def soak(options: argparse.Namespace, server: KafkaServer, folder: Path) -> dict[str, Any]:
    series_file, declared = folder / "series.csv", ""
    config = make_config(server.bootstrap, TOPIC, folder, {"kafka": {"partitions": options.partitions}})
    make_topics(config)
    if not options.plain:
        write_series_file(options, series_file)
        declared = f'[readings]\nseries_file = "{series_file}"\nfields.quality = "quality"\n'
    toml = folder / "gatecast.toml"
    toml.write_text(
        f'[kafka]\nbootstrap = "{server.bootstrap}"\ntopics = ["{TOPIC}"]\n'
        f'forecasts_topic = "{config.kafka.forecasts_topic}"\nalerts_topic = "{config.kafka.alerts_topic}"\n'
        f"{declared}"
        f'[forecasts]\nformat = "{options.forecasts}"\n'
        f'[checkpoints]\nurl = "{folder / "checkpoints"}"\n[server]\nport = 0\n'
    )
    plant = ("--series", str(options.series), "--rate", str(options.rate))
    where = ("--topic", TOPIC, "--bootstrap", server.bootstrap)
    if options.plain:
        about = ("--partitions", str(options.partitions), "--seconds", str(options.seconds))
        load = ("tests.bench.feeder", *plant, *about, *where)
    else:
        until = ("--for", f"{options.seconds:.0f}s", "--faults-per-hour", "60")
        load = ("pipeline", "simulate", *plant, *until, *where)
    pinned = ("--pin",) if options.workers > 1 else ()
    own = ("pipeline", "run", "--config", str(toml), "--workers", str(options.workers), *pinned)
    with run(folder / "worker.log", *own) as worker:
        url = wait_until_ready(worker, folder / "worker.log", options.partitions)
        started_cpu = find_cpu_s(worker.pid)  # importing takes seconds
        with run(folder / "load.log", *load) as feeder:
            begun_ms = time.time() * 1000
            samples = watch(worker, feeder, url, options.seconds)
            feeder_cpu, worker_cpu = find_cpu_s(feeder.pid), find_cpu_s(worker.pid) - started_cpu
        sent = sum(find_ends(server.bootstrap, TOPIC).values())
        metrics = drain(url, sent)
        stopping = time.monotonic()
        worker.send_signal(signal.SIGTERM)
        status = worker.wait(30)
        stop_s = time.monotonic() - stopping
    from_ms, until_ms = begun_ms + options.warm_up * 1000, begun_ms + options.seconds * 1000
    latency_ms, missing = measure_latency(server.bootstrap, config.kafka.forecasts_topic, from_ms, until_ms)
    fates = {
        name: metrics.by("reason", f"readings_{name}_total") for name in ("masked", "dropped", "rejected")
    }
    consumed = sum(metrics.by("partition", "readings_consumed_total").values())
    return {
        "version": 1,
        "machine": describe_machine(),
        "commit": commit(),
        "load": {
            "series": options.series, "rate": options.rate, "partitions": options.partitions,
            "workers": options.workers, "forecasts": options.forecasts, "plain": options.plain,
            "seconds": options.seconds, "warm_up": options.warm_up,
            "readings": sent, "readings_per_second": round(sent / options.seconds, 1),
            "not_taken": sent - consumed,
        },
        "latency_ms": describe_latency(latency_ms) | {"none_within_30_s": missing},
        "lag": {"highest": max(samples.lag), "median": statistics.median(samples.lag)},
        "rss_mb": describe_memory(samples, options.warm_up),
        "cpu": {
            "worker": round(worker_cpu / options.seconds, 3),
            "load": round(feeder_cpu / options.seconds, 3),
        },
        "fates": {"learned": metrics.total("readings_learned_total"), **fates},
        "stages_s": find_stages(metrics),
        "checkpoints": {
            "number": metrics.total("checkpoints_total"), "bytes": metrics.total("checkpoint_bytes")
        },
        "stop": {"status": status, "seconds": round(stop_s, 2)},
        "samples": {"s": samples.at_s, "rss_mb": samples.rss_mb, "lag": samples.lag},
    }  # fmt: skip


def write_series_file(options: argparse.Namespace, path: Path) -> None:
    """The file that `simulate` writes as well, before the worker reads it: a seed is a plant."""
    from pipeline.demo.papers import write_series_file as write
    from pipeline.demo.plant import DAY_MS, Plant, PlantOptions
    from pipeline.simulate_command import resolve_cadence

    cadence_ms = resolve_cadence(options.series, options.rate, None, seed=0, day_ms=DAY_MS)
    write(path, Plant(PlantOptions(num_series=options.series, start_ms=0, cadence_ms=cadence_ms)))


@contextmanager
def run(log: Path, module: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as stderr:
        command = [sys.executable, "-m", module, *arguments]
        own = os.environ | {"OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(command, cwd=ROOT, env=own, stderr=stderr, stdin=subprocess.DEVNULL)
    try:
        yield process
    except BaseException:
        sys.stderr.write(log.read_text(errors="replace"))
        raise
    finally:
        process.kill()
        process.wait()


def wait_until_ready(worker: subprocess.Popen[bytes], log: Path, partitions: int) -> str:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline and worker.poll() is None:
        found = re.search(r"(?:listening at|workers behind) (http\S+?):?(?:\s|$)", log.read_text())
        if found and sum(scrape(found[1]).by("topic", "partitions_assigned").values()) == partitions:
            return found[1]
        time.sleep(0.2)
    raise SystemExit(f"soak: expected the worker to be ready within {READY_S:.0f} s")


def watch(
    worker: subprocess.Popen[bytes], feeder: subprocess.Popen[bytes], url: str, seconds: float
) -> Samples:
    """Until the load is over."""
    samples, begun = Samples(), time.monotonic()
    while (now_s := time.monotonic() - begun) < seconds:
        if worker.poll() is not None or feeder.poll() not in (None, 0):
            raise SystemExit(
                f"soak: ended after {now_s:.0f} s: worker {worker.poll()}, load {feeder.poll()} "
                "(exit status, or minus the signal; None goes on)"
            )
        lags = LAG.findall(requests.get(f"{url}/metrics", timeout=10).text)
        samples.at_s.append(round(now_s, 1))
        samples.rss_mb.append(round(find_rss_of_all(worker.pid) / MEGABYTE, 1))
        samples.lag.append(int(sum(map(float, lags))))
        time.sleep(max(0.0, min(SAMPLE_S, seconds - now_s)))
    return samples


def drain(url: str, sent: int) -> Metrics:
    """Metrics once all that was sent has gone through, or `DRAIN_S` later."""
    deadline = time.monotonic() + DRAIN_S
    while True:
        metrics = scrape(url)
        consumed = sum(metrics.by("partition", "readings_consumed_total").values())
        if consumed >= sent or time.monotonic() >= deadline:
            return metrics
        time.sleep(1.0)


def measure_latency(
    bootstrap: str, forecasts_topic: str, from_ms: float, until_ms: float
) -> tuple[np.ndarray, int]:
    """Milliseconds of each reading in the windows, and how many had no forecast."""
    latency: list[int] = []
    missing = 0
    with open_reader(bootstrap) as reader:
        for number in sorted(reader.partitions_for_topic(TOPIC)):
            readings, forecasts = TopicPartition(TOPIC, number), TopicPartition(forecasts_topic, number)
            first, last = (find_offset(reader, readings, at) for at in (from_ms, until_ms))
            number_of = min(WINDOWS, max(1, (last - first) // WINDOW))  # windows do not overlap
            for start in np.linspace(first, max(first, last - WINDOW), number_of).astype(int).tolist():
                arrived = dict(read_window(reader, readings, start, min(WINDOW, last - start)))
                found = find_forecasts(reader, forecasts, arrived)
                latency += [found[key] - at for key, at in arrived.items() if key in found]
                missing += len(arrived.keys() - found.keys())
    return np.array(latency), missing


def find_offset(reader: KafkaConsumer, partition: TopicPartition, time_ms: float) -> int:
    """Of the first message from a time on, else the end."""
    found = reader.offsets_for_times({partition: int(time_ms)})[partition]
    return reader.end_offsets([partition])[partition] if found is None else found.offset


def read_window(
    reader: KafkaConsumer, partition: TopicPartition, start: int, count: int
) -> Iterator[tuple[tuple[str, int], int]]:
    """Series and time, and when it arrived, of readings in JSON; less than `count` at the end of the log."""
    reader.assign([partition])
    reader.seek(partition, start)
    end = reader.end_offsets([partition])[partition]
    while reader.position(partition) < min(start + count, end):
        for record in reader.poll(timeout_ms=1_000).get(partition, []):
            if record.offset < start + count:
                key = _decode(record.value)
                yield (key.series, key.time), record.timestamp


def find_forecasts(
    reader: KafkaConsumer, partition: TopicPartition, arrived: dict[tuple[str, int], int]
) -> dict[tuple[str, int], int]:
    """When the forecast of each reading arrived in its topic."""
    found: dict[tuple[str, int], int] = {}
    if not arrived:
        return found
    reader.assign([partition])
    reader.seek(partition, find_offset(reader, partition, min(arrived.values())))
    end = reader.end_offsets([partition])[partition]
    too_late_ms = max(arrived.values()) + FORECAST_WAIT_MS
    while len(found) < len(arrived) and reader.position(partition) < end:
        for record in reader.poll(timeout_ms=1_000).get(partition, []):
            if record.timestamp > too_late_ms:
                return found
            for key in find_keys(record.value):
                if key in arrived:
                    found.setdefault(key, record.timestamp)
    return found


def find_keys(value: bytes) -> list[tuple[str, int]]:
    """Series and time of the forecasts in a message, of either format."""
    if value.startswith(b"{"):
        key = _decode(value)
        return [(key.series, key.time)]
    table = pa.ipc.open_stream(value).read_all()
    times = table["time"].cast(pa.int64()).to_pylist()
    return list(zip(table["series"].to_pylist(), times, strict=True))


def describe_latency(latency_ms: np.ndarray) -> dict[str, float]:
    if not latency_ms.size:
        return {"readings": 0}
    p50, p90, p99, p99_9 = np.percentile(latency_ms, [50, 90, 99, 99.9]).tolist()
    return {
        "readings": latency_ms.size, "p50": p50, "p90": p90, "p99": p99, "p99.9": p99_9,
        "highest": int(latency_ms.max()),
    }  # fmt: skip


def describe_memory(samples: Samples, warm_up_s: float) -> dict[str, float]:
    warm = [rss for at, rss in zip(samples.at_s, samples.rss_mb, strict=True) if at >= warm_up_s]
    quarter = max(1, len(warm) // 4)
    first, last = statistics.median(warm[:quarter]), statistics.median(warm[-quarter:])
    return {"first": first, "last": last, "highest": max(warm), "drift": round(last / first - 1, 4)}


def find_stages(metrics: Metrics) -> dict[str, dict[str, float]]:
    count = metrics.by("stage", "stage_duration_seconds_count")
    return {
        stage: {"sum": round(total, 2), "count": count[stage]}
        for stage, total in metrics.by("stage", "stage_duration_seconds_sum").items()
    }


def find_rss(pid: int) -> int:
    """Bytes."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) * 1024 if found else 0


def find_rss_of_all(pid: int) -> int:
    """Of a process and its children: a worker, or the crew and its workers."""
    return sum(map(find_rss, find_processes(pid)))


def describe_machine() -> dict[str, Any]:
    names = re.findall(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    return {
        "cpu": names[0] if names else platform.machine(), "cores": os.cpu_count(),
        "load": [round(each, 2) for each in os.getloadavg()],
        "python": platform.python_version(), "torch": torch.__version__,
    }  # fmt: skip


if __name__ == "__main__":
    main()
