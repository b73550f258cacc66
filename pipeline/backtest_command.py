"""What `gatecast backtest` does with its options: check them, run, print, write."""

import dataclasses
import json
from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from pipeline.backtest import (
    BacktestOptions,
    EvaluatedBank,
    Outcome,
    build_bank,
    run_backtest,
)
from pipeline.config import Config, ConfigError
from pipeline.engine.intake import IntakeOptions
from pipeline.histories import History, read_history
from pipeline.printing import make_progress, print_counts, print_report
from pipeline.report.record import Recorder
from pipeline.sources.tables import TableOptions

DEFAULT_SCORE_FROM = 0.25


def run_command(
    files: Sequence[str],
    table: TableOptions,
    config: Config,
    *,
    forecasters: str | None,
    horizon: int | None,
    rows: int | None,
    warmup: float,
    score_from: float | None,
    scale: str,
    partitions: int,
    seed: int | None,
    device: str | None,
    json_path: str | None,
    forecasts: str | None,
    report: str | None = None,
    plots: str | None = None,
) -> None:
    """Raises ConfigError or TableError for what can't be run, before anything is learnt or written."""
    # One process per core is faster than two threads, and results do not depend on the number of threads.
    torch.set_num_threads(1)
    start = find_score_from(warmup, score_from, scale)
    names = tuple(name.strip() for name in forecasters.split(",")) if forecasters is not None else None
    options = dataclasses.replace(
        resolve_options(config, names, horizon),
        scale=scale,
        partitions=partitions,
        seed=config.forecasters.seed if seed is None else seed,
        device=device or config.forecasters.device,
        forecasts=forecasts,
    )
    if report or plots:
        check_drawing()
    for path in (json_path, forecasts, report):
        if path is not None and not Path(path).absolute().parent.is_dir():
            raise ConfigError(
                f"{path}: expected a file in a folder that exists; make {Path(path).parent} first"
            )
    build_bank(options, options.seed)  # refuses what can't be built before a large file is read
    notes = Console(stderr=True, highlight=False)
    history = read_history(files, table, rows=rows, warmup=warmup, score_from=start)
    for note in history.assumed:
        notes.print(f"assumed: {note}", markup=False, soft_wrap=True)
    if scale == "warmup" and (absent := np.isnan(history.find_scales())).any():
        names_left_out = ", ".join(np.array(history.series)[absent][:5])
        notes.print(
            f"without a value in the warm-up, so left out of the averages: {int(absent.sum())} series, "
            f"such as {names_left_out}",
            markup=False,
            soft_wrap=True,
        )
    outcome = _run(history, options, notes, is_recorded=bool(report or plots))
    print_counts(notes, "in the files", history.counts)
    print_counts(notes, "readings and steps", outcome.counts)
    print_report(Console(), outcome.report)
    if json_path is not None:
        text = json.dumps(outcome.report, indent=1, allow_nan=False, ensure_ascii=False)
        Path(json_path).write_text(text + "\n", encoding="utf-8")
    if outcome.recorder is not None:
        draw(outcome.report, outcome.recorder, report, plots, notes)


def find_score_from(warmup: float, score_from: float | None, scale: str) -> float:
    """The share from which targets are scored. Raises ConfigError where the shares don't fit."""
    if scale == "warmup" and warmup == 0:
        raise ConfigError(
            "--scale warmup needs rows to measure the scale, but --warmup is 0; try --scale none"
        )
    if score_from is None:
        return max(DEFAULT_SCORE_FROM, warmup)
    if score_from < warmup:
        raise ConfigError(
            f"expected --score-from of at least --warmup, which is {warmup:g}, but it is {score_from:g}; "
            "rows of the warm-up are not scored"
        )
    return score_from


def resolve_options(config: Config, names: tuple[str, ...] | None, horizon: int | None) -> BacktestOptions:
    """Defaults, over them the configuration, over that the command line.

    What the configuration leaves out keeps the default of what it configures.
    """
    models = config.forecasters
    known = {part.name for part in dataclasses.fields(IntakeOptions)}
    return BacktestOptions(
        forecasters=names or models.names,
        horizon=horizon or models.horizon,
        coverage=models.coverage,
        intake=IntakeOptions(**config.readings.model_dump(include=known, exclude_unset=True)),
        build={
            **config.learning.model_dump(exclude_unset=True),
            **models.model_dump(include={"hidden", "layers"}, exclude_unset=True),
        },
    )


def check_drawing() -> None:
    """Raises ConfigError where the library that draws is missing."""
    if find_spec("matplotlib") is None:
        raise ConfigError(
            "--report and --plots: expected matplotlib, but it is not installed; "
            "`pip install 'gatecast[report]'` brings it"
        )


def draw(
    figures: dict[str, Any], recorder: Recorder, report: str | None, plots: str | None, notes: Console
) -> None:
    """Writes the report and the PNGs that were asked for. Raises OSError."""
    from pipeline.report.page import make_report  # matplotlib takes a second to load
    from pipeline.report.pictures import list_pictures, save_png

    pictures = list_pictures(figures, recorder)
    if report is not None:
        text = make_report(figures, pictures, units=recorder.units, version=version("gatecast"))
        Path(report).write_text(text, encoding="utf-8")
        notes.print(f"report: {report}", markup=False, soft_wrap=True)
    if plots is not None:
        folder = Path(plots)
        folder.mkdir(parents=True, exist_ok=True)
        for picture in pictures:
            save_png(picture, folder)
        notes.print(f"pictures: {len(pictures)} in {plots}", markup=False, soft_wrap=True)


def _run(history: History, options: BacktestOptions, notes: Console, *, is_recorded: bool) -> Outcome:
    units = "deviations of the warm-up" if options.scale == "warmup" else "the series' own units"

    def make_recorder(bank: EvaluatedBank) -> Recorder:
        return Recorder(history, bank, coverage=options.coverage, units=units)

    with make_progress(notes) as progress:
        task = progress.add_task("backtest", total=len(history.value))
        return run_backtest(
            history,
            options,
            make_recorder=make_recorder if is_recorded else None,
            on_progress=lambda readings: progress.advance(task, readings),
        )
