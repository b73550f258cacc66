"""The command line: exit codes, sentences, precedence of options."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import pipeline.backtest_command as command
from pipeline.cli import main
from pipeline.config import load_config


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "plant.csv"
    rows = "".join(f"2024-01-{1 + r // 24:02}T{r % 24:02}:00,{r % 7},{r * r % 11}\n" for r in range(60))
    path.write_text("time,a,b\n" + rows)
    return path


def call(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


def test_backtest_prints_a_table_and_writes_what_was_asked(table: Path, tmp_path: Path) -> None:
    out, forecasts = tmp_path / "out.json", tmp_path / "out.parquet"
    result = call(
        "backtest",
        table,
        "--forecasters",
        "naive,linear",
        "--horizon",
        3,
        "--json",
        out,
        "--forecasts",
        forecasts,
    )
    assert result.exit_code == 0, result.stderr
    assert "linear" in result.stdout
    assert "MASE" in result.stdout
    assert "wide: time in 'time', 2 series" in result.stderr
    assert "accepted 120" in result.stderr
    report = json.loads(out.read_text())
    assert report["files"] == [str(table)]
    assert list(report["forecasters"]) == ["naive", "linear"]
    assert forecasts.stat().st_size > 0


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["missing.csv"], "missing.csv"),
        ([], "Missing argument 'FILE...'"),
        (["TABLE", "--forecasters", "naive,lsmt"], "lsmt"),
        (["TABLE", "--forecasters", "blend"], "blend needs at least one other forecaster"),
        (
            ["TABLE", "--warmup", "0", "--scale", "warmup"],
            "--scale warmup needs rows to measure the scale, but --warmup is 0",
        ),
        (["TABLE", "--score-from", "0.1"], "expected --score-from of at least --warmup, which is 0.2"),
        (["TABLE", "--horizon", "0"], "Invalid value for '--horizon'"),
        (["TABLE", "--horizn", "3"], "No such option"),
        (["TABLE", "--device", "abacus"], "device 'abacus' can't be used"),
        (["TABLE", "--config", "missing.toml"], "missing.toml: expected a readable TOML file"),
        (
            ["TABLE", "--json", "nowhere/out.json"],
            "expected a file in a folder that exists; make nowhere first",
        ),
    ],
)
def test_wrong_usage_is_one_sentence_and_code_2(table: Path, args: list[str], words: str) -> None:
    result = call("backtest", *(table if arg == "TABLE" else arg for arg in args))
    assert result.exit_code == 2
    assert words in result.stderr
    assert result.stderr.startswith("gatecast: ")
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("name", "device"),
    [("engine", "abacus"), ("engine", "cpu:0"), ("engine", "cuda:99"), ("end-to-end", "abacus")],
)
def test_a_benchmark_on_no_such_device_says_so_at_once(name: str, device: str) -> None:
    result = call("bench", name, "--device", device)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"gatecast: --device {device} can't be used (")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("cores", ["x", "", "0,", "100000", ",".join(map(str, os.sched_getaffinity(0)))])
def test_cores_that_can_not_be_the_workers(cores: str) -> None:
    result = call("bench", "end-to-end", "--worker-cores", cores)
    assert result.exit_code == 2
    assert f"and one left for the broker, got {cores!r}." in result.stderr


def test_unknown_command_names_the_nearest() -> None:
    result = call("backtset")
    assert result.exit_code == 2
    assert result.stderr == "gatecast: unknown command 'backtset'; did you mean 'backtest'?\n"


def test_version_and_help() -> None:
    assert call("--version").stdout.startswith("gatecast, version ")
    result = call("backtest", "--help")
    assert result.exit_code == 0
    assert "Example:" in result.stdout


def fail(error: BaseException) -> Callable[..., None]:
    def run(*args: object, **settings: object) -> None:
        raise error

    return run


def test_a_failure_is_code_1_without_traceback_unless_asked(
    table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "run_backtest", fail(RuntimeError("out of luck")))
    result = call("backtest", table)
    assert result.exit_code == 1
    assert result.stderr.endswith("gatecast: RuntimeError: out of luck (--debug shows where)\n")
    assert "Traceback" not in result.stderr
    for args in (["--debug", "backtest", table], ["backtest", table, "--debug"]):
        assert "Traceback" in call(*args).stderr


def test_ctrl_c_is_one_line_and_code_130(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "read_history", fail(KeyboardInterrupt()))
    result = call("backtest", table)
    assert (result.exit_code, result.stderr) == (130, "gatecast: stopped\n")


def test_the_command_line_wins_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "gatecast.toml"
    path.write_text(
        '[forecasters]\nnames = ["rnn"]\nhorizon = 6\nhidden = 8\n'
        "[readings]\nmax_gap = 3\n[learning]\nreplay = 0\n"
    )
    options = command.resolve_options(load_config(path), None, None)
    assert (options.forecasters, options.horizon) == (("rnn",), 6)
    assert (options.build, options.intake.max_gap) == ({"replay": 0, "hidden": 8}, 3)
    options = command.resolve_options(load_config(path), ("naive",), 2)
    assert (options.forecasters, options.horizon) == (("naive",), 2)


def test_series_without_a_warm_up_are_named(tmp_path: Path) -> None:
    path = tmp_path / "late.csv"
    rows = "".join(
        f"2024-01-{1 + r // 24:02}T{r % 24:02}:00,{r % 7},{r if r > 30 else ''}\n" for r in range(60)
    )
    path.write_text("time,a,late\n" + rows)
    result = call("backtest", path, "--forecasters", "naive", "--horizon", 1)
    assert result.exit_code == 0
    assert "left out of the averages: 1 series, such as late" in result.stderr
    assert "missing 31" in result.stderr
