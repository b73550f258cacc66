r"""InfluxDB line protocol, as Telegraf writes it, to the objects that Telegraf writes as JSON.

    measurement,tag=value,… field=value,… timestamp

A backslash before a comma, an equals sign or a space takes its meaning away, in quoted texts before a quote
or a backslash; before anything else it is a backslash. Quoted texts may hold line ends. The parsers on PyPI
take one line at a time, don't say where a line ends, and refuse a line for one bad field.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

from pipeline.codec.fields import ABSENT

SERIES = "@series"
"""Beside Telegraf's own names: the measurement and its sorted tags, `measurement,tag=value`."""

# All quantifiers are possessive: none of these can backtrack, so no text takes more than linear time.
_LINE = re.compile(
    r"(?P<head>(?:\\[, =]|[^ \n])++) ++"
    r'(?P<fields>(?:="(?:[^"\\]|\\.)*+"|\\[, =]|[^ \n])++)'
    r"(?: ++(?P<time>[^ \n]++))?+ *+\r?+(?:\n|\Z)",
    re.DOTALL,
)
_NEXT_LINE = re.compile(r"[^\n]*+\n?+")
_SPACE = re.compile(r"[ \t\r\n]*+")
_MEASUREMENT = re.compile(r"((?:\\[, ]|[^, \n])++)(?:,|\Z)")
_TAG = re.compile(r"((?:\\[, =]|[^, =])++)=((?:\\[, =]|[^, =])++)(?:,|\Z)")
_FIELD = re.compile(r'((?:\\[, =]|[^, =])++)=("(?:[^"\\]|\\.)*+"(?=,|\Z)|[^,]*+)(?:,|\Z)', re.DOTALL)
_ESCAPED = re.compile(r"\\([, =])")
_ESCAPED_IN_QUOTES = re.compile(r'\\(["\\])')
_FLOAT = re.compile(r"[+-]?(?:[0-9]++\.?[0-9]*+|\.[0-9]++)(?:[eE][+-]?[0-9]++)?+")
_INTEGER = re.compile(r"(?:[+-]?[0-9]{1,20}i|[0-9]{1,20}u)")
_TIME = re.compile(r"-?[0-9]{1,20}")
_FLAGS = dict.fromkeys(("t", "T", "true", "True", "TRUE"), True) | dict.fromkeys(
    ("f", "F", "false", "False", "FALSE"), False
)

_LONGEST_CACHED_HEAD = 1024

Line = dict[str, object]


def parse_lines(text: str) -> Iterator[Line | None]:
    """The lines of a message; None for one that is none. Empty lines and comments are left out."""
    at, end = 0, len(text)
    while at < end:
        at = _SPACE.match(text, at).end()  # type: ignore[union-attr]  # it matches nothing, too
        if at == end:
            return
        if text[at] == "#":
            at = _NEXT_LINE.match(text, at).end()  # type: ignore[union-attr]
            continue
        match = _LINE.match(text, at)
        line = None if match is None else _build(match)
        if match is None or line is None:
            match = _NEXT_LINE.match(text, at)
        at = match.end()  # type: ignore[union-attr]
        yield line


def _build(match: re.Match[str]) -> Line | None:
    head_text, fields_text, time_text = match.group("head", "fields", "time")
    parse = _parse_head if len(head_text) <= _LONGEST_CACHED_HEAD else _parse_head.__wrapped__
    head = parse(head_text)
    fields = _parse_fields(fields_text.removesuffix("\r") if time_text is None else fields_text)
    if head is None or fields is None:
        return None
    name, tags, series = head
    time: int | str | None = None
    if time_text is not None:
        digits = time_text.removesuffix("\r")
        time = int(digits) if _TIME.fullmatch(digits) else digits or None
    return {"name": name, "tags": tags, SERIES: series, "fields": fields, "timestamp": time}


@functools.lru_cache(maxsize=4096)  # the same sensors come again and again
def _parse_head(text: str) -> tuple[str, dict[str, str], str] | None:
    match = _MEASUREMENT.match(text)
    if match is None:
        return None
    name, at = _unescape(match[1]), match.end()
    tags: dict[str, str] = {}
    while at < len(text):
        match = _TAG.match(text, at)
        if match is None:
            return None
        tags[_unescape(match[1])] = _unescape(match[2])
        at = match.end()
    if text.endswith(",") and not text.endswith("\\,"):
        return None
    return name, tags, ",".join([name, *(f"{tag}={tags[tag]}" for tag in sorted(tags))])


def _parse_fields(text: str) -> dict[str, object] | None:
    fields: dict[str, object] = {}
    at = 0
    while at < len(text):
        match = _FIELD.match(text, at)
        if match is None:
            return None
        fields[_unescape(match[1])] = _parse_value(match[2])
        at = match.end()
    return None if text.endswith(",") and not text.endswith("\\,") else fields


def _parse_value(text: str) -> object:
    """A number, a flag, a text; of the wrong type (ABSENT) if it is neither."""
    if _FLOAT.fullmatch(text):
        return float(text)
    if _INTEGER.fullmatch(text):
        return int(text[:-1])
    if text in _FLAGS:
        return _FLAGS[text]
    if len(text) >= 2 and text[0] == text[-1] == '"':
        return _ESCAPED_IN_QUOTES.sub(r"\1", text[1:-1])
    # Not of the protocol, but written: the texts say that there is no number.
    return float(text) if text.lower() in ("nan", "inf", "+inf", "-inf") else ABSENT


def _unescape(text: str) -> str:
    return _ESCAPED.sub(r"\1", text) if "\\" in text else text
