"""In which format messages are, and where in them a reading's parts lie, guessed from their bytes."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import pyarrow as pa

SAMPLE_MESSAGES = 300
# Compared in lower case, without punctuation, by the last part of a path; an earlier one wins.
NAMES = {
    "time": ("time", "timestamp", "ts", "t", "eventtime", "datetime", "date", "zeit", "zeitstempel"),
    "value": ("value", "val", "v", "wert", "reading", "measurement"),
    "series": (
        *("series", "seriesid", "tag", "tagname", "sensor", "sensorid", "sensorname", "pointid", "point"),
        *("name", "id", "metric", "key"),
    ),
    "quality": ("quality", "q", "status", "statuscode"),
}
_ARROW_STREAM = b"\xff\xff\xff\xff"
_INFLUX = re.compile(
    rb"[^\s,={\[][^\s]*(,[^\s=]+=[^\s]+)* [^\s=]+=(\"[^\"]*\"|[^\s,]+)(,[^\s=]+=\S+)*( -?\d+)?\s*"
)
_UNIT_LIMITS = ((1e11, "s"), (1e14, "ms"), (1e17, "us"), (float("inf"), "ns"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Guess:
    """``format``, ``fields`` and ``time_unit`` as the configuration has them; format None: nothing fits."""

    format: str | None
    title: str  # for people, such as "json, one reading a message"
    fields: Mapping[str, str] = field(default_factory=dict)
    time_unit: str | None = None
    share: float = 1.0  # of the messages looked at that are of the kind
    notes: tuple[str, ...] = ()


def guess_format(values: Sequence[bytes | None], *, keyed: bool) -> Guess:
    """Guess from message values; ``keyed`` says whether messages have keys, which may name the series."""
    sample = [value for value in values if value][:SAMPLE_MESSAGES]
    if not sample:
        return Guess(format=None, title="no message with a value")
    kinds = [_find_kind(value) for value in sample]
    kind, number = Counter(kinds).most_common(1)[0]
    chosen = [value for value, found in zip(sample, kinds, strict=True) if found == kind]
    return replace(_GUESSES[kind](chosen, keyed), share=number / len(sample))


def _find_kind(value: bytes) -> str:
    if value.startswith(_ARROW_STREAM):
        return "arrow"
    if value.lstrip()[:1] in (b"{", b"["):
        return _find_json_kind(value)
    if _INFLUX.fullmatch(value.split(b"\n", 1)[0]):
        return "influx"
    return "unknown"


def _find_json_kind(value: bytes) -> str:
    try:
        data = msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "unknown"
    if isinstance(data, list):
        return "array" if data and isinstance(data[0], dict) else "unknown"
    lists = [part for part in data.values() if isinstance(part, list)]
    if (
        len(lists) >= 2
        and len({len(part) for part in lists}) == 1
        and not any(isinstance(part[0], dict) for part in lists if part)
    ):
        return "columns"
    return "telegraf" if _is_telegraf(data) else "items" if _find_items(data) else "object"


def _is_telegraf(data: Mapping[str, Any]) -> bool:
    return isinstance(data.get("fields"), dict) and "name" in data and isinstance(data.get("tags"), dict)


def _find_items(data: Mapping[str, Any]) -> str | None:
    """The name of an array of objects, such as ``metrics``."""
    for name, part in data.items():
        if isinstance(part, list) and part and isinstance(part[0], dict):
            return name
    return None


def _guess_objects(values: Sequence[bytes], keyed: bool) -> Guess:
    return _guess_from("json, one reading a message", [msgspec.json.decode(value) for value in values], keyed)


def _guess_array(values: Sequence[bytes], keyed: bool) -> Guess:
    decoded = [item for value in values for item in msgspec.json.decode(value) if isinstance(item, dict)]
    if decoded and _is_telegraf(decoded[0]):
        return _guess_telegraf_objects(decoded, {})
    return _guess_from("json, an array of readings a message", decoded, keyed)


def _guess_telegraf(values: Sequence[bytes], keyed: bool) -> Guess:
    return _guess_telegraf_objects([msgspec.json.decode(value) for value in values], {})


def _guess_items(values: Sequence[bytes], keyed: bool) -> Guess:
    decoded = [msgspec.json.decode(value) for value in values]
    name = _find_items(decoded[0]) or ""
    items = [item for data in decoded for item in data.get(name, ()) if isinstance(item, dict)]
    if _is_telegraf(items[0]):
        return _guess_telegraf_objects(items, {"items": name})
    # What an item lacks is looked up around it.
    around = {key: part for key, part in decoded[0].items() if key != name}
    guess = _guess_from(f"json, readings in an array {name!r}", [{**around, **item} for item in items], keyed)
    return replace(guess, fields={**guess.fields, "items": name})


def _guess_telegraf_objects(objects: Sequence[Mapping[str, Any]], fields: dict[str, str]) -> Guess:
    tags = set.intersection(*(set(data.get("tags", {})) for data in objects))
    template = "/".join(["{name}", *(f"{{tags.{tag}}}" for tag in sorted(tags)), "{field}"])
    times = [data.get("timestamp") for data in objects]
    return Guess(
        format="json",
        title="Telegraf's JSON",
        fields={**fields, "series": template, "time": "timestamp", "values": "fields.*"},
        time_unit=find_time_unit(times),
    )


def _guess_columns(values: Sequence[bytes], keyed: bool) -> Guess:
    decoded = msgspec.json.decode(values[0])
    firsts = {name: part[0] for name, part in decoded.items() if isinstance(part, list) and part}
    return _guess_parts("columns", "columns: an object of arrays", [firsts], keyed)


def _guess_arrow(values: Sequence[bytes], keyed: bool) -> Guess:
    try:
        table = pa.ipc.open_stream(values[0]).read_all()
    except pa.ArrowInvalid:
        return Guess(format=None, title="Arrow that can't be read")
    firsts = {name: table[name][0].as_py() if len(table) else None for name in table.column_names}
    guess = _guess_parts("arrow", "Arrow IPC streams", [firsts], keyed)
    has_type = any(pa.types.is_timestamp(part.type) for part in table.schema)
    return replace(guess, time_unit=None if has_type else guess.time_unit)


def _guess_influx(values: Sequence[bytes], keyed: bool) -> Guess:
    lines = [line.rsplit(b" ", 1)[-1] for value in values for line in value.splitlines() if line.strip()]
    times = [int(text) for text in lines if re.fullmatch(rb"-?\d+", text)]
    unit = find_time_unit(times)
    return Guess(format="influx", title="InfluxDB line protocol", time_unit=None if unit == "ns" else unit)


def _guess_unknown(values: Sequence[bytes], keyed: bool) -> Guess:
    return Guess(format=None, title=f"no known format; the first begins with {values[0][:40]!r}")


def _guess_from(title: str, objects: Sequence[Mapping[str, Any]], keyed: bool) -> Guess:
    return _guess_parts("json", title, [dict(_flatten(data)) for data in objects], keyed)


def _guess_parts(format: str, title: str, flat: Sequence[Mapping[str, Any]], keyed: bool) -> Guess:
    """Find the parts of a reading among paths; a path that is the format's own is left out."""
    found = {part: _find_part(flat, part) for part in NAMES}
    notes = []
    if found["series"] is None:
        notes.append("no field names the series: " + ("the key does" if keyed else "set fields.series"))
    if found["value"] is None:
        notes.append("no field holds the value: set fields.value")
    if found["time"] is None:
        notes.append("no field holds the time: the broker's timestamp counts")
    fields = {part: path for part, path in found.items() if path is not None and path != part}
    if found["quality"] is not None:
        fields["quality"] = found["quality"]  # never read unless it is named
    times = [data.get(found["time"]) for data in flat] if found["time"] else []
    return Guess(
        format=format, title=title, fields=fields, time_unit=find_time_unit(times), notes=tuple(notes)
    )


def _find_part(flat: Sequence[Mapping[str, Any]], part: str) -> str | None:
    wanted = _WANTED[part]
    for name in NAMES[part]:
        for path, cell in (flat[0] if flat else {}).items():
            if re.sub(r"[\W_]+", "", path.rpartition(".")[2].lower()) == name and wanted(cell):
                return path
    return None


def find_time_unit(times: Sequence[Any]) -> str | None:
    """``rfc3339`` for texts, else by the size of the numbers; None without any."""
    if any(isinstance(time, str) for time in times):
        return "rfc3339"
    numbers = sorted(abs(time) for time in times if isinstance(time, int | float))
    if not numbers:
        return None
    typical = numbers[len(numbers) // 2]
    return next(unit for limit, unit in _UNIT_LIMITS if typical < limit)


def _flatten(data: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, part in data.items():
        path = f"{above}.{name}" if above else name
        if isinstance(part, dict):
            yield from _flatten(part, path)
        else:
            yield path, part


_WANTED: Mapping[str, Callable[[Any], bool]] = {
    "time": lambda cell: not isinstance(cell, bool),
    "value": lambda cell: True,
    "series": lambda cell: isinstance(cell, str),
    "quality": lambda cell: isinstance(cell, str | int),
}
_GUESSES: Mapping[str, Callable[[Sequence[bytes], bool], Guess]] = {
    "object": _guess_objects,
    "array": _guess_array,
    "telegraf": _guess_telegraf,
    "items": _guess_items,
    "columns": _guess_columns,
    "arrow": _guess_arrow,
    "influx": _guess_influx,
    "unknown": _guess_unknown,
}
