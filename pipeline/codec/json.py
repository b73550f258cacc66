"""JSON: one object a reading, or an array of them, or whatever the field options describe."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from operator import itemgetter
from typing import Any

import msgspec
import numpy as np

from pipeline.codec.drafts import Columns, Draft, Rows
from pipeline.codec.fields import ABSENT, ObjectMap
from pipeline.codec.ids import Ids
from pipeline.codec.options import CodecOptions
from pipeline.codec.reasons import Reason
from pipeline.codec.values import Qualities

MAX_DEPTH = 100
"""Deeper nesting is refused by the bytes alone. Parsers stop at a depth that depends on how deep their
caller's stack is, and what a log means must not depend on that."""

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_decode = msgspec.json.Decoder().decode


class JsonDecoder:
    """Messages to columns.

    Each message is parsed on its own. Joining them to one array, parsed once, would save 10 % and let a
    message such as `1],[2` shift those after it.
    """

    def __init__(self, options: CodecOptions, ids: Ids) -> None:
        self._options = options
        self._ids = ids
        self._map = ObjectMap(options)
        self._qualities = Qualities(options.fields.good)

    def decode(self, places: Sequence[int], payloads: Sequence[bytes], draft: Draft) -> Columns:
        places, found = refuse(places, parse_all(payloads), (dict, list), draft)
        rows = self._read_plain(places, found, draft) if self._map.places.plain else None
        if rows is None:
            rows = self._read_mapped(places, found, draft)
        return draft.read_rows(rows, self._ids, self._options, self._qualities)

    def _read_plain(self, places: Sequence[int], found: list[object], draft: Draft) -> Rows | None:
        """Rows if there are but objects and arrays of objects, with their parts at the top."""
        kinds = set(map(type, found))
        items: list[object] = found
        if kinds != {dict}:
            items = [item for one in found for item in (one if type(one) is list else (one,))]
            if set(map(type, items)) != {dict}:
                return None
            admitted = [
                draft.admit(place, len(one) if type(one) is list else 1)
                for place, one in zip(places, found, strict=True)
            ]
            if not all(admitted):
                items = [
                    item
                    for one, good in zip(found, admitted, strict=True)
                    if good
                    for item in (one if type(one) is list else (one,))
                ]
        else:
            draft.places.extend(places)
            draft.counts.extend([1] * len(places))
        return self._take(items)

    def _take(self, items: list[Any]) -> Rows:
        """Rows of dicts."""
        places = self._map.places
        assert places.series is not None
        assert places.value is not None
        (series,), (time,), (value,) = places.series, places.time, places.value
        quality: list[object] = []
        if places.quality is not None:
            quality = _pick(items, places.quality[0], None)
        return Rows(
            _pick(items, series, None), _pick(items, time, None), _pick(items, value, ABSENT), quality
        )

    def _read_mapped(self, places: Sequence[int], found: list[object], draft: Draft) -> Rows:
        rows = Rows.empty()
        for place, message in zip(places, found, strict=True):
            here = Rows.empty()
            self._map.spread(message, draft.messages.key[place], here)
            if draft.admit(place, len(here)):
                rows.extend(here)
        return rows


def _pick(items: list[Any], name: str, absent: object) -> list[object]:
    """One field of all items; `absent` where one lacks it."""
    try:
        return list(map(itemgetter(name), items))  # as a rule all have it: half the time of asking each
    except KeyError:
        return [item.get(name, absent) for item in items]


def refuse(
    places: Sequence[int], found: list[object], kinds: tuple[type, ...], draft: Draft
) -> tuple[Sequence[int], list[object]]:
    """Reject what was no JSON, or is JSON of another kind than those; returns the rest."""
    if set(map(type, found)) <= set(kinds):
        return places, found
    kept, rest = [], []
    for place, one in zip(places, found, strict=True):
        if isinstance(one, Reason):
            draft.reject(place, one)
        elif not isinstance(one, kinds):
            draft.reject(place, Reason.WRONG_TYPE)
        else:
            kept.append(place)
            rest.append(one)
    return kept, rest


def parse_all(payloads: Sequence[bytes]) -> list[object]:
    """Parse each payload; a Reason stands for one that is no JSON."""
    if max(map(len, payloads), default=0) <= MAX_DEPTH:
        try:
            return list(map(_decode, payloads))
        except (msgspec.DecodeError, UnicodeDecodeError):
            pass  # one by one, to find which
    return [parse(payload) for payload in payloads]


def parse(payload: bytes) -> object:
    """Parse one payload, as `json.loads` of strict UTF-8 does, down to MAX_DEPTH.

    Where msgspec refuses, the standard library tries: senders in Python write NaN and Infinity, those on
    Windows a byte order mark, and one 1e400 shall not spoil the other readings of its message.
    """
    if len(payload) > MAX_DEPTH and is_too_deep(payload):
        return Reason.NOT_DECODABLE
    try:
        return _decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        return json.loads(payload.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return Reason.NOT_DECODABLE


def is_too_deep(payload: bytes) -> bool:
    """Whether brackets outside of strings nest deeper than MAX_DEPTH."""
    if payload.count(b"[") + payload.count(b"{") <= MAX_DEPTH:
        return False
    # Without backslashes every other piece between quotes is a string.
    outside = _STRING.sub(b"", payload) if b"\\" in payload else b"".join(payload.split(b'"')[::2])
    marks = np.frombuffer(outside.translate(None, _NOT_BRACKETS), dtype=np.uint8)
    steps = np.where(marks & 2, 1, -1)  # bit 1 is set in "[" and "{", 0x5B and 0x7B, and not in 0x5D and 0x7D
    return bool(steps.size) and int(np.cumsum(steps).max()) > MAX_DEPTH
