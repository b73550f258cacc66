"""Series columns of Arrow to numbers of series."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.codec.ids import Ids, to_number
from pipeline.records import Int64Array

MAX_CACHED_BYTES = 64 * 1024
MAX_CACHED = 64
"""Columns whose numbers are kept: senders mostly send the same sensors in the same order again and again, and
comparing a column as a whole is ten times as fast as looking up each id. At most 4 MiB of text and 2 MiB of
numbers."""


class ArrowIds:
    """Numbers for the texts of a column, plain or dictionary-encoded."""

    def __init__(self, ids: Ids) -> None:
        self._ids = ids
        self._cached: dict[tuple[str, bytes, bytes], Int64Array] = {}
        self._generation = ids.generation

    def read(self, column: Any, rows: int, key: bytes | None) -> Int64Array:
        """The numbers [rows] of a validated column's ids, or of the Kafka key if there is no column. Below 0
        the negative number of a reason."""
        if column is None:
            return np.full(rows, self._find_key(key), dtype=np.int64)
        if pa.types.is_dictionary(column.type):
            texts, indices = column.dictionary, column.indices
            numbers = self._find_texts(texts, key)
            if indices.null_count:
                # Null, at the end, is the key.
                numbers = np.append(numbers, self._find_key(key))
                indices = indices.cast(pa.int64()).fill_null(len(numbers) - 1)
            return numbers[indices.to_numpy(zero_copy_only=False)]
        return self._find_texts(column, key)

    def find_texts(self, column: Any) -> Int64Array:
        """The numbers of a validated column of ids, none of which is null."""
        return self._find_texts(column, None)

    def _find_texts(self, column: Any, key: bytes | None) -> Int64Array:
        if column.null_count or column.offset or not _has_offsets(column.type):
            return self._find_each(column, key)
        _, offsets, text = column.buffers()
        if text is None or offsets is None or offsets.size + text.size > MAX_CACHED_BYTES:
            return self._find_each(column, key)
        if self._generation != self._ids.generation:
            self._cached, self._generation = {}, self._ids.generation
        content = (str(column.type), offsets.to_pybytes(), text.to_pybytes())
        numbers = self._cached.get(content)
        if numbers is None or len(numbers) != len(column):
            numbers = self._find_each(column, key)
            if len(self._cached) >= MAX_CACHED:
                del self._cached[next(iter(self._cached))]
            self._cached[content] = numbers
        return numbers

    def _find_each(self, column: Any, key: bytes | None) -> Int64Array:
        texts = column.to_pylist()
        return np.array(self._ids.read_all(texts, (key,), [0] * len(texts)), dtype=np.int64)

    def _find_key(self, key: bytes | None) -> int:
        return to_number(self._ids.find_key(key))


def is_text(kind: Any) -> bool:
    return bool(_has_offsets(kind) or pa.types.is_string_view(kind))


def _has_offsets(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
