"""Where the parts of a reading lie in a decoded object: paths, templates, and objects with several values."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.codec.drafts import Rows
from pipeline.codec.options import PLACEHOLDER, CodecOptions
from pipeline.codec.reasons import Reason
from pipeline.codec.values import is_message

Path = tuple[str, ...]

KEY: Path = ("@key",)
FIELD: Path = ("field",)


class _Absent:
    """What a path leads to that leads nowhere. As a value it is of the wrong type: null is a reading without
    a value, an object without the field is no reading."""


ABSENT = _Absent()

INFLUX = {"series": "{@series}/{field}", "time": "timestamp", "values": "fields.*"}
OTHERS = {"series": "series", "time": "time", "value": "value"}
"""The formats' own places."""


def parse_path(text: str) -> Path:
    return tuple(text.split("."))


def find(path: Path, thing: object) -> object:
    """What a path leads to in nested dicts, or ABSENT."""
    for name in path:
        if not isinstance(thing, dict) or name not in thing:
            return ABSENT
        thing = thing[name]
    return thing


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """The options with the format's own places filled in, as paths."""

    series: Path | None  # None: by the template
    template: tuple[str | Path, ...]  # literal texts and paths in turn
    time: Path
    value: Path | None
    values: Path | None  # to the object whose entries are values
    items: Path | None
    quality: Path | None

    @property
    def plain(self) -> bool:
        """Whether a reading is one object with its parts at the top."""
        paths = (self.series, self.time, self.value, self.quality or ("",))
        return not self.items and all(path is not None and len(path) == 1 for path in paths)


def read_places(options: CodecOptions) -> Places:
    fields = options.fields
    own = dict(INFLUX if options.format == "influx" else OTHERS)
    if fields.value is not None or fields.values is not None:
        own.pop("value", None)
        own.pop("values", None)
    series = fields.series or own["series"]
    value, values = fields.value or own.get("value"), fields.values or own.get("values")
    return Places(
        series=None if "{" in series else parse_path(series),
        template=_parse_template(series) if "{" in series else (),
        time=parse_path(fields.time or own["time"]),
        value=parse_path(value) if value else None,
        values=parse_path(values)[:-1] if values else None,
        items=parse_path(fields.items) if fields.items else None,
        quality=parse_path(fields.quality) if fields.quality else None,
    )


def _parse_template(text: str) -> tuple[str | Path, ...]:
    parts = PLACEHOLDER.split(text)  # literals at even places, paths at odd ones
    return tuple(parse_path(part) if at % 2 else part for at, part in enumerate(parts) if at % 2 or part)


class ObjectMap:
    """Spreads one message, a decoded object or array, over rows."""

    def __init__(self, options: CodecOptions) -> None:
        self.places = read_places(options)
        self._decimal = options.decimal
        places = self.places
        self._other_names = {
            path[-1]
            for path in (places.time, places.quality)
            if places.values is not None and path is not None and path[:-1] == places.values
        }

    def spread(self, message: object, key: bytes | None, rows: Rows) -> None:
        """Add the readings of a message, which is a dict or a list, to the rows."""
        for thing in message if isinstance(message, list) else (message,):
            inner = ABSENT if self.places.items is None else find(self.places.items, thing)
            if isinstance(inner, list):
                for item in inner:
                    self._spread_item(item, thing, key, rows)
            elif inner is ABSENT:
                self._spread_item(thing, {}, key, rows)
            else:
                rows.add(Reason.WRONG_TYPE, None, None, None)

    def _spread_item(self, item: object, around: object, key: bytes | None, rows: Rows) -> None:
        if not isinstance(item, dict):
            rows.add(Reason.WRONG_TYPE, None, None, None)
            return
        places = self.places
        time = _find_near(places.time, item, around)
        quality = None if places.quality is None else _find_near(places.quality, item, around)
        if places.value is not None:
            value = find(places.value, item)
            rows.add(self._name(item, around, key, places.value[-1]), time, value, quality)
            return
        values = find(places.values or (), item)
        if not isinstance(values, dict):
            rows.add(Reason.WRONG_TYPE, None, None, None)
            return
        for field, value in values.items():
            if field in self._other_names or (isinstance(value, str) and is_message(value, self._decimal)):
                continue
            rows.add(self._name(item, around, key, field), time, value, quality)

    def _name(self, item: object, around: object, key: bytes | None, field: str) -> object:
        """The id of a reading, what stands in its place, or a Reason."""
        if self.places.series is not None:
            return _find_near(self.places.series, item, around)
        texts: list[str] = []
        for part in self.places.template:
            if isinstance(part, str):
                texts.append(part)
                continue
            if part in (FIELD, KEY):
                found: object = field if part == FIELD else _read_key(key)
            else:
                found = _find_near(part, item, around)
            if isinstance(found, Reason):
                return found
            if found is None:
                return Reason.NO_SERIES
            if isinstance(found, bool) or not isinstance(found, str | int):
                return Reason.WRONG_TYPE
            if isinstance(found, int) and found.bit_length() >= 128:  # its digits would take quadratic time
                return Reason.BAD_SERIES
            texts.append(str(found))
        return "".join(texts)


def _find_near(path: Path, item: object, around: object) -> object:
    """In the item, else in the message around it; None for nothing."""
    found = find(path, item)
    if found is ABSENT:
        found = find(path, around)
    return None if found is ABSENT else found


def _read_key(key: bytes | None) -> str | Reason:
    if not key:
        return Reason.NO_SERIES
    try:
        return key.decode()
    except UnicodeDecodeError:
        return Reason.BAD_SERIES
