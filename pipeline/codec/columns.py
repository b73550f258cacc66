"""JSON columns: one object of equal-length arrays a message."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.codec.drafts import Columns, Draft, Rows
from pipeline.codec.fields import ABSENT, Path, find, read_places
from pipeline.codec.ids import Ids
from pipeline.codec.json import parse_all, refuse
from pipeline.codec.options import CodecOptions
from pipeline.codec.plain_columns import PlainColumns
from pipeline.codec.reasons import Reason
from pipeline.codec.values import Qualities


class ColumnsDecoder:
    """Messages to columns.

    The values must be an array. Series, time and quality may be one for all of them instead; a series that is
    left out is the Kafka key, a time the Kafka timestamp.
    """

    def __init__(self, options: CodecOptions, ids: Ids) -> None:
        self._options = options
        self._ids = ids
        self._places = read_places(options)
        self._qualities = Qualities(options.fields.good)
        self._plain = PlainColumns(options, self._places, ids)

    def decode(self, places: Sequence[int], payloads: Sequence[bytes], draft: Draft) -> Columns:
        plain = self._plain.read(places, payloads, draft)
        if plain is not None:
            return plain
        rows = Rows.empty()
        places, found = refuse(places, parse_all(payloads), (dict,), draft)
        for place, message in zip(places, found, strict=True):
            here = self._take(message)
            if isinstance(here, Reason):
                draft.reject(place, here)
            elif draft.admit(place, len(here)):
                rows.extend(here)
        return draft.read_rows(rows, self._ids, self._options, self._qualities)

    def _take(self, message: object) -> Rows | Reason:
        """The arrays of one message, or why it has none that fit together."""
        places = self._places
        value = find(places.value or (), message)
        if not isinstance(value, list):
            return Reason.WRONG_TYPE
        if len(value) > self._options.max_readings:
            return Reason.TOO_MANY_READINGS
        columns: list[list[object]] = []
        for path in (places.series, places.time, places.quality):
            column = _stretch(path, message, len(value))
            if column is None:
                return Reason.WRONG_TYPE
            columns.append(column)
        series, time, quality = columns
        return Rows(series, time, value, quality)


def _stretch(path: Path | None, message: object, length: int) -> list[object] | None:
    """A column of that length, one thing repeated to it, or None if it has another length."""
    found = ABSENT if path is None else find(path, message)
    if isinstance(found, list):
        return found if len(found) == length else None
    return [None if found is ABSENT else found] * length
