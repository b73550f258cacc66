"""What `gatecast compare` does with its options: check them, run, print, write."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import platform
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from forecasters.sentence import sentence
from forecasters.verdict import Combined, verdict
from pipeline.backtest_command import check_drawing
from pipeline.config import ConfigError
from pipeline.engine.intake import IntakeOptions
from pipeline.sources.tables import TableOptions
from pipeline.study.claims import Claim, join_seeds, list_claims
from pipeline.study.plan import (
    FILES,
    PLANT,
    QUICK,
    QUICK_PLANT,
    TASKS,
    Source,
    Study,
    load,
    run_study,
)
from pipeline.study.plant import STEPS_PER_DAY
from pipeline.study.printing import print_study

VERSION = 1
PLANT_CADENCE_MS = 86_400_000 // STEPS_PER_DAY


def run_command(
    files: Sequence[str],
    table: TableOptions,
    *,
    tasks: str | None,
    seeds: int | None,
    updates: int | None,
    rows: int | None,
    horizon: int | None,
    quick: bool,
    jobs: int | None,
    json_path: Path | None,
    plots: Path | None,
) -> None:
    """Raises ConfigError or TableError for what can't be run, before anything is learnt or written."""
    chosen = find_tasks(tasks, bool(files))
    asked = {"seeds": seeds, "updates": updates, "horizon": horizon}
    study = dataclasses.replace(QUICK if quick else Study(), tasks=chosen)
    given: dict[str, Any] = {key: value for key, value in asked.items() if value is not None}
    study = dataclasses.replace(study, **given)
    source = find_source(files, table, rows, quick)
    if plots is not None:
        check_drawing()
    if json_path is not None and not json_path.absolute().parent.is_dir():
        raise ConfigError(
            f"{json_path}: expected a file in a folder that exists; make {json_path.parent} first"
        )
    notes = Console(stderr=True, highlight=False)
    if files:
        for note in load(source).assumed:
            notes.print(f"assumed: {note}", markup=False, soft_wrap=True)
    started = time.perf_counter()
    figures: dict[str, Any] = dict(_run(study, source, jobs or os.cpu_count() or 1, notes))
    where = name_source(files)
    figures["sentence"] = (
        say_who_leads(figures["streams"], len(load(source).series)) if figures["streams"] else None
    )
    claims = list_claims(figures, where)
    report = build_report(study, source, figures, claims, time.perf_counter() - started)
    print_study(Console(), figures, claims, where)
    if json_path is not None:
        json_path.write_text(
            json.dumps(report, indent=1, allow_nan=False, ensure_ascii=False) + "\n", "utf-8"
        )
    if plots is not None:
        draw(figures, where, plots)
        notes.print(f"pictures: in {plots}", markup=False, soft_wrap=True)


def find_tasks(tasks: str | None, has_files: bool) -> tuple[str, ...]:
    """Names of what is run, `files` among them where there are any. Raises ConfigError for an unknown name,
    and where nothing is left to run."""
    names: tuple[str, ...] = TASKS if tasks is None and not has_files else ()
    if tasks is not None and tasks.strip() != "none":
        names = tuple(dict.fromkeys(name.strip() for name in tasks.split(",")))
    for name in names:
        if name not in TASKS:
            raise ConfigError(
                f"--tasks: expected none or some of {', '.join(TASKS)} with commas, found {name!r}"
            )
    if has_files and PLANT in names:
        raise ConfigError(
            "--tasks: expected no plant beside FILE, whose readings take its place; leave it out"
        )
    if not names and not has_files:
        raise ConfigError("--tasks: expected a task where no FILE is given, found none; leave --tasks out")
    return (*names, FILES) if has_files else names


def find_source(files: Sequence[str], table: TableOptions, rows: int | None, quick: bool) -> Source:
    """Raises ConfigError for --rows without a file."""
    if files:
        return Source(files=tuple(files), table=table, rows=rows)
    if rows is not None:
        raise ConfigError("--rows is about FILE, which is not given; leave it out")
    plant = QUICK_PLANT if quick else Source()
    return dataclasses.replace(plant, intake=IntakeOptions(cadence_ms=PLANT_CADENCE_MS))


def name_source(files: Sequence[str]) -> str:
    return ", ".join(Path(name).name for name in files) if files else "simulated plant"


def _run(study: Study, source: Source, processes: int, notes: Console) -> Mapping[str, list[dict[str, Any]]]:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"),
               TimeRemainingColumn())  # fmt: skip
    with Progress(*columns, console=notes, transient=True, disable=not notes.is_terminal) as progress:
        task = progress.add_task("compare", total=None)
        return run_study(
            study,
            source,
            processes=processes,
            on_total=lambda seconds: progress.update(task, total=seconds),
            on_progress=lambda seconds: progress.advance(task, seconds),
        )


def say_who_leads(streams: Sequence[dict[str, Any]], series: int) -> str | None:
    """The sentence of the page and the backtest, over all seeds; runs of one layer without masks."""
    plain = [row for row in streams if row["layers"] == 1 and not row["share"]]
    pairs = [row["pair"] for row in plain]
    ahead = sum(pair["difference"] < 0 for pair in pairs)
    difference, half, says = join_seeds(pairs)
    waits = [pair["needed"] for pair in pairs if pair["needed"]]
    combined = Combined(
        first="lstm", second="rnn", shards=len(pairs), young=0, series=series,
        span_ms=pairs[0]["span_ms"], difference=difference, low=difference - half, high=difference + half,
        verdict=says,  # type: ignore[arg-type]
        needed=max(waits, default=None) if says == "undecided" else 0, ahead=ahead, behind=len(pairs) - ahead,
    )  # fmt: skip
    naive = {}
    for name in ("lstm", "rnn"):
        middle, width, _ = join_seeds([pair["against_naive"][name] for pair in pairs])
        naive[name] = dataclasses.replace(
            combined, first=name, second="naive", difference=middle, low=middle - width, high=middle + width,
            verdict=verdict(middle, middle - width, middle + width),
        )  # fmt: skip
    spent = {name: sum(row["nets"][name]["seconds"] for row in plain) for name in ("lstm", "rnn")}
    ratio = spent["lstm"] / spent["rnn"] if spent["rnn"] else None
    return sentence(combined, naive, cpu_ratio=ratio, replications="seeds")


def build_report(
    study: Study, source: Source, figures: Mapping[str, Any], claims: Sequence[Claim], seconds: float
) -> dict[str, Any]:
    """What --json writes."""
    return {
        "version": VERSION,
        "files": list(source.files),
        "software": f"gatecast {version('gatecast')}",
        "machine": {
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "torch": torch.__version__,
        },
        "seconds": round(seconds, 1),
        "study": dataclasses.asdict(study),
        "sentence": figures["sentence"],
        "claims": [_finite(dataclasses.asdict(claim)) for claim in claims],
        **{key: figures[key] for key in ("drills", "streams", "speed")},
    }


def _finite(value: Any) -> Any:
    """JSON has no infinities, and its keys are texts."""
    if isinstance(value, dict):
        return {str(key): _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def draw(figures: Mapping[str, Any], where: str, folder: Path) -> None:
    """Raises OSError."""
    from pipeline.report.pictures import save_png  # matplotlib takes a second to load
    from pipeline.study.pictures import list_study_pictures

    folder.mkdir(parents=True, exist_ok=True)
    for picture in list_study_pictures(figures, where):
        save_png(picture, folder)
