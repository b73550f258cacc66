"""How messages are to be read: the format, where its fields lie, and the limits."""

from __future__ import annotations

import re
from dataclasses import dataclass

FORMATS = ("json", "columns", "arrow", "influx")
TIME_UNITS = ("auto", "s", "ms", "us", "ns", "rfc3339")
DECIMALS = (".", ",")

PLACEHOLDER = re.compile(r"\{([^{}]+)\}")
"""Of a template; what is in the braces is a dotted path, `field` or `@key`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldOptions:
    """Where in a message the parts of a reading lie. None is the format's own place.

    A path is names with dots between them (`tags.unit`). For `columns` it leads to an array, for `arrow` it
    is the name of a column. For `influx` a line looks like the object that Telegraf writes as JSON: `name`,
    `tags`, `fields`, `timestamp`.
    Raises ValueError if a path or a template can't be used.
    """

    series: str | None = None
    """A path (`series`), or a template with paths in braces (`{tags.unit}/{name}/{field}`). `{field}` is
    the name of the value among several, `{@key}` the Kafka key. A plain path that leads nowhere falls back to
    the Kafka key; a template with a hole does not (`no_series`). influx: `{@series}/{field}`, where
    `{@series}` is the measurement with its sorted tags, `measurement,tag=value`."""
    time: str | None = None
    """`time`; for influx `timestamp`. Where it is missing or null, the Kafka timestamp counts."""
    value: str | None = None
    """`value`."""
    values: str | None = None
    """Several values in one object, as `fields.*`; for influx the default."""
    items: str | None = None
    """An array of readings inside a message, such as `metrics`; a message without it is one reading. What an
    item lacks is looked up in the message around it. A message that is an array needs no `items`."""
    quality: str | None = None
    """Where it is missing or null, the value counts as good."""
    good: tuple[str | int, ...] = ("good", "ok", "true", 192)
    """Qualities of usable values; all others are bad. Texts are compared without regard to case. 192 is OPC
    DA's good; OPC UA's is 0, which in OPC DA is bad, so it has to be named."""

    def __post_init__(self) -> None:
        for name in ("time", "value", "values", "items", "quality"):
            path = getattr(self, name)
            if path is not None:
                _check_path(name, path, several=name == "values")
        if self.value is not None and self.values is not None:
            raise ValueError(
                f"expected fields.value or fields.values, but got both, {self.value!r} and {self.values!r}; "
                "leave out the one that does not hold"
            )
        if self.series is not None:
            self._check_series(self.series)
        if not self.good or any(
            isinstance(word, bool) or not isinstance(word, str | int) for word in self.good
        ):
            raise ValueError(
                "expected fields.good to be a list of texts and whole numbers, such as ['Good', 192], "
                f"but got {list(self.good)!r}"
            )

    def _check_series(self, series: str) -> None:
        if not any(brace in series for brace in "{}"):
            _check_path("series", series, several=False)
        else:
            if set(PLACEHOLDER.sub("", series)) & {"{", "}"}:
                raise ValueError(
                    f"expected fields.series to close each brace, as in '{{tags.unit}}/{{name}}', "
                    f"but got {series!r}"
                )
            for path in PLACEHOLDER.findall(series):
                _check_path("series", path, several=False)
        if self.values is not None and "{field}" not in series:
            raise ValueError(
                f"expected fields.series to contain {{field}}, because fields.values = {self.values!r} names "
                f"several values that need ids of their own, but got {series!r}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class CodecOptions:
    """What a codec is built from. Raises ValueError at a setting that can't be used."""

    format: str = "json"
    fields: FieldOptions = FieldOptions()
    time_unit: str | None = None
    """Of numbers: `s`, `ms`, `us`, `ns`; `auto` goes by their size; `rfc3339` takes texts only. None is `ns`
    for influx, `auto` for the others. RFC 3339 texts are understood with any unit, Arrow's timestamps bring
    their own."""
    decimal: str = "."
    """The decimal sign of numbers that come as text. With `,` a text with a point is no number."""
    max_message_bytes: int = 4 * 1024 * 1024
    """Longer messages are rejected unread. A broker's limit is on compressed batches, so that messages can
    well be longer than its megabyte."""
    max_readings: int = 100_000
    """In one message."""

    def __post_init__(self) -> None:
        _check_choice("format", self.format, FORMATS)
        if self.time_unit is not None:
            _check_choice("time_unit", self.time_unit, TIME_UNITS)
        _check_choice("decimal", self.decimal, DECIMALS)
        for name in ("max_message_bytes", "max_readings"):
            limit = getattr(self, name)
            if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
                raise ValueError(f"expected {name} to be a whole number of at least 1, but got {limit!r}")
        fields = self.fields
        if self.format in ("columns", "arrow"):
            unusable = {"values": fields.values, "items": fields.items}
            if fields.series is not None and "{" in fields.series:
                unusable["series"] = fields.series
            for name, setting in unusable.items():
                if setting is not None:
                    raise ValueError(
                        f"expected no {'template in ' if name == 'series' else ''}fields.{name} with "
                        f"format = {self.format!r}, but got {setting!r}; templates, values and items are "
                        "for json and influx"
                    )
        if self.format == "influx" and fields.items is not None:
            raise ValueError(
                f"expected no fields.items with format = 'influx', but got {fields.items!r}; a message has "
                "lines"
            )
        if fields.values is not None and fields.series is None and self.format == "json":
            raise ValueError(
                f"expected fields.series with {{field}} beside fields.values = {fields.values!r}, because "
                "several values need ids of their own, such as '{name}/{field}'"
            )


def _check_choice(name: str, setting: str, choices: tuple[str, ...]) -> None:
    if setting not in choices:
        raise ValueError(f"expected {name} to be one of {', '.join(choices)}, but got {setting!r}")


def _check_path(name: str, path: str, *, several: bool) -> None:
    parts = path.split(".")
    stars = parts.count("*")
    if "" in parts or (several and (stars != 1 or parts[-1] != "*")) or (not several and stars):
        wanted = "a path that ends in '*', as 'fields.*'" if several else "a path as 'tags.unit'"
        raise ValueError(f"expected fields.{name} to be {wanted}, but got {path!r}")
