"""Values of the messages that are sent: forecasts and alerts as JSON, headers of dead letters.

Letters of dimensions: N rows of a wave, E forecasters, H steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import orjson

from pipeline.kafka_options import EmitterOptions
from pipeline.records import Alert, Forecasts, Messages, Rejected

LEADER = "leader"  # the column whose forecasters `Forecasts.followed` names
VERSION = 1  # of forecasts and of alerts
MAX_INDICES = 100  # refused readings named in a dead letter
CUT_BYTES = 1024  # of the value of a message too large to be sent again

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What of a wave is sent."""

    rows: npt.NDArray[np.intp]  # [N]
    forecasters: tuple[tuple[int, str], ...]  # place in the wave and name
    steps: npt.NDArray[np.int64]  # steps ahead, from 1

    @property
    def is_empty(self) -> bool:
        return not (self.rows.size and self.forecasters and self.steps.size)


def select(forecasts: Forecasts, options: EmitterOptions) -> Selection:
    """Every n-th is counted on the series' grid, so that a replay sends the same."""
    steps = _choose_steps(forecasts.mean.shape[2], options.steps)
    wanted = [
        (at, name)
        for at, name in enumerate(forecasts.forecasters)
        if not options.forecasters or name in options.forecasters
    ]
    if options.every == 1:
        rows = np.arange(len(forecasts.series))
    else:
        place = forecasts.event_time_ms // np.maximum(forecasts.step_ms, 1)
        rows = np.flatnonzero(place % options.every == 0)
    return Selection(rows=rows, forecasters=tuple(wanted), steps=steps)


@lru_cache(maxsize=8)
def _choose_steps(horizon: int, wanted: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """The same for every wave; nobody writes into it."""
    steps = np.array([step for step in range(1, horizon + 1) if not wanted or step in wanted], np.int64)
    steps.flags.writeable = False
    return steps


def encode_json(forecasts: Forecasts, chosen: Selection) -> Iterator[tuple[int, bytes]]:
    """Row of the wave and value of each message; a float32 is written in as few digits as name it."""
    steps = chosen.steps.tolist()
    for at, name in chosen.forecasters:
        mean, lower, upper = (
            np.ascontiguousarray(bound[chosen.rows, at][:, chosen.steps - 1])
            for bound in (forecasts.mean, forecasts.lower, forecasts.upper)
        )
        times = forecasts.event_time_ms[chosen.rows].tolist()
        cadences = forecasts.step_ms[chosen.rows].tolist()
        for n, row in enumerate(chosen.rows.tolist()):
            message = {
                "version": VERSION,
                "series": forecasts.series[row],
                "time": times[n],
                "forecaster": forecasts.followed[row] if name == LEADER else name,
                "step_ms": cadences[n],
                "steps": steps,
                "mean": mean[n],
                "lower": lower[n],
                "upper": upper[n],
            }
            yield row, orjson.dumps(message, option=orjson.OPT_SERIALIZE_NUMPY)


def encode_alert(alert: Alert, options: EmitterOptions) -> bytes:
    """The fields of the record, and which software with which configuration says so."""
    found: dict[str, Any] = {field.name: getattr(alert, field.name) for field in fields(alert)}
    found["labels"] = dict(alert.labels)
    return _encode({"version": VERSION, **found, "software": options.software, "config": options.config})


def list_letter_headers(messages: Messages, refused: Rejected) -> list[tuple[str, bytes]]:
    """Headers of the message, unchanged, and why it is here. A header without a value gets an empty one: the
    library can't send none."""
    at = refused.message
    own = {
        "gatecast-reasons": ",".join(refused.reasons[:MAX_INDICES]),
        "gatecast-indices": ",".join(map(str, refused.indices[:MAX_INDICES])),
        "gatecast-topic": messages.topic,
        "gatecast-partition": str(messages.partition),
        "gatecast-offset": str(messages.offset[at]),
    }
    kept = [(key, value or b"") for key, value in messages.headers[at]]
    return kept + [(key, value.encode()) for key, value in own.items()]
