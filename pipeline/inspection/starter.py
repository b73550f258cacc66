"""A first configuration and series file out of what was found."""

import csv
import json
import math
from collections.abc import Iterator
from pathlib import Path

from pipeline.clients import DEFAULT_BOOTSTRAP, DEFAULT_TOPIC
from pipeline.durations import format_duration
from pipeline.inspection.findings import Findings
from pipeline.inspection.rhythm import BY_EXCEPTION, find_shared_cadence

DAY_MS = 86_400_000
SERIES_COLUMNS = (
    *("match", "name", "unit", "site", "area", "equipment", "owner", "severity", "min", "max", "min_abs"),
    *("min_rel", "direction", "cadence", "mode", "season", "silent_after", "off_when", "watch"),
)
_GLOB = "*?["
# A sensor that reports by exception may be quiet for long; three of its long gaps are no news.
_QUIET_GAPS = 3


def name_series_file(path: Path) -> Path:
    """The series file beside a configuration."""
    return path.with_name(f"{path.stem}.series.csv")


def write_starter(path: Path, findings: Findings) -> Path:
    """Write the configuration, and the series file beside it; return the latter's path."""
    series_file = name_series_file(path)
    path.write_text("\n".join(_write_lines(findings, str(series_file))) + "\n", encoding="utf-8")
    with series_file.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, SERIES_COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(_list_rows(findings))
    return series_file


def _write_lines(findings: Findings, series_file: str) -> Iterator[str]:
    guess, rhythms = findings.guess, findings.rhythms
    yield f"# From {findings.title}".replace("\n", " ")
    yield "# Check it with: gatecast config check --config FILE"
    yield "[kafka]"
    yield f"bootstrap = {_quote(findings.bootstrap or DEFAULT_BOOTSTRAP)}"
    yield f"topics = [{_quote(findings.topic or DEFAULT_TOPIC)}]"
    yield ""
    yield "[readings]"
    yield f"format = {_quote(guess.format if guess and guess.format else 'json')}"
    if guess and guess.time_unit:
        yield f"time_unit = {_quote(guess.time_unit)}"
    cadence_ms = find_shared_cadence(rhythms)
    if cadence_ms is not None:
        yield f"cadence_ms = {cadence_ms}  # every {format_duration(cadence_ms)}"
    else:
        yield "# cadence_ms is left out: the series differ, and each is inferred (or told in the series file)"
    yield f"season_ms = {DAY_MS}  # a day; the season is never inferred"
    yield "# max_gap = 24: so many missing steps are filled, longer gaps restart a series"
    if rhythms.mode and all(mode == BY_EXCEPTION for mode in rhythms.mode):
        yield f"mode = {_quote(BY_EXCEPTION)}"
    yield f"series_file = {_quote(series_file)}"
    if guess and guess.fields:
        yield ""
        yield "[readings.fields]"
        yield from (f"{part} = {_quote(where)}" for part, where in guess.fields.items())


def _list_rows(findings: Findings) -> Iterator[dict[str, str]]:
    """A row per series, with what its readings tell; limits and places are for people to fill in."""
    rhythms = findings.rhythms
    for number, name in enumerate(findings.series):
        row = {"match": "".join(f"[{char}]" if char in _GLOB else char for char in name)}
        cadence_ms, long_ms = float(rhythms.cadence_ms[number]), float(rhythms.long_ms[number])
        if rhythms.mode[number] == BY_EXCEPTION:
            row["mode"] = BY_EXCEPTION
            if math.isfinite(long_ms) and long_ms > 0:
                row["silent_after"] = format_duration(_QUIET_GAPS * round(long_ms))
        if math.isfinite(cadence_ms) and cadence_ms >= 1:
            row["cadence"] = format_duration(cadence_ms)
        yield row


def _quote(text: str) -> str:
    """As a TOML string; JSON's escapes are TOML's, but for those of characters beyond the first plane."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
