"""JSON columns as most senders write them: ids, times that are whole numbers, values that are numbers.

Senders mostly send the same sensors in the same order again and again, so the text of a whole array of ids is
looked up rather than each id: it is neither parsed nor made into objects. Times and values are checked for
their types while they are parsed. A batch with anything else is left to the way that reads everything
(`columns`), which reads the same from these.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import msgspec
import numpy as np

from pipeline.codec.drafts import Columns, Draft
from pipeline.codec.fields import Places
from pipeline.codec.ids import Ids
from pipeline.codec.options import CodecOptions
from pipeline.codec.reasons import Reason
from pipeline.codec.times import scale_times
from pipeline.codec.values import split_faults
from pipeline.records import Float64Array, Int64Array

MAX_CACHED_BYTES = 4 * 1024 * 1024
"""Of texts whose numbers are kept: some 200 000 ids; their numbers take 11 MiB at most."""

_FIELDS = {"series": msgspec.Raw, "time": int | list[int], "value": list[float | None]}
_decode_ids = msgspec.json.Decoder(str | list[str]).decode


class PlainColumns:
    """Reads batches whose messages are all plain, for a format whose readings have no quality."""

    def __init__(self, options: CodecOptions, places: Places, ids: Ids) -> None:
        self._max_readings = options.max_readings
        self._unit = options.time_unit or "auto"
        self._decode = _build_decoder(places, self._unit)
        self._ids = ids
        self._generation = ids.generation
        self._cached: dict[bytes, Int64Array] = {}
        self.cached_bytes = 0
        """Of the texts that are kept."""

    def read(self, places: Sequence[int], payloads: Sequence[bytes], draft: Draft) -> Columns | None:
        """All readings of a batch, of which the draft is told; None, and the draft as it was, if a message is
        not plain."""
        if self._decode is None:
            return None
        try:
            found = list(map(self._decode, payloads))
            values = [one.value for one in found]
            counts = list(map(len, values))
            if not (counts and min(counts) > 0 and max(counts) <= self._max_readings):
                return None
            time = _join_times([one.time for one in found], counts)
            # Ids last: those of a message that is rejected as a whole must not be given numbers.
            number = None if time is None else self._find_all(found, payloads, counts)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError):
            return None
        if time is None or number is None:
            return None
        draft.places.extend(places)
        draft.counts.extend(counts)
        time_ms, usable = scale_times(time, self._unit)
        value, fault = split_faults(_join_values(values, time.size))
        reason = np.where(usable, np.int8(0), np.int8(Reason.BAD_TIME.value))
        return Columns(number=number, time_ms=time_ms, value=value, fault=fault, reason=reason)

    def _find_all(
        self, found: Sequence[Any], payloads: Sequence[bytes], counts: Sequence[int]
    ) -> Int64Array | None:
        """The numbers [N] of ids. None if there are not as many as values, or a field comes twice."""
        if self._generation != self._ids.generation:
            self._cached, self.cached_bytes, self._generation = {}, 0, self._ids.generation
        parts = []
        for one, payload, count in zip(found, payloads, counts, strict=True):
            text = bytes(one.series)
            # Of two fields of one name the last counts, and of the first msgspec does not check everything.
            if payload.count(b":") != text.count(b":") + len(_FIELDS):
                return None
            numbers = self._cached.get(text)
            if numbers is None:
                ids = _decode_ids(text)
                if isinstance(ids, list) and len(ids) != count:
                    return None
                numbers = self._keep(text, ids)
            if numbers.ndim == 0:
                numbers = np.full(count, numbers)
            elif numbers.size != count:
                return None
            parts.append(numbers)
        return np.concatenate(parts)

    def _keep(self, text: bytes, ids: str | list[str]) -> Int64Array:
        """The numbers of ids [N], or of the one for all []."""
        found = self._ids.find_all(ids if isinstance(ids, list) else [ids])
        numbers = np.array(found if isinstance(ids, list) else found[0], dtype=np.int64)
        if len(text) <= MAX_CACHED_BYTES:
            self.cached_bytes += len(text)
            while self.cached_bytes > MAX_CACHED_BYTES:
                oldest = next(iter(self._cached))
                del self._cached[oldest]
                self.cached_bytes -= len(oldest)
            self._cached[text] = numbers
        return numbers


def _build_decoder(places: Places, unit: str) -> Callable[[bytes], Any] | None:
    """Parses a message to `series` (as text), `time` and `value`, or fails where it isn't plain."""
    paths = (places.series, places.time, places.value)
    names = [path[0] for path in paths if path is not None and len(path) == 1 and ":" not in path[0]]
    if len(set(names)) < len(_FIELDS) or places.quality is not None or unit == "rfc3339":
        return None
    rename = dict(zip(_FIELDS, names, strict=True))
    plain = msgspec.defstruct("Plain", _FIELDS.items(), rename=rename, forbid_unknown_fields=True, gc=False)
    return msgspec.json.Decoder(plain).decode


def _join_times(times: Sequence[Any], counts: Sequence[int]) -> Int64Array | None:
    """Times [N] of messages that have all one time each or one for each value."""
    kinds = set(map(type, times))
    if kinds == {int}:
        return np.repeat(np.array(times, dtype=np.int64), counts)
    if kinds != {list} or list(map(len, times)) != counts:
        return None
    return np.fromiter(chain.from_iterable(times), np.int64, sum(counts))


def _join_values(values: Sequence[list[float | None]], count: int) -> Float64Array:
    """Values [N], NaN where there is none."""
    try:
        return np.fromiter(chain.from_iterable(values), np.float64, count)
    except TypeError:  # at a None
        return np.array(list(chain.from_iterable(values)), dtype=np.float64)
