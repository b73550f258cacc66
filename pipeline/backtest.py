"""The backtest: history through the engine that runs live, evaluated at all steps, prequentially."""

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

import numpy as np
import torch

from forecasters import Result, build
from forecasters.comparison import Comparison
from forecasters.errors import Float64Array, Int64Array, PathErrors
from pipeline.config import ConfigError
from pipeline.engine.engine import Bank, Engine, Wave
from pipeline.engine.intake import Intake, IntakeOptions
from pipeline.evidence import list_comparisons, say_who_leads
from pipeline.forecast_file import ForecastFile
from pipeline.histories import History
from pipeline.placement import find_partition
from pipeline.records import BoolArray, Readings
from pipeline.report.record import Recorder

VERSION = 1
DEFAULT_FORECASTERS = ("naive", "seasonal_naive", "linear", "rnn", "lstm", "blend")
DEFAULT_HORIZON = 24
DEFAULT_COVERAGE = 0.9
# Enough to keep the cost of a batch small beside its waves, few enough for a lively progress bar.
TIMES_PER_BATCH = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestOptions:
    """What a backtest does with a history; shares of rows are marked in the history itself."""

    forecasters: tuple[str, ...] = DEFAULT_FORECASTERS
    horizon: int = DEFAULT_HORIZON
    coverage: float = DEFAULT_COVERAGE
    scale: str = "warmup"  # or none
    partitions: int = 1
    seed: int = 0
    device: str = "auto"
    intake: IntakeOptions = field(default_factory=IntakeOptions)
    build: Mapping[str, Any] = field(default_factory=dict)  # further options of forecasters.build
    forecasts: str | None = None  # path of a Parquet file to write


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """``report`` is what --json writes; ``counts`` are fates of readings by name."""

    report: dict[str, Any]
    counts: Mapping[str, int]
    recorder: Recorder | None = None


class EvaluatedBank(Bank[Result], Protocol):
    """What a backtest needs of a bank beyond what the engine needs."""

    names: tuple[str, ...]
    ids: list[str]  # by slot
    nets: list[str]
    models: dict[str, Any]
    scored: tuple[int, ...]
    device: torch.device
    comparison: Comparison | None

    def parameters(self, name: str) -> int: ...
    def seconds(self, name: str) -> float: ...


class Shard:
    """One partition: a bank in its engine, and the errors of its series.

    Stands between engine and bank to hear of cadences and of restarts: a restart drops pending forecasts here
    exactly where the bank drops them.
    """

    def __init__(self, bank: EvaluatedBank, history: History, options: BacktestOptions) -> None:
        self.bank = bank
        self.intake = Intake(options.intake, self)
        self.engine: Engine[Result] = Engine(self, self.intake)
        self.errors = PathErrors(len(bank.names), options.horizon, options.coverage)
        self.cadence_ms = np.zeros(0, np.int64)  # by slot
        self.series = np.zeros(0, np.int64)  # by slot: place in history.series
        self._history = history
        self._place = {name: at for at, name in enumerate(history.series)}

    def add(
        self, ids: Sequence[str], *, cadence_ms: int | Sequence[int], season_ms: int | Sequence[int]
    ) -> Int64Array:
        slots = self.bank.add(ids, cadence_ms=cadence_ms, season_ms=season_ms)
        cadences = np.broadcast_to(np.asarray(cadence_ms, np.int64), len(ids))
        self.cadence_ms = np.concatenate([self.cadence_ms, cadences])
        self.series = np.array([self._place[name] for name in self.bank.ids], np.int64)
        return slots

    @property
    def readings_to_tick(self) -> int:
        return self.bank.readings_to_tick

    def restart(self, slots: Int64Array) -> None:
        self.bank.restart(slots)
        self.errors.restart(slots)

    def step(
        self,
        slots: Int64Array,
        event_time_ms: Int64Array,
        values: Float64Array,
        mask: BoolArray | None = None,
        filled: Int64Array | None = None,
    ) -> Result:
        if filled is not None:
            self.errors.pass_over(slots, filled)
        return self.bank.step(slots, event_time_ms, values, mask, filled)

    def evaluate(
        self, waves: Iterator[Wave[Result]], file: ForecastFile | None, recorder: Recorder | None
    ) -> None:
        """Draw the waves and score each; the forecasts of a wave come to the host here, once."""
        for wave in waves:
            result = wave.result
            mean, lower, upper = (t.cpu().numpy() for t in (result.mean, result.lower, result.upper))
            bounds = (mean, lower, upper)
            series = self.series[wave.slots]
            counted = wave.event_time_ms >= self._history.scored_origin_ms[series]
            self.errors.add(wave.slots, wave.value, wave.masked, mean, lower, upper, counted)
            if file is not None:
                names = [self._history.series[at] for at in series]
                file.write(names, wave.event_time_ms, self.cadence_ms[wave.slots], bounds)
            if recorder is not None:
                recorder.add(series, self.cadence_ms[wave.slots], wave, bounds)


def run_backtest(
    history: History,
    options: BacktestOptions,
    *,
    make_bank: Callable[[BacktestOptions, int], EvaluatedBank] | None = None,
    make_recorder: Callable[[EvaluatedBank], Recorder] | None = None,
    on_progress: Callable[[int], None] = lambda readings: None,
) -> Outcome:
    """Take the history through as many shards as there are partitions.

    ``on_progress`` hears of the number of readings of each finished batch; ``make_recorder`` is given
    the bank of the first shard, and what it makes hears of every wave. Raises ConfigError for options that no
    bank can be built from.
    """
    make = make_bank or build_bank
    shards = [
        Shard(make(options, derive_seed(options.seed, partition)), history, options)
        for partition in range(options.partitions)
    ]
    partition = np.array([find_partition(name, len(shards)) for name in history.series])
    recorder = make_recorder(shards[0].bank) if make_recorder else None
    started = time.perf_counter()
    with ExitStack() as stack:
        file = None
        if options.forecasts is not None:
            file = stack.enter_context(ForecastFile(options.forecasts, shards[0].bank.names))
        for rows in history.cut(TIMES_PER_BATCH):
            for number, shard in enumerate(shards):
                if readings := _select(history, rows, partition, number):
                    shard.evaluate(shard.engine.process(readings), file, recorder)
            on_progress(rows.stop - rows.start)
        for shard in shards:
            shard.evaluate(shard.engine.finish(), file, recorder)
    seconds = time.perf_counter() - started
    counts = sum((Counter(shard.intake.counts) for shard in shards), Counter[str]())
    if recorder is not None:
        recorder.finish(shards[0].bank)
    report = _report(history, options, shards, seconds)
    return Outcome(report=report, counts=dict(counts), recorder=recorder)


def build_bank(options: BacktestOptions, seed: int) -> EvaluatedBank:
    """Raises ConfigError for what ``forecasters.build`` refuses."""
    try:
        return build(
            options.forecasters,
            horizon=options.horizon,
            seed=seed,
            device=options.device,
            coverage=options.coverage,
            **options.build,
        )
    except ValueError as error:
        raise ConfigError(str(error)) from error
    except (RuntimeError, AssertionError) as error:  # of torch, for a device that it does not have
        reason = str(error).splitlines()[0]
        raise ConfigError(f"device {options.device!r} can't be used ({reason}); try cpu") from error


def derive_seed(seed: int, partition: int) -> int:
    """The seed of a shard, live as here: 63 bits, so that it fits a signed integer."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{partition}".encode()).digest()[:8], "big") >> 1


def _select(history: History, rows: slice, partition: Int64Array, number: int) -> Readings | None:
    index, times, values = history.series_index[rows], history.event_time_ms[rows], history.value[rows]
    here = partition[index] == number
    if not here.any():
        return None
    return Readings(
        series=history.series, series_index=index[here], event_time_ms=times[here], value=values[here]
    )


def _join_errors(shards: Sequence[Shard], scales: Float64Array) -> tuple[PathErrors, Float64Array]:
    """The errors of all shards as one, with the scale of each of its slots."""
    joined = shards[0].errors.join([shard.errors for shard in shards[1:]], [len(s.series) for s in shards])
    return joined, np.concatenate([scales[shard.series] for shard in shards])


def _report(
    history: History, options: BacktestOptions, shards: Sequence[Shard], seconds: float
) -> dict[str, Any]:
    scales = history.find_scales() if options.scale == "warmup" else np.ones(len(history.series))
    errors, scale_by_slot = _join_errors(shards, scales)
    names, readings = shards[0].bank.names, len(history.value)
    figures = errors.summary(names, scale_by_slot)
    evidence = [shard.bank.comparison.summary() for shard in shards if shard.bank.comparison]
    spent = {name: sum(shard.bank.seconds(name) for shard in shards) for name in names}
    forecasters = {
        name: {
            "parameters": shards[0].bank.parameters(name),
            "seconds": round(spent[name], 3),
            **figures[name],
        }
        for name in names
    }
    scored_from = datetime.fromtimestamp(history.scored_from_ms / 1000, UTC)
    return {
        "version": VERSION,
        "files": list(history.files),
        "series": len(history.series),
        "readings": readings,
        "scored_from": scored_from.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "horizon": options.horizon,
        "seed": options.seed,
        "device": str(shards[0].bank.device),
        "seconds": round(seconds, 3),
        "readings_per_second": round(readings / seconds, 1),
        "forecasters": forecasters,
        "comparison": list_comparisons(evidence),
        "sentence": say_who_leads(evidence, spent),
    }
