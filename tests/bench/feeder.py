"""Sends readings at a constant rate, at a twentieth of the processor time that `gatecast simulate` takes.

    python -m tests.bench.feeder --bootstrap … --topic … --series 1000 --rate 16000 --seconds 240

For measurements of latency near the peak on a machine that generator, broker and workers share. One JSON
message a reading, noise around a level, event times on a grid of their series; through confluent-kafka.
"""

from __future__ import annotations

import argparse
import time

import confluent_kafka
import numpy as np

from pipeline.benches.readings import name_series
from pipeline.placement import find_partition

FLUSH_S = 30.0
BURST_S = 0.01
"""Between two bursts."""
DRAWN = 1 << 16


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--partitions", type=int, required=True)
    parser.add_argument("--series", type=int, required=True)
    parser.add_argument(
        "--rate", type=float, required=True, help="readings a second; the cadence is of whole milliseconds"
    )
    parser.add_argument("--seconds", type=float, required=True)
    feed(parser.parse_args())


def feed(options: argparse.Namespace) -> None:
    names = name_series(options.series)
    heads = [b'{"series":"%b","time":' % name.encode() for name in names]
    keys = [name.encode() for name in names]
    partitions = [find_partition(name, options.partitions) for name in names]
    noise = np.random.default_rng(0).normal(0, 0.2, DRAWN).tolist()
    producer = confluent_kafka.Producer({"bootstrap.servers": options.bootstrap, "linger.ms": 5})
    cadence_ms = max(round(1000 * options.series / options.rate), 1)
    each_s = cadence_ms / 1000 / options.series
    level = [20 + 5 * np.sin(2 * np.pi * k / options.series) for k in range(options.series)]
    begun_s, sent = time.time(), 0
    while (spent := time.time() - begun_s) < options.seconds:
        for number in range(sent, int(spent / each_s)):
            turn, at = divmod(number, options.series)
            now_ms = int(1000 * begun_s) + turn * cadence_ms + at * cadence_ms // options.series
            value = heads[at] + b'%d,"value":%.3f}' % (now_ms, level[at] + noise[number % DRAWN])
            producer.produce(options.topic, value, keys[at], partitions[at])
            sent = number + 1
        producer.poll(0)
        time.sleep(BURST_S)
    if left := producer.flush(FLUSH_S):
        raise SystemExit(f"feeder: {left} of {sent} readings were not taken within {FLUSH_S:.0f} s")


if __name__ == "__main__":
    main()
