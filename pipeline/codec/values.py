"""Values and qualities as they stand in messages, to numbers and faults."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from pipeline.codec.reasons import Reason
from pipeline.codec.texts import BAD_TEXTS, FALSE_TEXTS, MISSING_TEXTS, TRUE_TEXTS
from pipeline.records import BAD_QUALITY, GOOD, MISSING, Float64Array

LONGEST_TEXT = 64
"""Longer texts are no number and no known word."""

_MISSING, _BAD = frozenset(MISSING_TEXTS), frozenset(BAD_TEXTS)
_SWITCH = dict.fromkeys(TRUE_TEXTS, 1.0) | dict.fromkeys(FALSE_TEXTS, 0.0)
_NUMBERS = {
    ".": re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"),
    ",": re.compile(r"[+-]?(?:[0-9]+,?[0-9]*|,[0-9]+)(?:[eE][+-]?[0-9]+)?"),
}
_NUMERIC = frozenset({float, int, bool, type(None)})


def read_value(raw: object, decimal: str) -> tuple[float, int] | Reason:
    """The value of one reading and its fault; NaN where there is no usable value.

    true and false, also as text and as on and off, are 1 and 0. A text that is no number is a message of its
    sender: MISSING if it says that there is nothing, else BAD_QUALITY. So are infinities, and numbers beyond
    float64.
    """
    if isinstance(raw, float | int):
        try:
            value = float(raw)
        except OverflowError:
            return math.nan, BAD_QUALITY
        if math.isfinite(value):
            return value, GOOD
        return math.nan, MISSING if math.isnan(value) else BAD_QUALITY
    if raw is None:
        return math.nan, MISSING
    if isinstance(raw, str):
        return _read_text(raw, decimal)
    return Reason.WRONG_TYPE


def read_values(
    raw: Sequence[object], decimal: str
) -> tuple[Float64Array, npt.NDArray[np.int8], npt.NDArray[np.int8]]:
    """As `read_value` for each [N]; returns values, faults, and numbers of reasons (0 for none)."""
    numbers = list(raw)
    odd = [] if set(map(type, raw)) <= _NUMERIC else _find_odd(raw)
    for place in odd:
        numbers[place] = None
    try:
        value = np.array(numbers, dtype=np.float64)  # None becomes NaN
    except OverflowError:  # an integer beyond float64
        value, odd = np.full(len(raw), np.nan), list(range(len(raw)))
    value, fault = split_faults(value)
    reason = np.zeros(len(raw), dtype=np.int8)
    for place in odd:
        found = read_value(raw[place], decimal)
        if isinstance(found, Reason):
            reason[place] = found.value
        else:
            value[place], fault[place] = found
    return value, fault, reason


def split_faults(value: Float64Array) -> tuple[Float64Array, npt.NDArray[np.int8]]:
    """Numbers with NaN for each that is not finite, and their faults. The numbers given are left as they are,
    and returned if all are finite."""
    fault = np.full(value.shape, GOOD, dtype=np.int8)
    unusable = ~np.isfinite(value)
    if unusable.any():
        fault[unusable] = np.where(np.isnan(value[unusable]), MISSING, BAD_QUALITY)
        value = np.where(unusable, np.nan, value)
    return value, fault


def _find_odd(raw: Sequence[object]) -> list[int]:
    return [place for place, one in enumerate(raw) if type(one) not in _NUMERIC]


def is_message(text: str, decimal: str) -> bool:
    """Whether a text is neither a number nor a word that is known to stand for one.

    Among several values of one object such a text is another field (an operating mode, a serial number), not
    a sensor without a value.
    """
    if len(text) > LONGEST_TEXT:
        return True
    word = text.strip().lower()
    known = word in _MISSING or word in _BAD or word in _SWITCH
    return not known and _NUMBERS[decimal].fullmatch(word) is None


class Qualities:
    """Tells good from bad. Built from the qualities that are good."""

    def __init__(self, good: Iterable[str | int]) -> None:
        self._good = frozenset(_normalize(word) for word in good)

    def is_good(self, raw: object) -> bool | Reason:
        """Whether one quality is good; None, a sender that says nothing, is."""
        if raw is None:
            return True
        if not isinstance(raw, str | int | float):
            return Reason.WRONG_TYPE
        return _normalize(raw) in self._good

    def judge(self, raw: Sequence[object]) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int8]]:
        """As `is_good` for each [N]; returns which are bad, and numbers of reasons (0 for none)."""
        if set(map(type, raw)) <= {str, type(None)}:
            verdicts = {quality: self.is_good(quality) for quality in set(raw)}
            found = [verdicts[quality] for quality in raw]
        else:
            found = [self.is_good(quality) for quality in raw]
        bad = np.array([good is False for good in found], dtype=np.bool_)
        reason = [good.value if isinstance(good, Reason) else 0 for good in found]
        return bad, np.array(reason, dtype=np.int8)


def _read_text(text: str, decimal: str) -> tuple[float, int]:
    if len(text) > LONGEST_TEXT:
        return math.nan, BAD_QUALITY
    word = text.strip().lower()
    if _NUMBERS[decimal].fullmatch(word):
        value = float(word.replace(",", "."))
        return (value, GOOD) if math.isfinite(value) else (math.nan, BAD_QUALITY)
    if word in _SWITCH:
        return _SWITCH[word], GOOD
    return math.nan, MISSING if word in _MISSING else BAD_QUALITY


def _normalize(quality: str | int | float) -> str:
    """Text without case, so that 192, 192.0 and "192" are one quality; a flag is "true" or "false"."""
    if isinstance(quality, bool):
        return "true" if quality else "false"
    if isinstance(quality, float) and quality.is_integer() and abs(quality) < 2**53:
        quality = int(quality)
    if isinstance(quality, int) and quality.bit_length() > 64:  # its digits would take quadratic time
        return ""
    text = quality if isinstance(quality, str) else str(quality)
    return text.strip().casefold() if len(text) <= LONGEST_TEXT else ""
