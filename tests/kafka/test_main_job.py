"""The main job on a real broker: what the forecasts topic gets is what the backtest says, bit for bit."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from forecasters.timetable import SETTLED
from pipeline.cli import main
from pipeline.config import Config, load_config
from pipeline.engine.options import IntakeOptions
from pipeline.forecast_file import SCHEMA
from tests.kafka.live import LiveWorker, Metrics, Record, make_config, make_topics, read_topic

ALL = ("naive", "seasonal_naive", "linear", "rnn", "lstm", "blend")
ROWS = 600
PARTITIONS = 4
PLANT_SERIES, PLANT_STEPS = 1_000, 50
READINGS = pa.schema(
    [
        ("series", pa.string()),
        ("time", pa.timestamp("ms", tz="UTC")),
        ("value", pa.float64()),
        ("quality", pa.string()),
    ]
)


@pytest.fixture
def name() -> str:
    return f"main-{uuid.uuid4().hex[:12]}"


def invoke(*arguments: str) -> str:
    done = CliRunner().invoke(main, list(arguments))
    assert done.exit_code == 0, done.output
    return done.output


def backtest(file: Path, folder: Path, *arguments: str) -> pa.Table:
    out = folder / "forecasts.parquet"
    protocol = ("--partitions", str(PARTITIONS), "--warmup", "0", "--score-from", "0", "--scale", "none")
    invoke("backtest", str(file), *protocol, "--forecasts", str(out), *arguments)
    return sort(pq.read_table(out))


def sort(table: pa.Table) -> pa.Table:
    keys = [("series", "ascending"), ("time", "ascending"), ("forecaster", "ascending")]
    return table.combine_chunks().sort_by(keys)


def read_json(records: Sequence[Record]) -> pa.Table:
    rows = []
    for record in records:
        row = json.loads(record.value or b"")
        assert row.pop("version") == 1
        assert record.key == row["series"].encode()
        rows.append(row)
    return sort(pa.Table.from_pylist(rows, schema=SCHEMA))


def read_arrow(records: Sequence[Record]) -> pa.Table:
    batches = pa.concat_tables(pa.ipc.open_stream(record.value).read_all() for record in records)
    assert set(batches["version"].to_pylist()) == {1}
    batches = batches.drop_columns("version")
    times = batches["time"].cast(pa.int64())
    return sort(batches.set_column(batches.column_names.index("time"), "time", times).select(SCHEMA.names))


def assert_same(found: pa.Table, expected: pa.Table) -> None:
    """Same origins, each once, and the same float32 values to the last bit."""
    keys = ["series", "time", "forecaster"]
    assert found.num_rows == expected.num_rows
    for column in (*keys, "step_ms", "steps"):
        assert found[column].equals(expected[column]), column
    assert found.group_by(keys).aggregate([]).num_rows == found.num_rows, "a forecast was sent twice"
    for column in ("mean", "lower", "upper"):
        bits, wanted = (flatten(table, column).view(np.uint32) for table in (found, expected))
        assert np.array_equal(bits, wanted), f"{column}: {int((bits != wanted).sum())} of {bits.size} differ"


def flatten(table: pa.Table, column: str) -> np.ndarray:
    return table[column].combine_chunks().flatten().to_numpy()


def assert_each_scored_has_its_reading(metrics: Metrics, found: pa.Table, usable: pa.Table) -> None:
    """What counts as scored: as many forecasts as have a usable reading at their target, for each step.

    `usable`: series and time of readings that were not masked. The first two steps of a series have no scale
    yet, so nothing is judged that was said then; nor what was said before a gap that restarts a series. A
    shorter gap has no forecasts of its own, and does not keep those before it from being judged behind it.
    """
    naive = found.filter(pc.equal(found["forecaster"], "naive"))
    series, time, step_ms = (naive[c].to_numpy() for c in ("series", "time", "step_ms"))
    at = set(zip(usable["series"].to_pylist(), usable["time"].to_pylist(), strict=True))
    is_usable = np.array([pair in at for pair in zip(series, time.tolist(), strict=True)])
    is_first = np.append(True, series[1:] != series[:-1])
    missing = np.append(0, np.diff(time) // step_ms[1:] - 1)
    is_long = missing > IntakeOptions().max_gap
    stretch = np.cumsum(is_first | is_long)
    steps = np.cumsum(np.where(is_first | is_long, 1, 1 + missing))  # those of a long gap are not taken
    begun = steps[np.maximum.accumulate(np.where(is_first, np.arange(len(time)), 0))]
    is_settled = steps - begun >= SETTLED
    row_of = {pair: row for row, pair in enumerate(zip(series, time.tolist(), strict=True))}
    scored = metrics.by("step", "forecasts_scored_total", forecaster="naive")
    assert scored.keys() >= {"1", "2", "4", "8", "16", "24"}
    for step, number in ((int(text), number) for text, number in scored.items()):
        targets = zip(series, (time + step * step_ms).tolist(), strict=True)
        target = np.array([row_of.get(pair, -1) for pair in targets])
        is_due = (target >= 0) & (stretch[target] == stretch) & is_settled & is_usable[target]
        assert number == is_due.sum(), f"step {step}"
    for forecaster in ALL:
        assert metrics.by("step", "forecasts_scored_total", forecaster=forecaster) == scored


def assert_in_order(records: Sequence[Record]) -> None:
    """All forecasts of a series are in one partition, by time."""
    last: dict[tuple[bytes | None, str], tuple[int, int]] = {}
    for record in records:
        row = json.loads(record.value or b"")
        partition, time = last.get((record.key, row["forecaster"]), (record.partition, -1))
        assert partition == record.partition
        assert time < row["time"]
        last[record.key, row["forecaster"]] = (partition, row["time"])


def run_to_end(config: Config) -> tuple[Metrics, list[Record]]:
    """What the worker says of itself at the end of the log, and the forecasts it has sent."""
    with LiveWorker(config) as live:
        live.wait_for_end()
        metrics = live.scrape()
    return metrics, read_topic(config.kafka.bootstrap[0], config.kafka.forecasts_topic)


@pytest.fixture(scope="module")
def etth1(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pa.Table]:
    """The file, and what the backtest says of its first rows."""
    file = data_folder / "ett" / "ETTh1.csv"
    return file, backtest(file, tmp_path_factory.mktemp("backtest"), "--rows", str(ROWS))


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize(("format", "rows"), [("json", ROWS), ("arrow", ROWS // 4)])
def test_forecasts_of_etth1_are_those_of_the_backtest(
    format: str, rows: int, etth1: tuple[Path, pa.Table], bootstrap: str, name: str, tmp_path: Path
) -> None:
    file, expected = etth1
    config = make_config(bootstrap, name, tmp_path, {"forecasts": {"forecasters": ALL, "format": format}})
    make_topics(config)
    where = ("--topic", name, "--bootstrap", bootstrap)
    invoke("replay", str(file), "--rows", str(rows), "--speed", "0", *where)

    metrics, records = run_to_end(config)

    found = read_json(records) if format == "json" else read_arrow(records)
    assert found.num_rows == 7 * rows * len(ALL)
    # What lies behind a forecast does not change it, so fewer rows give the beginning of the same.
    assert_same(found, expected.filter(pc.less_equal(expected["time"], pc.max(found["time"]))))
    if format == "json":
        assert_in_order(records)
    assert_each_scored_has_its_reading(metrics, found, found)
    assert sum(metrics.by("partition", "readings_consumed_total").values()) == 7 * rows
    assert metrics.value("readings_learned_total") == 7 * rows


PLANT = """
[readings]
cadence_ms = 60_000
format = "arrow"
fields.quality = "quality"
"""


@pytest.mark.slow
def test_forecasts_of_a_plant_are_those_of_the_backtest(bootstrap: str, name: str, tmp_path: Path) -> None:
    toml = tmp_path / "plant.toml"
    toml.write_text(PLANT)
    readings = load_config(toml, {}).readings.model_dump(exclude_unset=True)
    config = make_config(
        bootstrap,
        name,
        tmp_path,
        {"readings": readings, "forecasts": {"forecasters": ALL, "format": "arrow"}},
    )
    make_topics(config)
    labels = tmp_path / "labels.json"
    plant = ("--series", str(PLANT_SERIES), "--cadence", "60s", "--faults-per-hour", "600")
    past = ("--history", f"{PLANT_STEPS}m", "--past-only", "--labels", str(labels), "--format", "arrow")
    invoke("simulate", *plant, *past, "--topic", name, "--bootstrap", bootstrap)
    kinds = {fault["kind"] for fault in json.loads(labels.read_text())["faults"]}
    assert kinds >= {"bad_quality", "dropout", "spike", "stuck", "out_of_range"}
    sent = read_readings(read_topic(bootstrap, name))
    file = tmp_path / "plant.parquet"
    pq.write_table(sent, file)

    metrics, records = run_to_end(config)

    found = read_arrow(records)
    assert len(set(found["series"].to_pylist())) == PLANT_SERIES
    assert_same(found, backtest(file, tmp_path, "--config", str(toml)))
    usable = sent.filter(pc.is_valid(sent["value"]))
    assert_each_scored_has_its_reading(metrics, found, usable)
    assert metrics.value("readings_learned_total") == usable.num_rows
    assert metrics.value("readings_masked_total", reason="bad_quality") == sent.num_rows - usable.num_rows > 0
    assert metrics.value("readings_masked_total", reason="gap") > 0
    assert sum(metrics.by("reason", "readings_rejected_total").values()) == 0


def read_readings(records: Sequence[Record]) -> pa.Table:
    """As a long file; a reading of bad quality has no value in it."""
    sent = pa.concat_tables(
        pa.ipc.open_stream(record.value).read_all().cast(READINGS) for record in records
    ).sort_by("time")
    value = pc.if_else(pc.equal(sent["quality"], "good"), sent["value"], None)
    return pa.table({"time": sent["time"].cast(pa.int64()), "series": sent["series"], "value": value})
