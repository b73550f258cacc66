"""Bytes to records, and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pipeline.codec.arrow import ArrowDecoder
from pipeline.codec.columns import ColumnsDecoder
from pipeline.codec.drafts import Columns, Draft
from pipeline.codec.ids import Ids
from pipeline.codec.influx import InfluxDecoder
from pipeline.codec.json import JsonDecoder
from pipeline.codec.options import CodecOptions, FieldOptions
from pipeline.codec.reasons import Reason
from pipeline.records import Messages, Readings, Rejected

__all__ = ["Codec", "CodecOptions", "Decoded", "FieldOptions", "build_codec"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """What a batch of messages held. Each message has readings or rejections or both, or is counted here."""

    readings: Readings
    rejected: tuple[Rejected, ...]  # by message, ascending
    tombstones: int  # messages without a value
    empty: int  # messages of the format without a reading: an empty array, lines with texts only


class Decoder(Protocol):
    """One format."""

    def decode(self, places: Sequence[int], payloads: Sequence[bytes], draft: Draft) -> Columns:
        """Read payloads, which lie at those places in the batch; tell the draft how many readings each has,
        or why it has none."""


_DECODERS = {
    "json": JsonDecoder,
    "columns": ColumnsDecoder,
    "arrow": ArrowDecoder,
    "influx": InfluxDecoder,
}


class Codec:
    """Decodes messages of one format. Never fails on their bytes: what can't be read becomes `Rejected`.

    What a message gives depends on itself alone, not on its neighbours in the batch, except for the numbers
    of series. One codec for each partition keeps these few and stable.
    """

    def __init__(self, options: CodecOptions) -> None:
        self._options = options
        self._ids = Ids()
        decoders: dict[str, type] = dict(_DECODERS)
        self._decoder: Decoder = decoders[options.format](options, self._ids)

    def decode(self, messages: Messages) -> Decoded:
        """Readings in log order, with `fault`, `clock_ms`, `message` and `index`; `series` is the same tuple
        as last time while no new id comes, and mostly begins as it did if one does."""
        self._ids.renew()
        draft = Draft(self._options, messages)
        places, payloads, tombstones = self._choose(messages.value, draft)
        columns = self._decoder.decode(places, payloads, draft)
        readings, rejected = draft.finish(columns, self._ids.series)
        return Decoded(readings=readings, rejected=rejected, tombstones=tombstones, empty=draft.empty)

    def _choose(
        self, values: Sequence[bytes | None], draft: Draft
    ) -> tuple[Sequence[int], Sequence[bytes], int]:
        """Places and payloads of the messages to decode, and the number of tombstones."""
        longest = self._options.max_message_bytes
        payloads = [value for value in values if value is not None]
        if len(payloads) == len(values) and max(map(len, payloads), default=0) <= longest:
            return range(len(values)), payloads, 0
        places, kept = [], []
        for place, value in enumerate(values):
            if value is None:
                continue
            if len(value) > longest:
                draft.reject(place, Reason.TOO_LARGE)
            else:
                places.append(place)
                kept.append(value)
        return places, kept, len(values) - len(payloads)


def build_codec(options: CodecOptions) -> Codec:
    """A codec for one partition; it remembers series ids."""
    return Codec(options)
