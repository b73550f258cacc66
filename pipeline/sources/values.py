"""Value cells to float64: numbers in either decimal notation, booleans, and texts that stand for no value."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.codec.texts import FALSE_TEXTS, MISSING_TEXTS, TRUE_TEXTS
from pipeline.sources.dates import read_flags
from pipeline.sources.times import is_text
from pipeline.sources.zones import BoolArray

Float64Array = npt.NDArray[np.float64]

_NUMBER = r"^[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$"
_COMMA_NUMBER = _NUMBER.replace(r"\.", ",")
_INFINITE = r"^[+-]?(?i:inf|infinity)$"
_GROUPED = r"^[+-]?[0-9]{1,3}(?:[., '\x{a0}\x{202f}][0-9]{3})+(?:[.,][0-9]*)?$"


def _surely_decimal(sign: str, other: str) -> str:
    """Pattern of numbers whose ``sign`` can't part thousands, by the digits before and behind it."""
    return (
        rf"^[+-]?(?:[0-9]*{sign}(?:[0-9]{{0,2}}|[0-9]{{4,}})|[0-9]{{4,}}{sign}[0-9]{{3}}|0*{sign}[0-9]{{3}}"
        rf"|[0-9]{{1,3}}(?:{other}[0-9]{{3}})+{sign}[0-9]*)(?:[eE][+-]?[0-9]+)?$"
    )


_SURELY_COMMA, _SURELY_POINT = _surely_decimal(",", r"\."), _surely_decimal(r"\.", ",")


@dataclass(frozen=True, slots=True, kw_only=True)
class Values:
    """One column [N]: NaN where there was no usable value, and why."""

    value: Float64Array
    missing: BoolArray
    text: BoolArray
    infinite: BoolArray
    is_boolean: bool = False
    first_grouped: int | None = None  # the first text cell that looks like a number with parted thousands


def is_value_type(kind: Any) -> bool:
    """Whether an Arrow type can hold values: numbers, booleans, text, or nothing at all."""
    types = pa.types
    return bool(
        is_text(kind)
        or types.is_integer(kind)
        or types.is_floating(kind)
        or types.is_decimal(kind)
        or types.is_boolean(kind)
        or types.is_null(kind)
    )


def sniff_decimal(columns: Sequence[Any], delimiter: str) -> tuple[str, str | None]:
    """Return the decimal sign of text columns, and a sentence if it is not the point.

    Cells in which the comma can't part thousands vote for the comma, their mirror images for the point. If
    no cell decides, as with nothing but ``1,234``, commas are decimal unless they delimit cells too.
    """
    with_comma = [column.filter(pc.match_substring(column, ",").fill_null(False)) for column in columns]
    with_comma = [pc.utf8_trim_whitespace(cells) for cells in with_comma if len(cells)]
    if not with_comma:
        return ".", None
    commas = sum(_count(cells, _SURELY_COMMA) for cells in with_comma)
    points = sum(_count(column, _SURELY_POINT) for column in columns)
    if commas > points:
        return ",", "decimal comma"
    possible = [cells.filter(pc.match_substring_regex(cells, _COMMA_NUMBER)) for cells in with_comma]
    example = next((cells[0].as_py() for cells in possible if len(cells)), None)
    if points or example is None or delimiter == ",":
        return ".", None
    return (
        ",",
        f"decimal comma, a guess: {example!r} is read as {example.replace(',', '.')} (--decimal to change)",
    )


def read_values(column: Any, decimal: str) -> Values:
    """Read one Arrow column as float64.

    Text that is no number becomes NaN: ``missing`` for nothing, NaN, NA, N/A, #N/A, null, none and dashes,
    ``text`` for all else, ``infinite`` for infinities. Parted thousands (``1.234,5``) are not supported and
    count as text. A column of nothing but true, false, on and off becomes 1 and 0.
    """
    if pa.types.is_null(column.type):
        nothing = np.zeros(len(column), bool)
        return Values(value=np.full(len(column), np.nan), missing=~nothing, text=nothing, infinite=nothing)
    if is_text(column.type):
        column = column.cast(pa.string())
        if decimal != ".":
            return _read_text(column, decimal)
        try:
            numbers = column.cast(pa.float64())  # ten times as fast as looking at each text
        except pa.ArrowInvalid:
            return _read_text(column, decimal)
    else:
        numbers = column.cast(pa.float64(), safe=False)
    value = _to_float(numbers)
    infinite = np.isinf(value)
    missing = np.isnan(value)
    value[infinite] = np.nan
    return Values(value=value, missing=missing, text=np.zeros(value.size, bool), infinite=infinite)


def _read_text(column: Any, decimal: str) -> Values:
    cells = pc.utf8_trim_whitespace(column)
    is_number = pc.match_substring_regex(cells, _COMMA_NUMBER if decimal == "," else _NUMBER).fill_null(False)
    numbers = pc.if_else(is_number, cells, None)
    if decimal == ",":
        numbers = pc.replace_substring(numbers, ",", ".")
    value = _to_float(numbers.cast(pa.float64()))
    lowered = pc.utf8_lower(cells)
    missing = read_flags(pc.is_null(cells)) | read_flags(pc.is_in(lowered, pa.array(MISSING_TEXTS)))
    numeric = read_flags(is_number)
    is_true, is_false = (
        read_flags(pc.is_in(lowered, pa.array(texts))) for texts in (TRUE_TEXTS, FALSE_TEXTS)
    )
    is_boolean = bool((is_true | is_false | missing).all() and not missing.all())
    if is_boolean:
        value[is_true], value[is_false] = 1.0, 0.0
        numeric = is_true | is_false
    infinite = np.isinf(value) | read_flags(pc.match_substring_regex(cells, _INFINITE))
    value[infinite] = np.nan
    text = ~(numeric | missing | infinite)
    grouped = text & read_flags(pc.match_substring_regex(cells, _GROUPED)) if text.any() else text
    return Values(
        value=value,
        missing=missing,
        text=text,
        infinite=infinite,
        is_boolean=is_boolean,
        first_grouped=int(np.argmax(grouped)) if grouped.any() else None,
    )


def _to_float(numbers: Any) -> Float64Array:
    return np.array(numbers.fill_null(np.nan).to_numpy(), dtype=np.float64)  # a copy, to be written to


def _count(cells: Any, pattern: str) -> int:
    return int(pc.sum(pc.match_substring_regex(cells, pattern)).as_py() or 0)
