"""The stack that many begin with, as the yardstick of end-to-end: kafka-python, json, one network per sensor.

For each record: `json.loads`, forecast and train that sensor's own `nn.LSTM` on its window of 32 values (as
River-style libraries around PyTorch do), set a labelled gauge, send the forecast as JSON.
"""

from __future__ import annotations

import json
import time
from collections import deque

import torch
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from prometheus_client import CollectorRegistry, Gauge

HIDDEN = 32
WINDOW = 32


class Sensor:
    """One sensor's network, its optimizer and its window."""

    def __init__(self) -> None:
        self.net = torch.nn.LSTM(1, HIDDEN, batch_first=True)
        self.head = torch.nn.Linear(HIDDEN, 1)
        self.adam = torch.optim.Adam([*self.net.parameters(), *self.head.parameters()], lr=1e-3)
        self.values: deque[float] = deque(maxlen=WINDOW + 1)

    def step(self, value: float) -> float:
        """Learn from the value, forecast the next one."""
        self.values.append(value)
        if len(self.values) <= WINDOW:
            return value
        window = torch.tensor(self.values, dtype=torch.float32)
        x, y = window[:-1].view(1, WINDOW, 1), window[1:].view(1, WINDOW, 1)
        self.adam.zero_grad()
        torch.nn.functional.mse_loss(self.head(self.net(x)[0]), y).backward()
        self.adam.step()
        with torch.no_grad():
            return float(self.head(self.net(window[1:].view(1, WINDOW, 1))[0][0, -1]))


def run_stack(bootstrap: str, topic: str, forecasts_topic: str, seconds: float) -> float:
    """Readings per second, once windows are full; on one thread."""
    torch.manual_seed(0)
    gauge = Gauge("forecast", "The next value.", ["series"], registry=CollectorRegistry())
    sensors: dict[str, Sensor] = {}
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    consumer.assign([TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)])
    done, start = 0, 0.0
    with KafkaProducer(bootstrap_servers=bootstrap, linger_ms=5) as producer:
        while True:
            for records in consumer.poll(timeout_ms=100, max_records=500).values():
                for record in records:
                    reading = json.loads(record.value)
                    series = reading["series"]
                    sensor = sensors.setdefault(series, Sensor())
                    forecast = sensor.step(reading["value"])
                    gauge.labels(series).set(forecast)
                    value = {
                        "series": series,
                        "time": reading["time"],
                        "forecaster": "lstm",
                        "mean": [forecast],
                    }
                    producer.send(forecasts_topic, json.dumps(value).encode(), key=series.encode())
                    if len(sensor.values) <= WINDOW:
                        continue
                    start = start or time.perf_counter()
                    done += 1
            if start and time.perf_counter() - start > seconds:
                consumer.close()
                return done / (time.perf_counter() - start)
