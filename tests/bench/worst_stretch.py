"""How bad it gets: of each forecaster and step, the stretch of origins with the lowest skill against naive.

    python -m tests.bench.worst_stretch ETTh1.csv --rows 500

Takes the file through the backtest without warm-up, with every origin scored, so the cold start is inside.
Absolute errors are divided by the series' mean one-step change and averaged over the series, origin by
origin; the skill of a stretch is 1 - their sum / that of naive. Prints a table: skill over the whole file and
in the worst stretch with the origin that it begins with.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import torch
from rich.console import Console
from rich.table import Table

from pipeline.backtest import DEFAULT_FORECASTERS, BacktestOptions, run_backtest
from pipeline.histories import History, read_history
from pipeline.sources.tables import TableOptions

STEPS = (1, 24, 48)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("files", nargs="+")
    parser.add_argument("--rows", type=int, help="the first N of each file")
    parser.add_argument("--stretch", type=int, default=100, help="origins in a stretch")
    parser.add_argument("--forecasters", default=",".join(DEFAULT_FORECASTERS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    names = tuple(options.forecasters.split(","))
    history = read_history(options.files, TableOptions(), rows=options.rows, warmup=0.0, score_from=0.0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "forecasts.parquet"
        backtest = BacktestOptions(forecasters=names, horizon=max(STEPS), scale="none", forecasts=str(path))
        run_backtest(history, backtest)
        errors = {step: find_errors(history, path, names, step) for step in STEPS}
    table = Table("skill: all, worst (from origin)", *(f"step {step}" for step in STEPS))
    for at, name in enumerate(names):
        table.add_row(name, *(describe(errors[step], at, names, options.stretch) for step in STEPS))
    Console().print(table)


def find_errors(history: History, path: Path, names: tuple[str, ...], step: int) -> np.ndarray:
    """``[T, E]``: scaled absolute error by origin, averaged over the series that have a target then."""
    said = pq.read_table(path, columns=["time", "series", "forecaster", "step_ms", "mean"])
    mean = said["mean"].combine_chunks().flatten().to_numpy().reshape(len(said), -1)[:, step - 1]
    rows = said.drop_columns(["mean"]).to_pandas().assign(mean=mean.astype(np.float64))
    by_series = []
    for index, series in enumerate(history.series):
        own = history.series_index == index
        truth = pd.Series(history.value[own], index=history.event_time_ms[own])
        wide = rows[rows["series"] == series].pivot(index="time", columns="forecaster", values="mean")
        step_ms = int(rows.loc[rows["series"] == series, "step_ms"].max())
        target = truth.reindex(wide.index + step * step_ms).to_numpy()
        error = np.abs(wide[list(names)].to_numpy() - target[:, None])
        change = np.abs(np.diff(truth.dropna().to_numpy())).mean()
        by_series.append(pd.DataFrame(error / change, index=wide.index).dropna())
    together = pd.concat(by_series).groupby(level=0).mean().sort_index()
    return together.to_numpy()


def describe(errors_TE: np.ndarray, at: int, names: tuple[str, ...], stretch: int) -> str:
    """Skill over all, in the worst stretch, and the number of its first origin."""
    own, naive = errors_TE[:, at], errors_TE[:, names.index("naive")]
    window = np.ones(min(stretch, len(own)))
    skill = 1.0 - np.convolve(own, window, "valid") / np.convolve(naive, window, "valid")
    first = int(skill.argmin())
    return f"{1.0 - own.sum() / naive.sum():.2f}, {skill[first]:.2f} ({first})"


if __name__ == "__main__":
    main()
