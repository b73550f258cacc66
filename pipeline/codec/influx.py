"""InfluxDB line protocol: several lines a message, several values a line."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.codec.drafts import Columns, Draft, Rows
from pipeline.codec.fields import ObjectMap
from pipeline.codec.ids import Ids
from pipeline.codec.lines import parse_lines
from pipeline.codec.options import CodecOptions
from pipeline.codec.reasons import Reason
from pipeline.codec.values import Qualities


class InfluxDecoder:
    """Messages to columns. A line that is none counts as one reading, not_decodable; the others pass."""

    def __init__(self, options: CodecOptions, ids: Ids) -> None:
        self._options = options
        self._ids = ids
        self._map = ObjectMap(options)
        self._qualities = Qualities(options.fields.good)

    def decode(self, places: Sequence[int], payloads: Sequence[bytes], draft: Draft) -> Columns:
        rows = Rows.empty()
        for place, payload in zip(places, payloads, strict=True):
            try:
                text = payload.decode()
            except UnicodeDecodeError:
                draft.reject(place, Reason.NOT_DECODABLE)
                continue
            here = self._read(text, draft.messages.key[place])
            if draft.admit(place, len(here)):
                rows.extend(here)
        return draft.read_rows(rows, self._ids, self._options, self._qualities)

    def _read(self, text: str, key: bytes | None) -> Rows:
        rows = Rows.empty()
        for line in parse_lines(text):
            if line is None:
                rows.add(Reason.NOT_DECODABLE, None, None, None)
            else:
                self._map.spread(line, key, rows)
            if len(rows) > self._options.max_readings:
                break  # the message will be refused
        return rows
