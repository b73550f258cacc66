"""Figures of record: runs the benchmarks one after the other, and prints their tables for README.

    python -m tests.bench.record                      # all, some 35 minutes; let nothing else run meanwhile
    python -m tests.bench.record --only ingest,emit
    python -m tests.bench.record --show               # the tables of what lies in tests/bench/results

Each writes its JSON into tests/bench/results, with machine, versions, commit and what else ran (`load`).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

RESULTS = Path(__file__).parent / "results"
ROOT = Path(__file__).resolve().parents[2]
END_TO_END = RESULTS / "end-to-end.json"

COMMANDS: Mapping[str, tuple[str, ...]] = {
    "exposition": ("pipeline", "bench", "exposition"),
    "ingest": ("pipeline", "bench", "ingest"),
    "emit": ("pipeline", "bench", "emit"),
    "engine-cpu-2core": ("pipeline", "bench", "engine"),
    "engine-gpu": (
        "pipeline", "bench", "engine", "--device", "cuda", "--series", "1000,10000,100000,1000000",
        "--runs", "3",
    ),
    "scaling-shards": ("pipeline", "bench", "scaling", "--part", "shards"),
    "scaling-series": ("pipeline", "bench", "scaling", "--part", "series", "--runs", "3"),
    "scaling-workers": ("pipeline", "bench", "scaling", "--part", "workers"),
    "end-to-end": ("pipeline", "bench", "end-to-end", "--runs", "3"),
    "latency": (
        "tests.bench.soak", "--seconds", "240", "--warm-up", "60", "--half-of", str(END_TO_END),
        "--workers", "2", "--partitions", "2", "--forecasts", "arrow", "--plain",
    ),
}  # fmt: skip
"""By the name of the file: module and arguments. `latency` needs `end-to-end`."""
NEED_GPU = ("engine-gpu",)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", help="some of " + ", ".join(COMMANDS))
    parser.add_argument("--show", action="store_true", help="measure nothing")
    options = parser.parse_args()
    all_here = [
        name for name in COMMANDS if options.show or torch.cuda.is_available() or name not in NEED_GPU
    ]
    names = options.only.split(",") if options.only else all_here
    if unknown := [name for name in names if name not in COMMANDS]:
        parser.error(f"--only: expected some of {', '.join(COMMANDS)}, got {', '.join(unknown)}")
    for name in names:
        path = RESULTS / f"{name}.json"
        if not options.show:
            print(f"== {name}", flush=True)
            command = [sys.executable, "-m", *COMMANDS[name], "--json", str(path)]
            subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        if path.exists():
            print_table(name, json.loads(path.read_text()))


def print_table(name: str, report: dict[str, Any]) -> None:
    """Markdown."""
    load = report["machine"].get("load")
    print(f"\n{name} (commit {(report.get('commit') or '?')[:8]}, load {load})\n")
    if "results" not in report:
        print(", ".join(f"{key} {value}" for key, value in report["latency_ms"].items()))
        return
    print(
        "| case | series | value | | yardstick | times | where the time goes |\n|---|---|---|---|---|---|---|"
    )
    for row in report["results"]:
        share = ", ".join(f"{part} {of:.0%}" for part, of in row["share"].items() if of >= 0.005)
        print(
            f"| {row['case']} | {row['series']:,} | {row['value']:,} | {row['unit']} "
            f"| {row['yardstick_value']:,} | {row['ratio']:,} | {share} |"
        )
    if "cores_used" in report:
        print(f"\ncores used: {report['cores_used']}")


if __name__ == "__main__":
    main()
