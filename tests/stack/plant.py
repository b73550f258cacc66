"""A small plant that sends a reading of each sensor at every step, in real time, and can be made to fail."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Mapping

from kafka import KafkaProducer

CADENCE_MS = 500
HISTORY = 160
"""Readings of each sensor before the present: a series raises alerts once it is warm."""
TI, FI = "Nord/Reactor 2/TI-4711", 'Nord/Boiler "3"/Ö\\FI-7'
SERIES = (TI, FI, *(f"Nord/Reactor 2/PI-{number}" for number in range(10)))
SERIES_FILE = f"""\
match,name,unit,site,area,owner,severity,min,max
{TI},TI-4711,°C,Nord,Reactor 2,process,page,0,150
*FI-7,Feed <b>flow</b>,m³/h,Nord,Boiler house,maintenance-system,page,0,150
*,,bar,Nord,Reactor 2,process,ticket,0,150
"""


class Plant:
    """Sends from `with` to its end."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._topic = topic
        self._producer = KafkaProducer(bootstrap_servers=bootstrap)
        self._faults: dict[str, float] = {}
        self._step = int(time.time() * 1000) // CADENCE_MS - HISTORY
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="plant", daemon=True)

    def __enter__(self) -> Plant:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(30)
        self._producer.close()

    def fail(self, faults: Mapping[str, float]) -> float:
        """From the next step on these sensors say so; seconds since the epoch."""
        self._faults = dict(faults)
        return time.time()

    def heal(self) -> float:
        self._faults = {}
        return time.time()

    def _run(self) -> None:
        while not self._over.is_set():
            wait_s = self._step * CADENCE_MS / 1000 - time.time()
            if wait_s > 0:
                self._over.wait(wait_s)
            for number, series in enumerate(SERIES):
                value = self._faults.get(series, 60 + number + 5 * math.sin(self._step / (7 + number)))
                row = {"series": series, "time": self._step * CADENCE_MS, "value": value}
                self._producer.send(self._topic, key=series.encode(), value=json.dumps(row).encode())
            self._step += 1
