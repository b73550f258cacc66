"""Alerts of a backtest: episodes, their quality against labels, the rows of --alerts, folders."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from pipeline.alert_log import Episode
from pipeline.alert_quality import LabelledFile, find_windows, measure, read_labels
from pipeline.cli import main
from pipeline.config import ConfigError

DAY_MS = 86_400_000
SPIKE = "2026-01-17T16:00:00.000Z"


def episode(first: float, last: float) -> Episode:
    return Episode(series="x", first_ms=round(first * DAY_MS), last_ms=round(last * DAY_MS), score=1.5)


def window(first: float, last: float) -> tuple[int, int]:
    return round(first * DAY_MS), round(last * DAY_MS)


def test_quality_counts_windows_found_and_episodes_that_overlap_one() -> None:
    files = [
        LabelledFile(
            # before the scored part; found late; found by an episode that began before it; missed
            windows=[window(0, 0.5), window(2, 3), window(5, 6), window(8, 9)],
            episodes=[episode(1.5, 1.5), episode(2.5, 2.6), episode(2.9, 3.5), episode(4.9, 5.1)],
            from_ms=DAY_MS, until_ms=11 * DAY_MS,
        ),
        LabelledFile(windows=[], episodes=[episode(3, 4)], from_ms=0, until_ms=10 * DAY_MS),
    ]  # fmt: skip
    assert measure(files) == {
        "recall": 2 / 3, "precision": 3 / 5, "false_alerts_per_day": 2 / 20,
        "median_delay_s": 0.25 * 86_400, "windows": 3, "episodes": 5,
    }  # fmt: skip


def test_quality_of_nothing_has_no_figures() -> None:
    told = measure([LabelledFile(windows=[], episodes=[], from_ms=0, until_ms=0)])
    assert (told["windows"], told["episodes"]) == (0, 0)
    assert told["recall"] is told["precision"] is told["median_delay_s"] is None


def test_labels_are_matched_by_the_end_of_the_path() -> None:
    labels = {"b/c.csv": [(1, 2)], "c.csv": [(3, 4)], "a/b/d.csv": []}
    assert find_windows(labels, "/data/b/c.csv", "w.json") == [(1, 2)]
    assert find_windows(labels, "/data/x/c.csv", "w.json") == [(3, 4)]
    assert find_windows(labels, "a/b/d.csv", "w.json") == []
    with pytest.raises(ConfigError, match=r"w\.json: expected windows of bc\.csv, found none"):
        find_windows(labels, "bc.csv", "w.json")


@pytest.mark.parametrize("text", ["[1]", '{"a": [["x", "y"]]}', "{", '{"a": 3}'])
def test_labels_of_another_shape_are_one_clear_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "w.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"w\.json: expected JSON such as"):
        read_labels(str(path))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two hourly series; the first has a spike at a place that is labelled."""
    folder, rng = tmp_path_factory.mktemp("plant"), np.random.default_rng(3)
    times = np.datetime64("2026-01-01T00:00") + np.arange(500) * np.timedelta64(1, "h")
    for name, spike in (("one.csv", 400), ("two.csv", None)):
        values = 10 + np.sin(np.arange(500) * 2 * np.pi / 24) + 0.1 * rng.normal(size=500)
        if spike is not None:
            values[spike : spike + 3] += 20
        rows = [f"{time},{value:.4f}" for time, value in zip(times, values, strict=True)]
        (folder / name).write_text("\n".join(["timestamp,value", *rows]) + "\n")
    start, end = times[398], times[410]
    (folder / "labels.json").write_text(json.dumps({"one.csv": [[str(start), str(end)]], "two.csv": []}))
    return folder


def test_a_folder_with_labels_from_the_command_line(folder: Path, tmp_path: Path) -> None:
    out, rows_path = tmp_path / "out.json", tmp_path / "rows.csv"
    result = CliRunner().invoke(
        main,
        [
            "backtest", str(folder), "--labels", str(folder / "labels.json"), "--warmup", "0", "--score-from",
            "0.15", "--forecasters", "naive", "--horizon", "1", "--json", str(out),
            "--alerts", str(rows_path),
        ],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    report = json.loads(out.read_text())
    quality = report["alert_quality"]
    assert (quality["recall"], quality["windows"]) == (1.0, 1)
    assert quality["episodes"] == len(report["alerts"])
    assert [Path(name).name for name in report["files"]] == ["one.csv", "two.csv"]
    with rows_path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["file", "series", "time", "value", "score", "alert"]
    assert len(rows) == 1000
    at = next(row for row in rows if row["series"] == "one" and row["time"] == SPIKE)
    assert (at["alert"], float(at["score"]) >= 1.0) == ("1", True)
    runs = sum(b["alert"] > a["alert"] for a, b in zip([{"alert": "0"}, *rows], rows, strict=False))
    assert runs >= len(report["alerts"])


def test_a_champion_that_does_not_run_is_one_clear_error(folder: Path) -> None:
    given = ["backtest", str(folder / "one.csv"), "--forecasters", "naive", "--champion", "lstm"]
    result = CliRunner().invoke(main, given)
    assert result.exit_code == 2
    assert "--champion: expected leader or one of naive, found 'lstm'" in result.output


def test_a_folder_without_files_is_one_clear_error(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["backtest", str(tmp_path)])
    assert result.exit_code == 2
    assert "expected a folder with CSV or Parquet files, found none in it" in result.output
