"""The backtest: protocol, placement, files of forecasts, configuration."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from forecasters import build
from pipeline.backtest import BacktestOptions, build_bank, derive_seed, run_backtest
from pipeline.config import ConfigError, load_config
from pipeline.histories import History, read_history
from pipeline.placement import find_partition, hash_murmur2
from pipeline.sources.tables import TableError, TableOptions

HOUR_MS = 3_600_000


def write_wide(path: Path, values: np.ndarray, names: list[str], start: str = "2024-01-01T00") -> Path:
    """Hourly rows [R] of values [R, S]."""
    times = np.datetime64(start, "m") + np.arange(len(values)) * np.timedelta64(1, "h")
    lines = [",".join(["time", *names])]
    lines += [",".join([str(t), *map(repr, row)]) for t, row in zip(times, values.tolist(), strict=True)]
    path.write_text("\n".join(lines) + "\n")
    return path


def read(*paths: Path, rows: int | None = None, warmup: float = 0.2, score_from: float = 0.25) -> History:
    names = [str(path) for path in paths]
    return read_history(names, TableOptions(), rows=rows, warmup=warmup, score_from=score_from)


@pytest.fixture
def walk() -> np.ndarray:
    return np.round(np.cumsum(np.random.default_rng(3).normal(size=(80, 3)), axis=0), 3)


KAFKA_HASHES = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


@pytest.mark.parametrize(("key", "signed"), KAFKA_HASHES.items())
def test_murmur2_is_that_of_kafka(key: bytes, signed: int) -> None:
    assert hash_murmur2(key) == signed % 2**32
    assert find_partition(key.decode(), 7) == (signed & 0x7FFFFFFF) % 7


def test_naive_follows_the_protocol_of_the_literature(tmp_path: Path, walk: np.ndarray) -> None:
    history = read(write_wide(tmp_path / "a.csv", walk, ["x", "y", "z"]))
    outcome = run_backtest(history, BacktestOptions(forecasters=("naive",), horizon=6))
    scaled = (walk - walk[:16].mean(0)) / walk[:16].std(0)
    for path in (1, 6):
        origins = range(19, 80 - path)  # the first scored target is row 20
        errors = [scaled[t + 1 : t + path + 1] - scaled[t] for t in origins]
        got = outcome.report["forecasters"]["naive"]["path"][str(path)]
        assert got["mse"] == pytest.approx(np.mean(np.square(errors)), rel=1e-5)
        assert got["mae"] == pytest.approx(np.mean(np.abs(errors)), rel=1e-5)
        assert got["skill"] == 0.0
    assert outcome.report["scored_from"] == "2024-01-01T20:00:00.000Z"
    assert outcome.counts["accepted"] == 240


def test_errors_are_told_by_share_of_masked_steps(tmp_path: Path, walk: np.ndarray) -> None:
    """Of three series one lacks every third reading: its steps end up in a band of their own."""
    holed = walk.copy()
    holed[::3, 2] = np.nan
    history = read(write_wide(tmp_path / "a.csv", holed, ["x", "y", "z"]))
    rows = run_backtest(history, BacktestOptions(forecasters=("naive", "linear"), horizon=2)).report["masked"]
    assert [row["step"] for row in rows] == sorted(row["step"] for row in rows)
    ahead = {row["masked_to"]: row for row in rows if row["step"] == 1}
    assert max(ahead) == 0.25
    assert ahead[0.01]["targets"] >= 2 * (len(walk) - 4)
    assert all(row["error"]["naive"] > 0 for row in rows)
    whole = read(write_wide(tmp_path / "b.csv", walk, ["x", "y", "z"]))
    rows = run_backtest(whole, BacktestOptions(forecasters=("naive", "linear"), horizon=2)).report["masked"]
    assert [(row["masked_to"], row["step"]) for row in rows] == [(0.01, 1), (0.01, 2)]


def test_report_has_the_keys_of_the_contract(tmp_path: Path, walk: np.ndarray) -> None:
    history = read(write_wide(tmp_path / "a.csv", walk, ["x", "y", "z"]))
    report = run_backtest(history, BacktestOptions(forecasters=("naive", "linear"), horizon=2)).report
    keys = "version files series readings scored_from horizon seed device seconds readings_per_second"
    assert list(report) == [*keys.split(), "forecasters", "comparison", "masked", "sentence", "alerts"]
    row = report["comparison"][0]
    columns = "a b step difference lower upper dm p won leader verdict needs"
    assert list(row) == columns.split()
    assert (row["a"], row["b"], row["step"]) == ("linear", "naive", 1)
    assert report["sentence"] is None, "there are no two networks to compare"
    assert (report["version"], report["series"], report["readings"]) == (1, 3, 240)
    linear = report["forecasters"]["linear"]
    assert list(linear) == ["parameters", "seconds", "path", "step"]
    assert (list(linear["path"]), list(linear["step"])) == (["1", "2"], ["1", "2"])


def test_partitions_have_their_series_and_their_seed(tmp_path: Path, walk: np.ndarray) -> None:
    history = read(write_wide(tmp_path / "a.csv", walk, ["x", "y", "z"]))
    banks, seeds = [], []

    def make_bank(options: BacktestOptions, seed: int):
        seeds.append(seed)
        banks.append(build_bank(options, seed))
        return banks[-1]

    options = BacktestOptions(forecasters=("naive",), horizon=3, partitions=2, seed=7)
    split = run_backtest(history, options, make_bank=make_bank)
    assert [set(bank.ids) for bank in banks] == [
        {name for name in "xyz" if find_partition(name, 2) == p} for p in range(2)
    ]
    assert seeds == [derive_seed(7, 0), derive_seed(7, 1)]
    assert seeds[1] == int.from_bytes(hashlib.sha256(b"7/1").digest()[:8], "big") >> 1
    whole = run_backtest(history, BacktestOptions(forecasters=("naive",), horizon=3))
    for path in ("1", "3"):
        a, b = (o.report["forecasters"]["naive"]["path"][path] for o in (split, whole))
        assert a["mse"] == pytest.approx(b["mse"], rel=1e-6)


def test_forecast_file_has_a_row_per_origin_and_forecaster(tmp_path: Path, walk: np.ndarray) -> None:
    history = read(write_wide(tmp_path / "a.csv", walk, ["x", "y", "z"]))
    out = tmp_path / "out.parquet"
    run_backtest(history, BacktestOptions(forecasters=("naive", "linear"), horizon=4, forecasts=str(out)))
    table = pq.read_table(out)
    assert table.num_rows == 80 * 3 * 2
    rows = [r for r in table.to_pylist() if r["series"] == "y" and r["forecaster"] == "naive"]
    assert [r["time"] for r in rows] == history.event_time_ms[::3].tolist()
    assert rows[5]["step_ms"] == HOUR_MS
    assert rows[5]["steps"] == [1, 2, 3, 4]
    assert rows[5]["mean"] == pytest.approx([walk[5, 1]] * 4)
    assert rows[5]["lower"][0] <= rows[5]["mean"][0] <= rows[5]["upper"][0]


def test_a_long_gap_leaves_no_forecast_pending(tmp_path: Path, walk: np.ndarray) -> None:
    path = write_wide(tmp_path / "a.csv", walk, ["x", "y", "z"])
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:41] + lines[71:]) + "\n")  # 30 rows, more than max_gap
    history = read(path, warmup=0, score_from=0)
    report = run_backtest(history, BacktestOptions(forecasters=("naive",), horizon=1, scale="none")).report
    steps = np.abs(np.concatenate([np.diff(walk[:40], axis=0), np.diff(walk[70:], axis=0)]))
    assert report["forecasters"]["naive"]["step"]["1"]["mae"] == pytest.approx(steps.mean(), rel=1e-5)


def test_files_are_merged_by_time_and_same_ids_get_the_file(tmp_path: Path, walk: np.ndarray) -> None:
    a = write_wide(tmp_path / "a.csv", walk[:, :2], ["x", "y"])
    b = write_wide(tmp_path / "b.csv", walk[:30, :2], ["x", "z"], start="2024-01-01T10")
    history = read(a, b, rows=40)
    assert history.series == ("a/x", "y", "b/x", "z")
    assert (np.diff(history.event_time_ms) >= 0).all()
    assert len(history.value) == 2 * 40 + 2 * 30
    start = int(np.datetime64("2024-01-01T00", "ms").astype(np.int64))
    assert ((history.scored_origin_ms - start) // HOUR_MS).tolist() == [9, 9, 16, 16]
    for name, column in (("a/x", walk[:40, 0]), ("z", walk[:30, 1])):
        assert history.value[history.series_index == history.series.index(name)].tolist() == column.tolist()
    with pytest.raises(TableError, match="each file once"):
        read(a, a)


def test_batches_never_part_readings_of_one_time(tmp_path: Path, walk: np.ndarray) -> None:
    history = read(write_wide(tmp_path / "a.csv", walk, ["x", "y", "z"]))
    assert [(s.start, s.stop) for s in history.cut(30)] == [(0, 90), (90, 180), (180, 240)]


def test_scales_of_constant_and_absent_series(tmp_path: Path) -> None:
    values = np.column_stack([np.arange(20.0), np.full(20, 0.1), np.where(np.arange(20) < 10, np.nan, 1.0)])
    history = read(write_wide(tmp_path / "a.csv", values, ["x", "same", "late"]))
    assert history.find_scales() == pytest.approx([np.std(range(4)), 1.0, np.nan], nan_ok=True)


def test_unknown_forecaster_is_refused() -> None:
    with pytest.raises(ConfigError, match="lstm"):
        build_bank(BacktestOptions(forecasters=("lsmt",)), 0)
    with pytest.raises(ValueError, match="lstm"):
        build(["lsmt"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[forecaster]\n", "unknown section 'forecaster'; did you mean 'forecasters'?"),
        ("[forecasters]\nhidden_size = 3\n", "unknown key forecasters.hidden_size; did you mean 'hidden'?"),
        ("[learning]\nzzz = 3\n", "unknown key learning.zzz; known are chunk, max_rate, rate, replay"),
        ("[learning]\nrate = 0\n", "learning.rate: expected a number above 0 and at most 1, found 0"),
        ("[learning]\nchunk = 1.5\n", "learning.chunk: expected a whole number from 1 to 4096, found 1.5"),
        ("[forecasters]\ncoverage = 1\n", "coverage: expected a number above 0 and below 1, found 1"),
        ("[forecasters]\nnames = 'rnn'\n", "names: expected a list of names"),
        ("readings = 1\n", "expected a section [readings], found 1"),
        ("[readings\n", "expected TOML"),
    ],
)
def test_wrong_configuration_is_named(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "gatecast.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)
