"""What inspect finds in odd files and in topics, prints and writes."""

from __future__ import annotations

import csv
import io
import json
import random
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from pipeline.inspection.findings import Findings, inspect_files, inspect_topic
from pipeline.inspection.guess import Guess
from pipeline.inspection.report import print_findings
from pipeline.inspection.starter import write_starter
from pipeline.placement import find_partition
from pipeline.records import Messages, Readings
from pipeline.sources.dialect import TableError, TableOptions


def look(path: Path, text: str | bytes, **told: Any) -> Findings:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return inspect_files([str(path)], TableOptions(**told), None)


def write(findings: Findings, path: Path) -> tuple[dict[str, Any], list[dict[str, str]]]:
    series_file = write_starter(path, findings)
    with series_file.open(encoding="utf-8") as file:
        return tomllib.loads(path.read_text("utf-8")), list(csv.DictReader(file))


def show(findings: Findings) -> str:
    out = io.StringIO()
    print_findings(Console(file=out, width=160), findings)
    return out.getvalue()


def pi_export() -> bytes:
    """As a historian writes it: semicolons, decimal commas, a row of units, words for what failed."""
    rows = ["Zeit;Kessel 1 Temp;Ventil", ";°C;%"]
    for at in range(300):
        temperature = "Bad" if at in (5, 6) else f"{80 + at % 7},{at % 10}5"
        rows.append(f"24.10.2021 {at // 60:02}:{at % 60:02};{temperature};{'' if at % 7 else f'{at},5'}")
    return "\r\n".join(rows).encode("cp1252")


def test_a_pi_export(tmp_path: Path) -> None:
    findings = look(tmp_path / "pi.csv", pi_export(), time_zone="Europe/Berlin")
    assert findings.facts == (
        ("encoding", "cp1252"),
        ("delimiter", "semicolon"),
        ("decimal mark", "comma"),
        ("time zone", "Europe/Berlin"),
    )
    assert findings.series == ("Kessel 1 Temp", "Ventil")
    assert findings.rhythms.cadence_ms.tolist() == [60_000, 420_000]
    assert findings.masked == {"bad_quality": 2, "missing": 257, "gap": 2}
    shown = show(findings)
    assert "bad_quality 2, gap 2, missing 257" in shown
    assert "differs from series to series" in shown
    config, rows = write(findings, tmp_path / "first.toml")
    assert config == {
        "kafka": {"bootstrap": "localhost:9092", "topics": ["gatecast.readings"]},
        "readings": {
            "format": "json",
            "season_ms": 86_400_000,
            "series_file": str(tmp_path / "first.series.csv"),
        },
    }
    assert [(row["match"], row["cadence"]) for row in rows] == [("Kessel 1 Temp", "1m"), ("Ventil", "7m")]


def test_a_long_file_with_a_sensor_by_exception_and_faulty_rows(tmp_path: Path) -> None:
    draw = random.Random(0)
    rows, at_s = ["time,series,value"], 1_700_000_000
    for value in range(200):
        at_s += draw.choice([5, 10, 60, 600])
        rows.append(f"{at_s},Tank[1]/LI,{value}")
    rows += [f"{1_700_000_000 + 60 * k},Pump/PI,{k % 5}" for k in range(300)]
    rows += ["never,Pump/PI,1", "1700000000,,1", "1700000060,Pump/PI,9", "1,2,3,4"]
    findings = look(tmp_path / "long.csv", "\n".join(rows))
    assert findings.rhythms.mode == ("by_exception", "sampled")
    assert findings.rejected == {"bad_time": 1, "bad_series": 1, "not_decodable": 1}
    assert findings.dropped == {"duplicate": 1, "late": 1}
    _, series = write(findings, tmp_path / "first.toml")
    assert (series[0]["match"], series[0]["mode"], series[0]["cadence"]) == (
        "Tank[[]1]/LI",
        "by_exception",
        "5s",
    )
    assert series[0]["silent_after"] == "30m"
    assert "1 sampled, 1 by exception" in show(findings)


def test_a_wide_file_tells_what_never_changes_or_never_comes(tmp_path: Path) -> None:
    rows = "".join(f"2024-01-01T{at:02}:00Z,{at},7,\n" for at in range(24))
    findings = look(tmp_path / "wide.csv", "time,a,b,c\n" + rows)
    config, _ = write(findings, tmp_path / "first.toml")
    assert config["readings"]["cadence_ms"] == 3_600_000
    shown = show(findings)
    assert "without a usable value: 1 series" in shown
    assert "without any change: 1 series" in shown
    assert dict(findings.facts)["time zone"] == "in the times"


def test_an_empty_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="expected a header and rows, but the file is empty"):
        look(tmp_path / "empty.csv", "")


def make_batch(partition: int, values: Sequence[bytes | None]) -> Messages:
    size = len(values)
    return Messages(
        topic="t",
        partition=partition,
        offset=np.arange(size),
        timestamp_ms=np.full(size, 1_700_000_000_000),
        key=[None] * size,
        value=values,
        headers=[[]] * size,
    )


def decode(guess: Guess, messages: Messages) -> tuple[Readings, Sequence[Any]]:
    """A stand-in for the codec: one reading a message."""
    items = [json.loads(value) for value in messages.value if value]
    names = tuple(dict.fromkeys(item["series"] for item in items))
    return (
        Readings(
            series=names,
            series_index=np.array([names.index(item["series"]) for item in items], np.int32),
            event_time_ms=np.array([item["time"] for item in items], np.int64),
            value=np.array([item["value"] for item in items], float),
        ),
        (),
    )


def encode(series: str, at: int) -> bytes:
    return json.dumps({"series": series, "time": 1_700_000_000_000 + 1000 * at, "value": at % 9}).encode()


def test_a_topic_with_a_series_in_two_partitions() -> None:
    home = find_partition("a", 2)
    batches = [
        make_batch(home, [encode("a", at) for at in range(20)] + [None]),
        make_batch(1 - home, [encode("a", 30)]),
    ]
    found = inspect_topic(batches, decode, bootstrap="b:1", topic="t")
    assert isinstance(found, Findings)
    assert found.split == ("a",)
    assert dict(found.facts)["placement"] == "1 series elsewhere"
    assert found.dropped == {"duplicate": 0, "late": 0, "tombstone": 1}
    assert found.masked == {"gap": 10}
    shown = show(found)
    assert "1 series occur in two partitions, such as a" in shown
    assert "json, one reading a message" in shown


def test_a_topic_gives_a_configuration(tmp_path: Path) -> None:
    batches = [make_batch(0, [encode("a", at) for at in range(20)])]
    found = inspect_topic(batches, decode, bootstrap="b:1", topic='odd"name')
    assert isinstance(found, Findings)
    config, _ = write(found, tmp_path / "first.toml")
    assert config["kafka"] == {"bootstrap": "b:1", "topics": ['odd"name']}
    assert (config["readings"]["time_unit"], config["readings"]["cadence_ms"]) == ("ms", 1000)


def test_a_topic_of_another_kind_is_a_guess() -> None:
    found = inspect_topic([make_batch(0, [b"\x00"])], decode, bootstrap="b:1", topic="t")
    assert isinstance(found, Guess)
    assert found.format is None
