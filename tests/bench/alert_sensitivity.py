"""How much the quality of alerts depends on each chosen number: one varied at a time.

    python -m tests.bench.alert_sensitivity FOLDER WINDOWS.json [--forecasters naive,linear,blend]
        [--json OUT]

FOLDER and WINDOWS.json as for `gatecast backtest --labels` with `--warmup 0 --score-from 0.15`. The champion
is the last of the forecasters.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
from collections.abc import Mapping
from pathlib import Path

from forecasters import anomaly, ranks
from forecasters.anomaly import AlertOptions
from pipeline.alert_quality import measure, read_labels
from pipeline.backtest import BacktestOptions, Part
from pipeline.backtest_files import FileShare, expand_folders, label_part, run_file
from pipeline.sources.tables import TableOptions

VARIANTS: Mapping[str, tuple[float, ...]] = {
    "budget": (0.05, 0.1, 0.15, 0.2, 0.3),  # episodes per series and day
    "hold": (50, 100, 200),  # judged steps
    "window": (5, 10, 20),  # errors that are averaged
    "memory": (4320.0, 8640.0, 17280.0),  # readings that the ranks remember
}
DEFAULTS: Mapping[str, float] = {"budget": 0.15, "hold": 100, "window": 10, "memory": 8640.0}


def run_one(task: tuple[str, tuple[str, ...], Mapping[str, float]]) -> Part:
    """A file under one choice of numbers, in a process that may keep them."""
    file, names, chosen = task
    anomaly.WINDOW, ranks.MEMORY = int(chosen["window"]), chosen["memory"]
    alerts = AlertOptions(champion=names[-1], episodes_per_day=chosen["budget"], hold=int(chosen["hold"]))
    share = FileShare(table=TableOptions(), rows=None, warmup=0.0, score_from=0.15)
    return run_file(file, share, BacktestOptions(forecasters=names, horizon=1, scale="none", alerts=alerts))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("windows")
    parser.add_argument("--forecasters", default="naive")
    parser.add_argument("--json")
    given = parser.parse_args()
    files, _ = expand_folders([given.folder])
    labels, names = read_labels(given.windows), tuple(given.forecasters.split(","))
    chosen = [("default", dict(DEFAULTS))]
    chosen += [
        (f"{name} {value:g}", {**DEFAULTS, name: value})
        for name, values in VARIANTS.items()
        for value in values
        if value != DEFAULTS[name]
    ]
    told = {}
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
        for name, numbers in chosen:
            parts = pool.map(run_one, [(file, names, numbers) for file in files], chunksize=1)
            quality = measure([label_part(part, labels, given.windows) for part in parts])
            told[name] = quality
            print(
                f"{name:14} recall {quality['recall']:.3f}  precision {quality['precision']:.3f}  "
                f"false/day {quality['false_alerts_per_day']:.3f}",
                flush=True,
            )
    if given.json:
        Path(given.json).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
