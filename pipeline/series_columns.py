"""The columns of a series file: how a cell is read, and what it must be."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.durations import parse_duration_ms

SEVERITIES = ("page", "ticket", "info")
DIRECTIONS = ("both", "above", "below")
MODES = ("sampled", "by_exception")
OPERATORS = ("<", "<=", "==", "!=", ">=", ">")
MATCH = "match"
_MAX_TEXT = 256  # characters; they become labels and stand in alerts
_MAX_DURATION_MS = 100 * 366 * 86_400_000
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)
_COMPARISON = re.compile(r"(<=|>=|==|!=|<|>|=)\s*(\S+)")
_YES, _NO = ("yes", "true", "1", "x"), ("no", "false", "0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """`read` raises ValueError with the words that follow "expected"."""

    field: str  # of SeriesProfile
    read: Callable[[str], Any]


def read_number(text: str) -> float:
    """A finite number. A decimal comma is one: delimiters inside numbers never get here."""
    plain = text.replace(",", ".") if text.count(",") == 1 and "." not in text else text
    number = float(plain) if _NUMBER.fullmatch(plain) else math.nan
    if not math.isfinite(number):
        raise ValueError("a number such as 12.5")
    return number


def read_duration_ms(text: str) -> int:
    """Whole milliseconds above zero."""
    return _read_duration(text, 1)


def read_comparison(text: str) -> tuple[str, float]:
    """An operator and a number; a single = is ==."""
    if found := _COMPARISON.fullmatch(text):
        try:
            return ("==" if found[1] == "=" else found[1]), read_number(found[2])
        except ValueError:
            pass
    raise ValueError(f"a comparison with a number, such as < 5, with one of {' '.join(OPERATORS)}")


def read_truth(text: str) -> bool:
    """yes or no, true or false, 1 or 0."""
    if text.lower() in _YES:
        return True
    if text.lower() in _NO:
        return False
    raise ValueError("yes or no")


def _read_text(text: str) -> str:
    if len(text) > _MAX_TEXT or not text.isprintable():
        raise ValueError(f"at most {_MAX_TEXT} characters without line breaks or other control characters")
    return text


def _read_distance(text: str) -> float:
    try:
        number = read_number(text)
    except ValueError:
        number = -1.0
    if number < 0:
        raise ValueError("a number of at least 0, such as 0.5")
    return number


def _read_season_ms(text: str) -> int:
    return _read_duration(text, 0)


def _read_duration(text: str, least: int) -> int:
    try:
        milliseconds = parse_duration_ms(text)
    except (ValueError, OverflowError):
        milliseconds = -1
    if not least <= milliseconds <= _MAX_DURATION_MS:
        none = "" if least else ", or 0 for none"
        raise ValueError(f"a length of time such as 500ms, 60s, 5m, 1h or 1d, or a number of seconds{none}")
    return milliseconds


def _choose(*choices: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text.lower() not in choices:
            raise ValueError(f"one of {', '.join(choices)}")
        return text.lower()

    return read


COLUMNS: Mapping[str, Column] = {
    "name": Column(field="name", read=_read_text),
    "unit": Column(field="unit", read=_read_text),
    "site": Column(field="site", read=_read_text),
    "area": Column(field="area", read=_read_text),
    "equipment": Column(field="equipment", read=_read_text),
    "owner": Column(field="owner", read=_read_text),
    "severity": Column(field="severity", read=_choose(*SEVERITIES)),
    "min": Column(field="minimum", read=read_number),
    "max": Column(field="maximum", read=read_number),
    "min_abs": Column(field="min_abs", read=_read_distance),
    "min_rel": Column(field="min_rel", read=_read_distance),
    "direction": Column(field="direction", read=_choose(*DIRECTIONS)),
    "cadence": Column(field="cadence_ms", read=read_duration_ms),
    "mode": Column(field="mode", read=_choose(*MODES)),
    "season": Column(field="season_ms", read=_read_season_ms),
    "silent_after": Column(field="silent_after_ms", read=read_duration_ms),
    "off_when": Column(field="off_when", read=read_comparison),
    "watch": Column(field="watch", read=read_truth),
}
"""All columns but `match`, by their name in the file."""
