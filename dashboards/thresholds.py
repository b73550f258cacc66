"""`thresholds.toml`, read and checked: the one place that rules, rule tests and panels take numbers from."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError

from pipeline.config.errors import ConfigError, suggest

FILE = Path(__file__).with_name("thresholds.toml")
_UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_DURATION = re.compile(r"([1-9][0-9]*)([smhd])")


class Duration(str):
    """A whole number with one unit, as Prometheus writes it."""

    @property
    def seconds(self) -> int:
        found = _DURATION.fullmatch(self)
        assert found is not None
        return int(found[1]) * _UNITS_S[found[2]]


def _check_duration(value: object) -> Duration:
    if not isinstance(value, str) or _DURATION.fullmatch(value) is None:
        raise ValueError('a duration such as "30s", "10m" or "6h"')
    return Duration(value)


Time = Annotated[Duration, PlainValidator(_check_duration)]
Ratio = Annotated[float, Field(gt=0, lt=1)]
Above0 = Annotated[float, Field(gt=0)]
Url = Annotated[str, Field(pattern=r"^https?://.*[^/]$")]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True)


class _Held(_Part):
    """A rule that waits before it fires and after it no longer holds. `for` is a word of Python."""

    hold: Time = Field(alias="for")
    keep: Time


class Score(_Part):
    page: float
    note: float


class Links(_Part):
    grafana: Url
    runbooks: Url


class SensorAlert(_Part):
    keep: Time


class IntervalMisses(_Held):
    nominal: Ratio
    low: Ratio
    high: Ratio
    fewest: Above0
    window: Time


class Networks(_Held):
    skill: Annotated[float, Field(lt=1)]


class TrainingSkipped(_Held):
    ratio: Ratio
    window: Time


class GradientNorm(_Held):
    norm: Above0
    window: Time


class Rejected(_Held):
    ratio: Ratio
    window: Time


class Counted(_Part):
    """A counter that should stand still."""

    window: Time


class Lag(_Held):
    records: Above0
    window: Time


class Latency(_Held):
    goal_seconds: Above0
    seconds: Above0
    window: Time


class Stalled(_Held):
    window: Time


class CheckpointAge(_Held):
    seconds: Above0


class CheckpointFailures(_Part):
    count: Above0
    window: Time
    keep: Time


class Thresholds(_Part):
    """All sections of the file; what they mean stands there."""

    score: Score
    links: Links
    sensor_alert: SensorAlert
    interval_misses: IntervalMisses
    networks: Networks
    training_skipped: TrainingSkipped
    gradient_norm: GradientNorm
    rejected: Rejected
    lost: Counted
    dead_letters: Counted
    alerts_dropped: Counted
    lag: Lag
    latency: Latency
    stalled: Stalled
    unserved: _Held
    checkpoint_age: CheckpointAge
    checkpoint_failures: CheckpointFailures
    worker_absent: _Held


def read_thresholds(path: str | os.PathLike[str] = FILE) -> Thresholds:
    """Raises ConfigError: one sentence that names file, section and key."""
    name = os.fspath(path)
    try:
        with open(name, "rb") as file:
            data = tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"{name}: expected a readable file of thresholds ({error.strerror})") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name}: expected TOML, but {error}") from error
    try:
        found = Thresholds.model_validate(data)
    except ValidationError as error:
        faults = error.errors()
        # A key that is not known says more than that another one is missing.
        first = next((fault for fault in faults if fault["type"] == "extra_forbidden"), faults[0])
        raise ConfigError(f"{name}: {_explain(first)}") from None
    misses = found.interval_misses
    if not misses.low < misses.nominal < misses.high:
        raise ConfigError(
            f"{name}: interval_misses: expected low < nominal < high, found {misses.low:g}, "
            f"{misses.nominal:g} and {misses.high:g}"
        )
    if found.score.page != 1.0:
        raise ConfigError(
            f"{name}: score.page: expected 1.0, found {found.score.page:g}; workers publish scores such that "
            "1.0 pages, what does is set by alerts.budget"
        )
    return found


def _explain(error: Any) -> str:
    place = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        *above, wrong = error["loc"]
        model: Any = Thresholds
        for part in above:
            model = model.model_fields[part].annotation
        known = [field.alias or key for key, field in model.model_fields.items()]
        return f"unknown key {place!r}; {suggest(str(wrong), known)}"
    if error["type"] == "missing":
        return f"expected {place}, but it is not there"
    words = error["msg"].removeprefix("Value error, ")
    expected = words if words != error["msg"] else words.removeprefix("Input should be ")
    return f"{place}: expected {expected}, found {error['input']!r}"
