"""What `gatecast backtest` does with its options: check them, run, print, write."""

import dataclasses
import json
import time
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from forecasters.anomaly import AlertOptions
from pipeline.alert_log import write_scores
from pipeline.alert_quality import find_windows, measure, read_labels
from pipeline.backtest import (
    BacktestOptions,
    EvaluatedBank,
    Outcome,
    Part,
    build_bank,
    build_report,
    run_backtest,
)
from pipeline.backtest_files import FileShare, expand_folders, label_part, run_files
from pipeline.config import Config, ConfigError
from pipeline.config.learning import LEADER, choose_first
from pipeline.engine.intake import IntakeOptions
from pipeline.histories import History, read_history
from pipeline.one_core import use_one_core
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
    scale: str | None,
    partitions: int,
    seed: int | None,
    device: str | None,
    json_path: str | None,
    forecasts: str | None,
    report: str | None = None,
    plots: str | None = None,
    labels: str | None = None,
    alerts: str | None = None,
    champion: str | None = None,
) -> None:
    """Raises ConfigError or TableError for what can't be run, before anything is learnt or written."""
    use_one_core()
    scale = scale or ("warmup" if warmup else "none")
    start = find_score_from(warmup, score_from, scale)
    names = tuple(name.strip() for name in forecasters.split(",")) if forecasters is not None else None
    options = dataclasses.replace(
        resolve_options(config, names, horizon),
        scale=scale,
        partitions=partitions,
        seed=config.forecasters.seed if seed is None else seed,
        device=device or config.forecasters.device,
        forecasts=forecasts,
        keep_scores=alerts is not None,
    )
    options = dataclasses.replace(options, alerts=resolve_alerts(config, options.forecasters, champion))
    found, is_folder = expand_folders(files)
    by_file = labels is not None or is_folder
    windows = None if labels is None else read_labels(labels)
    if windows is not None:
        for name in found:
            find_windows(windows, name, str(labels))
    if by_file and (report or plots or forecasts or partitions > 1):
        raise ConfigError(
            "expected no --report, --plots, --forecasts or --partitions with --labels or a folder, where "
            "each file is a shard of its own; give the files without --labels"
        )
    if report or plots:
        check_drawing()
    _check_folders(json_path, forecasts, report, alerts)
    build_bank(options, options.seed)  # refuses what can't be built before a large file is read
    notes = Console(stderr=True, highlight=False)
    if by_file:
        share = FileShare(table=table, rows=rows, warmup=warmup, score_from=start)
        begun = time.perf_counter()
        parts = _run_files(found, share, options, notes)
        printed = build_report(parts, options, time.perf_counter() - begun)
        if windows is not None:
            printed["alert_quality"] = measure([label_part(part, windows, str(labels)) for part in parts])
        print_counts(notes, "readings and steps", sum((Counter(p.counts) for p in parts), Counter()))
        _tell(printed, json_path)
        _write_scores(alerts, parts)
        return
    history = read_history(found, table, rows=rows, warmup=warmup, score_from=start)
    _tell_assumed(history, scale, notes)
    outcome = _run(history, options, notes, is_recorded=bool(report or plots))
    print_counts(notes, "in the files", history.counts)
    print_counts(notes, "readings and steps", outcome.counts)
    _tell(outcome.report, json_path)
    if outcome.part is not None:
        _write_scores(alerts, [outcome.part])
    if outcome.recorder is not None:
        draw(outcome.report, outcome.recorder, report, plots, notes)


def _check_folders(*paths: str | None) -> None:
    for path in paths:
        if path is not None and not Path(path).absolute().parent.is_dir():
            raise ConfigError(
                f"{path}: expected a file in a folder that exists; make {Path(path).parent} first"
            )


def _tell_assumed(history: History, scale: str, notes: Console) -> None:
    """What was taken for granted, and which series have no share in the averages."""
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


def _tell(report: dict[str, Any], json_path: str | None) -> None:
    print_report(Console(), report)
    if json_path is not None:
        text = json.dumps(report, indent=1, allow_nan=False, ensure_ascii=False)
        Path(json_path).write_text(text + "\n", encoding="utf-8")


def _write_scores(path: str | None, parts: Sequence[Part]) -> None:
    if path is not None:
        write_scores(path, [part.scores for part in parts if part.scores is not None])


def _run_files(
    files: Sequence[str], share: FileShare, options: BacktestOptions, notes: Console
) -> list[Part]:
    with make_progress(notes) as progress:
        task = progress.add_task("backtest", total=None)
        return run_files(
            files,
            share,
            options,
            on_total=lambda readings: progress.update(task, total=readings),
            on_progress=lambda readings: progress.advance(task, readings),
        )


def resolve_alerts(config: Config, names: Sequence[str], champion: str | None) -> AlertOptions:
    """What the configuration says; where it says nothing of the budget, one for each series.

    Raises ConfigError for a champion that does not run.
    """
    alerts = config.alerts
    if champion is not None and champion not in (*names, LEADER):
        raise ConfigError(
            f"--champion: expected {LEADER} or one of {', '.join(names)}, found {champion!r}; add it to "
            "--forecasters"
        )
    follows = champion or config.forecasters.champion
    if follows not in (*names, LEADER):
        follows = choose_first(names)
    budget: dict[str, Any] = {}
    if "budget" in alerts.model_fields_set:
        budget = {"episodes_per_day": alerts.budget_per_day, "per_series": alerts.budget_is_per_series}
    return AlertOptions(champion=follows, grid_ms=alerts.grid_s * 1000, hold=alerts.hold_steps, **budget)


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
