"""What comes with a simulated plant on paper: the labels of its faults, and its series file."""

import csv
import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.demo.faults import Fault
from pipeline.demo.layout import KINDS, Layout
from pipeline.demo.plant import HEARTBEAT_STEPS, Plant
from pipeline.durations import format_duration

COLUMNS = (
    *("match", "name", "unit", "site", "area", "equipment", "owner", "severity", "min", "max", "min_abs"),
    *("min_rel", "direction", "cadence", "mode", "season", "silent_after", "off_when", "watch"),
)
_WATCHED = 8  # sensors that a dashboard shows from the start
_TITLES = {
    **{"power": "power", "flow": "flow", "level": "level", "temperature": "temperature"},
    **{"pressure": "pressure", "vibration": "vibration", "valve": "valve position"},
    **{"current": "analyser loop", "running": "running"},
}


def write_labels(path: str | os.PathLike[str], plant: Plant, *, before_ms: int) -> None:
    """Write all faults that began before a time as JSON; a reader never sees half a file.

    ``faults`` has series, kind, start and end (epoch milliseconds, the end being the first healthy step) and
    the size in the sensor's unit, null where there is none. ``windows`` has the same by series, as texts
    in UTC from first to last faulty step: the form of the Numenta benchmark.
    """
    names = plant.layout.series
    faults = [fault for fault in plant.faults if fault.start_ms < before_ms]
    report = {
        "version": 1,
        "seed": plant.options.seed,
        "cadence_ms": plant.options.cadence_ms,
        "simulated": {"start": plant.options.start_ms, "end": before_ms},
        "faults": [_describe(fault, names) for fault in faults],
        "windows": list_windows(faults, names, plant.options.cadence_ms),
    }
    target = Path(path)
    draft = target.with_name(target.name + ".part")
    draft.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    draft.replace(target)


def list_windows(
    faults: Sequence[Fault], names: Sequence[str], cadence_ms: int
) -> dict[str, list[list[str]]]:
    """First and last faulty step of each fault, by series."""
    windows: dict[str, list[list[str]]] = {}
    for fault in faults:
        span = [_format_time(at_ms) for at_ms in (fault.start_ms, fault.end_ms - cadence_ms)]
        windows.setdefault(names[fault.series], []).append(span)
    return windows


def write_series_file(path: str | os.PathLike[str], plant: Plant) -> None:
    """Write what the plant knows about its sensors as a series file: a row for each."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for sensor in range(len(plant.layout.series)):
            writer.writerow(_make_row(plant.layout, sensor, plant.options.cadence_ms, plant.options.day_ms))


def _make_row(layout: Layout, sensor: int, cadence_ms: int, day_ms: int) -> dict[str, Any]:
    kind, place = KINDS[layout.kind[sensor]], layout.place[sensor]
    by_exception = bool(layout.by_exception[sensor])
    low, high = kind.valid
    row = {
        "match": layout.series[sensor],
        "name": f"{place.equipment} {_TITLES[layout.kind[sensor]]}",
        "unit": kind.unit,
        "site": place.site,
        "area": place.area,
        "equipment": place.equipment,
        "owner": place.owner,
        "severity": "page" if place.area == "Reaction" and kind.tag in ("TI", "PI") else "ticket",
        "min": f"{low:g}",
        "max": f"{high:g}",
        "min_abs": f"{2 * kind.deadband:g}",
        "direction": "above" if kind.tag == "VI" else "both",
        "cadence": format_duration(cadence_ms),
        "mode": "by_exception" if by_exception else "sampled",
        "season": format_duration(day_ms),
        "silent_after": format_duration((3 * HEARTBEAT_STEPS if by_exception else 10) * cadence_ms),
        "watch": "yes" if sensor < _WATCHED else "",
    }
    if layout.machine[sensor] >= 0 and kind.off_below is not None:
        row["off_when"] = f"< {kind.off_below:g}"
    return row


def _describe(fault: Fault, names: Sequence[str]) -> dict[str, Any]:
    return {
        "series": names[fault.series],
        "kind": fault.kind,
        "start": fault.start_ms,
        "end": fault.end_ms,
        "size": round(fault.size, 6) or None,
    }


def _format_time(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
