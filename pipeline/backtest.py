"""The backtest: history through the engine that runs live, evaluated at all steps, prequentially."""

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch

from forecasters import Result, build
from forecasters.anomaly import Alarms, AlertOptions
from forecasters.backlog import MOST_WAVES
from forecasters.comparison import Comparison
from forecasters.errors import Float64Array, Int64Array, PathErrors
from forecasters.irregular import Bands
from forecasters.verdict import Evidence
from pipeline.alert_log import AlertLog, Episode, ScoreRows, format_time
from pipeline.config import ConfigError
from pipeline.engine.engine import Bank, Engine, Wave
from pipeline.engine.intake import Intake, IntakeOptions
from pipeline.evidence import list_comparisons, list_masked, say_who_leads
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
    alerts: AlertOptions | None = None  # None: readings are not judged
    keep_scores: bool = False  # of every reading, for --alerts
    forecasts: str | None = None  # path of a Parquet file to write


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """``report`` is what --json writes; ``counts`` are fates of readings by name."""

    report: dict[str, Any]
    counts: Mapping[str, int]
    recorder: Recorder | None = None
    part: "Part | None" = None


class EvaluatedBank(Bank[Result], Protocol):
    """What a backtest needs of a bank beyond what the engine needs."""

    names: tuple[str, ...]
    nets: list[str]
    models: dict[str, Any]
    scored: tuple[int, ...]
    device: torch.device

    @property
    def ids(self) -> list[str]: ...  # by slot
    @property
    def comparison(self) -> Comparison | None: ...

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
        self.alerts = AlertLog(history, options.keep_scores)
        self._rows: list[Int64Array] = []  # of the history, by reading
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

    def find_round_end(self, event_time_ms: Int64Array, masked: BoolArray) -> int | None:
        return self.bank.find_round_end(event_time_ms, masked)

    def end_round(self) -> None:
        self.bank.end_round()

    def hear_clock(self, clock_ms: int) -> None:
        self.bank.hear_clock(clock_ms)

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

    def take(self, rows: Int64Array, readings: Readings) -> Iterator[Wave[Result]]:
        """Step through readings that are these rows of the history; draw all."""
        self._rows.append(rows)
        return self.engine.process(readings)

    def _find_rows(self, reading: Int64Array) -> Int64Array:
        if len(self._rows) > 1:
            self._rows = [np.concatenate(self._rows)]
        return np.where(reading >= 0, self._rows[0][np.maximum(reading, 0)], -1)

    def evaluate(
        self, waves: Iterator[Wave[Result]], file: ForecastFile | None, recorder: Recorder | None
    ) -> None:
        """Draw the waves and score each; the forecasts of a wave come to the host here, once."""
        judged: list[tuple[Int64Array, Callable[[], Alarms]]] = []
        for wave in waves:
            result = wave.result
            mean, lower, upper = (t.cpu().numpy() for t in (result.mean, result.lower, result.upper))
            bounds = (mean, lower, upper)
            series = self.series[wave.slots]
            counted = wave.event_time_ms >= self._history.scored_origin_ms[series]
            self.errors.add(wave.slots, wave.value, wave.masked, mean, lower, upper, counted)
            if result.find_alarms is not None:
                judged.append((self._find_rows(wave.reading), result.find_alarms))
            if len(judged) >= MOST_WAVES:
                self._log_alarms(judged)
            if file is not None:
                names = [self._history.series[at] for at in series]
                file.write(names, wave.event_time_ms, self.cadence_ms[wave.slots], bounds)
            if recorder is not None:
                recorder.add(series, self.cadence_ms[wave.slots], wave, bounds)
        self._log_alarms(judged)

    def _log_alarms(self, judged: list[tuple[Int64Array, Callable[[], Alarms]]]) -> None:
        for rows, find_alarms in judged:
            self.alerts.add(rows, find_alarms())
        judged.clear()


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
                here, readings = _select(history, rows, partition, number)
                if here.size:
                    shard.evaluate(shard.take(here, readings), file, recorder)
            on_progress(rows.stop - rows.start)
        for shard in shards:
            shard.evaluate(shard.engine.finish(), file, recorder)
    seconds = time.perf_counter() - started
    counts = sum((Counter(shard.intake.counts) for shard in shards), Counter[str]())
    if recorder is not None:
        recorder.finish(shards[0].bank)
    part = _conclude(history, options, shards, counts)
    return Outcome(
        report=build_report([part], options, seconds), counts=dict(counts), recorder=recorder, part=part
    )


def build_bank(options: BacktestOptions, seed: int) -> EvaluatedBank:
    """Raises ConfigError for what ``forecasters.build`` refuses."""
    try:
        return build(
            options.forecasters,
            horizon=options.horizon,
            seed=seed,
            device=options.device,
            coverage=options.coverage,
            alerts=options.alerts,
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


def _select(history: History, rows: slice, partition: Int64Array, number: int) -> tuple[Int64Array, Readings]:
    index, times, values = history.series_index[rows], history.event_time_ms[rows], history.value[rows]
    here = partition[index] == number
    readings = Readings(
        series=history.series, series_index=index[here], event_time_ms=times[here], value=values[here]
    )
    return np.flatnonzero(here) + rows.start, readings


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What became of one history: all that the report is made of, without the banks. Can be pickled."""

    files: tuple[str, ...]
    series: int
    readings: int
    scored_from_ms: int
    until_ms: int
    names: tuple[str, ...]
    parameters: Mapping[str, int]
    spent: Mapping[str, float]  # seconds by forecaster
    device: str
    errors: PathErrors
    scale_by_slot: Float64Array
    evidence: Sequence[Evidence]
    bands: Sequence[Bands]
    counts: Mapping[str, int]
    episodes: Sequence[Episode]
    scores: ScoreRows | None


def _conclude(
    history: History, options: BacktestOptions, shards: Sequence[Shard], counts: Mapping[str, int]
) -> Part:
    scales = history.find_scales() if options.scale == "warmup" else np.ones(len(history.series))
    names = shards[0].bank.names
    episodes = [e for shard in shards for e in shard.alerts.list_episodes(history.scored_from_ms)]
    log = AlertLog(history, options.keep_scores)
    log.take(shard.alerts for shard in shards)
    return Part(
        files=history.files,
        series=len(history.series),
        readings=len(history.value),
        scored_from_ms=history.scored_from_ms,
        until_ms=int(history.event_time_ms[-1]),
        names=names,
        parameters={name: shards[0].bank.parameters(name) for name in names},
        spent={name: sum(shard.bank.seconds(name) for shard in shards) for name in names},
        device=str(shards[0].bank.device),
        errors=shards[0].errors.join([s.errors for s in shards[1:]], [len(s.series) for s in shards]),
        scale_by_slot=np.concatenate([scales[shard.series] for shard in shards]),
        evidence=[shard.bank.comparison.summary() for shard in shards if shard.bank.comparison],
        bands=[shard.bank.comparison.irregular.summary() for shard in shards if shard.bank.comparison],
        counts=dict(counts),
        episodes=sorted(episodes, key=lambda e: (e.first_ms, e.series)),
        scores=log.columns(episodes) if options.keep_scores else None,
    )


def build_report(parts: Sequence[Part], options: BacktestOptions, seconds: float) -> dict[str, Any]:
    """What --json writes of histories that were forecast by shards of their own."""
    first, rest = parts[0], parts[1:]
    errors = first.errors.join([part.errors for part in rest], [len(part.scale_by_slot) for part in parts])
    figures = errors.summary(first.names, np.concatenate([part.scale_by_slot for part in parts]))
    evidence = [one for part in parts for one in part.evidence]
    spent = {name: sum(part.spent[name] for part in parts) for name in first.names}
    forecasters = {
        name: {"parameters": first.parameters[name], "seconds": round(spent[name], 3), **figures[name]}
        for name in first.names
    }
    readings = sum(part.readings for part in parts)
    episodes = [episode for part in parts for episode in part.episodes]
    return {
        "version": VERSION,
        "files": [file for part in parts for file in part.files],
        "series": sum(part.series for part in parts),
        "readings": readings,
        "scored_from": format_time(min(part.scored_from_ms for part in parts)),
        "horizon": options.horizon,
        "seed": options.seed,
        "device": first.device,
        "seconds": round(seconds, 3),
        "readings_per_second": round(readings / seconds, 1),
        "forecasters": forecasters,
        "comparison": list_comparisons(evidence),
        "masked": list_masked([bands for part in parts for bands in part.bands]),
        "sentence": say_who_leads(evidence, spent),
        "alerts": [
            {"series": e.series, "time": format_time(e.first_ms), "score": round(e.score, 3)}
            for e in episodes
        ],
    }
