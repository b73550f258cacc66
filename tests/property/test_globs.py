"""Globs, lengths of time and the bytes of a series file against slow, obvious references."""

from __future__ import annotations

from fnmatch import fnmatchcase

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.durations import format_duration
from pipeline.globs import Globs
from pipeline.series_columns import read_comparison, read_duration_ms, read_number
from pipeline.series_file import SeriesFile, SeriesRow

UNITS_MS = {"": 1_000, "ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}

# Few letters, so that much fits; all that has a meaning in a glob.
globs = st.text(alphabet="ab/*?[]!-\n", max_size=8)
texts = st.text(alphabet="ab/*[]!-\n", max_size=10)


@settings(max_examples=500, deadline=None)
@given(st.lists(globs, max_size=8), st.lists(texts, max_size=5))
def test_globs_fit_what_fnmatch_says_and_themselves(many: list[str], ids: list[str]) -> None:
    found = Globs(many)
    for text in [*ids, *many]:
        expected = [n for n, glob in enumerate(many) if glob == text or fnmatchcase(text, glob)]
        assert list(found.find(text)) == expected


@given(st.integers(1, 3_650), st.sampled_from(sorted(UNITS_MS)))
def test_durations_are_number_times_unit(number: int, unit: str) -> None:
    milliseconds = number * UNITS_MS[unit]
    assert read_duration_ms(f"{number}{unit}") == milliseconds
    assert read_duration_ms(format_duration(milliseconds)) == milliseconds


@given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(["<", "<=", "==", "!=", ">=", ">"]))
def test_numbers_and_comparisons_read_what_python_writes(number: float, operator: str) -> None:
    assert read_number(repr(number)) == number
    assert read_number(repr(number).replace(".", ",")) == number
    assert read_comparison(f"{operator}{number!r}") == (operator, number)


cells = st.dictionaries(st.sampled_from(["name", "unit", "site"]), st.text(min_size=1, max_size=5))


@settings(deadline=None)
@given(st.lists(st.tuples(globs.filter(bool), cells), max_size=6), texts)
def test_the_first_row_with_a_value_wins_and_bytes_keep_it(
    rows: list[tuple[str, dict[str, str]]], text: str
) -> None:
    file = SeriesFile(tuple(SeriesRow(match=g, settings=own, texts=own) for g, own in rows))
    profile = file.profile(text)
    for column in ("name", "unit", "site"):
        fitting = (own for g, own in rows if (g == text or fnmatchcase(text, g)) and column in own)
        assert getattr(profile, column) == next(fitting, {}).get(column)
    if all(value.isprintable() for _, own in rows for value in own.values()):
        assert SeriesFile.from_bytes(file.to_bytes()).profile(text) == profile
