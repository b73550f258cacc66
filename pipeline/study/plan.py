"""What a study consists of, and running it over processes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pipeline.engine.intake import IntakeOptions
from pipeline.histories import History, read_history
from pipeline.sources.tables import TableOptions
from pipeline.spread import spread
from pipeline.study.drills import Drill, find_chunk, run_drill
from pipeline.study.plant import make_plant
from pipeline.study.speed import measure_speed
from pipeline.study.streams import NETS, Run, run_stream

RECALL, ADDING, PLANT, FILES = "recall", "adding", "plant", "files"
TASKS = (RECALL, ADDING, PLANT)
WARMUP, SCORE_FROM = 0.2, 0.25
PLANT_HORIZON = 12
"""20 blocks of 4 H readings are the least evidence; with 12 steps ten days of the plant have them."""
LSTM_COST = 2.5
"""Seconds of an LSTM over those of an RNN, about; for the order of jobs and the progress bar only."""
SECONDS_PER_STEP = 1.2e-4
"""Of a drill, per step of a chunk; likewise."""
SECONDS_PER_READING = 1.2e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where readings come from: files, or a simulated plant where there are none."""

    files: tuple[str, ...] = ()
    table: TableOptions = field(default_factory=TableOptions)
    rows: int | None = None
    intake: IntakeOptions = field(default_factory=IntakeOptions)
    series: int = 16
    days: int = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """What is varied. lags: of recall; lengths: of adding; layers, shares: of the streams; chunk: of the
    streams."""

    tasks: tuple[str, ...] = TASKS
    seeds: int = 3
    updates: int = 400
    lags: tuple[int, ...] = (8, 16, 32, 64, 128, 256)
    lengths: tuple[int, ...] = (32, 64, 128)
    layers: tuple[int, ...] = (1, 2, 3)
    shares: tuple[float, ...] = (0.1, 0.25, 0.5, 0.75)
    horizon: int = PLANT_HORIZON
    chunk: int = 16
    repeats: int = 7


QUICK = Study(
    seeds=2, updates=150, lags=(8, 16, 32), lengths=(32,), layers=(1, 2), shares=(0.25, 0.5), repeats=3
)
"""A look in a minute or two; too little to decide much."""
QUICK_PLANT = Source(series=8, days=14)

Job = Drill | Run


def list_jobs(study: Study) -> list[Job]:
    """Every network meets the same seeds."""
    jobs: list[Job] = []
    for task, sizes in ((RECALL, study.lags), (ADDING, study.lengths)):
        if task in study.tasks:
            jobs += [
                Drill(
                    task=task, net=net, lag=size, chunk=find_chunk(task, size), seed=seed,
                    updates=study.updates,
                )
                for size in sizes
                for net in NETS
                for seed in range(study.seeds)
            ]  # fmt: skip
    if PLANT in study.tasks or FILES in study.tasks:
        settings = [(layers, 0.0) for layers in study.layers] + [(1, share) for share in study.shares]
        jobs += [
            Run(seed=seed, horizon=study.horizon, layers=layers, chunk=study.chunk, share=share)
            for layers, share in settings
            for seed in range(study.seeds)
        ]
    return jobs


def estimate(job: Job, readings: int) -> float:
    """Seconds on an idle core, roughly."""
    if isinstance(job, Drill):
        return job.readings * SECONDS_PER_STEP * (LSTM_COST if job.net == "lstm" else 1.0)
    return readings * SECONDS_PER_READING * (1 + job.layers)


@functools.cache
def load(source: Source) -> History:
    """Raises TableError."""
    if source.files:
        return read_history(
            source.files, source.table, rows=source.rows, warmup=WARMUP, score_from=SCORE_FROM
        )
    return make_plant(source.series, source.days, 0, warmup=WARMUP, score_from=SCORE_FROM)


def run_job(job: Job, source: Source) -> dict[str, Any]:
    if isinstance(job, Drill):
        return run_drill(job)
    return run_stream(load(source), job, source.intake)


def run_study(
    study: Study,
    source: Source,
    *,
    processes: int,
    on_total: Callable[[float], None] = lambda seconds: None,
    on_progress: Callable[[float], None] = lambda seconds: None,
) -> dict[str, list[dict[str, Any]]]:
    """Rows of `drills`, `streams` and `speed`, in the order of the plan whatever came first. `on_total` and
    `on_progress` hear of estimated seconds. Raises what a job raises."""
    jobs = list_jobs(study)
    streams = any(isinstance(job, Run) for job in jobs)
    readings = len(load(source).value) if streams else 0
    costs = [estimate(job, readings) for job in jobs]
    on_total(sum(costs))
    rows = spread(
        functools.partial(run_job, source=source), jobs, costs, processes=processes, on_progress=on_progress
    )
    # alone on the machine, as far as that is ours to say
    speed = [row for net in NETS for row in measure_speed(net, repeats=study.repeats)]
    return {
        "drills": [row for job, row in zip(jobs, rows, strict=True) if isinstance(job, Drill)],
        "streams": [row for job, row in zip(jobs, rows, strict=True) if isinstance(job, Run)],
        "speed": speed,
    }
