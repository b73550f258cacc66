"""A backtest of many files, each a shard of its own: one process a core."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pipeline.alert_quality import LabelledFile, Window, find_windows
from pipeline.backtest import BacktestOptions, Part, run_backtest
from pipeline.config import ConfigError
from pipeline.histories import read_history
from pipeline.one_core import use_one_core
from pipeline.sources.tables import TableOptions
from pipeline.spread import spread

SUFFIXES = (".csv", ".parquet")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileShare:
    """How each file is read, and which shares of its rows are for what."""

    table: TableOptions
    rows: int | None
    warmup: float
    score_from: float


def expand_folders(names: Sequence[str]) -> tuple[list[str], bool]:
    """The files that are meant, and whether a folder was among the names.

    Raises ConfigError for a folder without a file.
    """
    found, is_folder = [], False
    for name in names:
        if not Path(name).is_dir():
            found.append(name)
            continue
        is_folder = True
        inside = sorted(p for p in Path(name).rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
        if not inside:
            raise ConfigError(f"{name}: expected a folder with CSV or Parquet files, found none in it")
        found += [str(path) for path in inside]
    return found, is_folder


def run_files(
    files: Sequence[str],
    share: FileShare,
    options: BacktestOptions,
    *,
    on_total: Callable[[int], None] = lambda size: None,
    on_progress: Callable[[int], None] = lambda size: None,
) -> list[Part]:
    """The parts of all files, in their order; the largest files begin first. Sizes are bytes.

    Raises what reading or running one of them raises.
    """
    sizes = [Path(file).stat().st_size if Path(file).is_file() else 0 for file in files]
    on_total(sum(sizes))
    work = partial(run_file, share=share, options=options)
    processes = os.cpu_count() or 1
    return spread(work, files, sizes, processes=processes, on_progress=lambda size: on_progress(int(size)))


def run_file(file: str, share: FileShare, options: BacktestOptions) -> Part:
    """One file in this process, in one thread."""
    use_one_core()
    history = read_history(
        [file], share.table, rows=share.rows, warmup=share.warmup, score_from=share.score_from
    )
    part = run_backtest(history, options).part
    assert part is not None
    return part


def label_part(part: Part, labels: dict[str, list[Window]], path: str) -> LabelledFile:
    """What is measured of one file. Raises ConfigError where the labels don't name it."""
    return LabelledFile(
        episodes=part.episodes,
        windows=find_windows(labels, part.files[0], path),
        from_ms=part.scored_from_ms,
        until_ms=part.until_ms,
    )
