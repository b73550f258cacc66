"""Accuracy on the ETT transformer data, leak-free, as a regression test. Scenario names are permanent.

The bounds are those of the project's first release; README.md shows the figures themselves.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from pipeline.cli import main

pytestmark = pytest.mark.data

PROTOCOL = ["--warmup", "0.2", "--score-from", "0.25", "--scale", "warmup", "--horizon", "48"]
BOUNDS = {
    "ETTh1": {
        "linear": (0.208, 0.635, 0.745),
        "rnn": (0.24, 0.71, 0.82),
        "lstm": (0.24, 0.71, 0.82),
        "blend": (0.207, 0.63, 0.745),
    },
    "ETTm1": {
        "linear": (0.098, 0.405, 0.525),
        "rnn": (0.108, 0.43, 0.58),
        "lstm": (0.108, 0.43, 0.58),
        "blend": (0.0975, 0.395, 0.52),
    },
}
NAIVE = {"ETTh1": (0.363, 2.796, 2.932), "ETTm1": (0.120, 1.495, 2.640)}
ROWS = {"ETTh1": 14_400, "ETTm1": 57_600}


def backtest(tmp_path: Path, *arguments: str) -> dict:
    out = tmp_path / "out.json"
    done = CliRunner().invoke(main, ["backtest", *arguments, "--json", str(out)])
    assert done.exit_code == 0, done.output
    return json.loads(out.read_text())


def path_mse(report: dict, forecaster: str) -> list[float]:
    return [report["forecasters"][forecaster]["path"][p]["mse"] for p in ("1", "24", "48")]


@pytest.fixture(scope="module", params=["ETTh1", "ETTm1"])
def run(
    request: pytest.FixtureRequest, data_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, dict]:
    """(name, report) of one run of the whole protocol: what takes minutes is done once for all tests."""
    name = request.param
    rows = ["--rows", str(ROWS[name])]
    report = backtest(
        tmp_path_factory.mktemp(name), str(data_folder / "ett" / f"{name}.csv"), *rows, *PROTOCOL
    )
    return name, report


@pytest.mark.slow
def test_error(run: tuple[str, dict]) -> None:
    name, report = run
    assert path_mse(report, "naive") == pytest.approx(NAIVE[name], abs=6e-4)
    for forecaster, bounds in BOUNDS[name].items():
        assert (np.array(path_mse(report, forecaster)) <= bounds).all(), (
            forecaster,
            path_mse(report, forecaster),
        )


@pytest.mark.slow
@pytest.mark.parametrize("forecaster", ["rnn", "lstm"])
@pytest.mark.parametrize("step", ["1", "24", "48"])
def test_coverage(run: tuple[str, dict], forecaster: str, step: str) -> None:
    """The 90 % interval covers 88 to 92 % averaged over the channels, and no channel less than 85 %."""
    figures = run[1]["forecasters"][forecaster]["step"][step]
    assert 0.88 <= figures["coverage"] <= 0.92
    assert figures["lowest_coverage"] >= 0.85


def test_cold_start(data_folder: Path, tmp_path: Path) -> None:
    file = str(data_folder / "ett" / "ETTh1.csv")
    cold = ["--rows", "500", "--warmup", "0", "--score-from", "0", "--scale", "none", "--horizon", "48"]
    report = backtest(tmp_path, file, *cold)
    naive, blend = path_mse(report, "naive"), path_mse(report, "blend")
    assert blend[1] <= 0.8 * naive[1]
    assert blend[2] <= 0.8 * naive[2]


@pytest.mark.slow
def test_mixed_company(data_folder: Path, tmp_path: Path) -> None:
    """A valve, a counter, spikes, constants and a dead sensor beside them cost the channels at most 7 %, with
    every forecaster and at every path."""
    rows = 7200
    table = pd.read_csv(data_folder / "ett" / "ETTh1.csv", nrows=rows)
    alone = tmp_path / "alone.csv"
    table.to_csv(alone, index=False)
    rng = np.random.default_rng(0)
    table["valve"] = np.where(rng.random(rows).cumsum() % 7 < 3, 100.0, 0.0)
    table["counter"] = np.cumsum(rng.integers(0, 50, rows)).astype(float)
    table["spikes"] = rng.normal(size=rows) + 1e4 * (rng.random(rows) < 0.01)
    table["constant"] = 4.2
    table["zero"] = 0.0
    table["dead"] = np.where(np.arange(rows) < 500, rng.normal(size=rows), np.nan)
    table["noise"] = rng.normal(size=rows) * np.exp(np.linspace(0, 5, rows))
    mixed = tmp_path / "mixed.csv"
    table.to_csv(mixed, index=False)
    errors = {}
    for file in (alone, mixed):
        forecasts = tmp_path / f"{file.stem}.parquet"
        backtest(tmp_path, str(file), *PROTOCOL, "--forecasts", str(forecasts))
        errors[file.stem] = _channel_mse(forecasts, table.iloc[:, :8], rows // 4)
    for forecaster in ("rnn", "lstm", "linear", "blend"):
        ratio = np.array(errors["mixed"][forecaster]) / errors["alone"][forecaster]
        assert (ratio <= 1.07).all(), (forecaster, ratio)


def _channel_mse(forecasts: Path, table: pd.DataFrame, first: int) -> dict[str, list[float]]:
    """Standardised MSE of each forecaster at paths 1, 24 and 48 over the channels of `table` (date first)."""
    said = pd.read_parquet(forecasts)
    deviation = table.iloc[: len(table) // 5, 1:].std(ddof=0)
    result: dict[str, list[float]] = {}
    for forecaster, own in said.groupby("forecaster"):
        squares = []
        for series, one in own[own["series"].isin(table.columns)].groupby("series"):
            mean = np.stack(one.sort_values("time")["mean"].to_numpy()).astype(float)
            value = table[series].to_numpy()
            origins = np.arange(first - 1, len(table) - 48)
            target = np.stack([value[origins + h] for h in range(1, 49)], 1)
            squares.append(((mean[origins] - target) / deviation[series]) ** 2)
        path = np.mean(squares, axis=(0, 1))
        result[str(forecaster)] = [path[:p].mean() for p in (1, 24, 48)]
    return result
