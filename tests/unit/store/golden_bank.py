"""The bank of the golden checkpoints, and how one is written: once for a new format, never for an old one.

PYTHONPATH=. .venv/bin/python tests/unit/store/golden_bank.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from forecasters import Bank, Result, build
from forecasters.anomaly import AlertOptions
from pipeline.store import open_store
from pipeline.store.manifests import FORMAT

GOLDEN = Path(__file__).parent / "golden"
GROUP, TOPIC, TOPIC_ID = "gatecast", "gatecast.readings", "goldenTopicId"
SERIES, READINGS = ("boiler/1/temp", "boiler/2/temp"), 60
CADENCE_MS = 3_600_000


def make_bank() -> Bank:
    names = ("naive", "seasonal_naive", "linear", "rnn", "blend")
    alerts = AlertOptions(champion="blend")
    return build(names, horizon=2, seed=5, device="cpu", chunk=2, replay=1, pool=2, hidden=2, alerts=alerts)


def feed(bank: Bank, first: int, last: int) -> list[Result]:
    slots = np.arange(len(SERIES))
    return [
        bank.step(
            slots, np.full(len(SERIES), t * CADENCE_MS), 20 + slots + np.sin(2 * np.pi * (t + slots) / 24)
        )
        for t in range(first, last)
    ]


def main() -> None:
    torch.set_num_threads(1)
    bank = make_bank()
    bank.add(SERIES, cadence_ms=CADENCE_MS, season_ms=24 * CADENCE_MS)
    feed(bank, 0, READINGS)
    facts = {
        "num_partitions": 1,
        "signatures": bank.signatures(),
        "counts": {"series": len(SERIES), "readings_learned": len(SERIES) * READINGS},
    }
    store = open_store(str(GOLDEN / f"format-{FORMAT}"), GROUP, TOPIC)
    print(store.write(TOPIC_ID, 0, len(SERIES) * READINGS, bank.save(), facts))


if __name__ == "__main__":
    main()
