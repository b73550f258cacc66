"""Series ids and their numbers, which outlive a batch."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from pipeline.codec.reasons import Reason

MAX_ID_BYTES = 256
MAX_KEPT_IDS = 200_000
"""Twice what a shard takes in by default: real series never meet the limit, and a flood of invented ids uses
at most some 80 MB."""

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")


class Ids:
    """Numbers for ids, in order of first appearance; ids that are no ids get none."""

    def __init__(self, max_kept: int = MAX_KEPT_IDS) -> None:
        self._max_kept = max_kept
        self._numbers: dict[str, int] = {}
        self._series: tuple[str, ...] = ()
        self.generation = 0
        """Changes when all numbers are given anew."""

    @property
    def series(self) -> tuple[str, ...]:
        """All ids, by number. The same object until there is a new id; a longer one begins as the last did,
        unless `renew` started afresh."""
        if len(self._series) != len(self._numbers):
            self._series = tuple(self._numbers)
        return self._series

    def renew(self) -> None:
        """Forget all ids if there are too many. To be called between batches only."""
        if len(self._numbers) > self._max_kept:
            self._numbers = {}
            self._series = ()
            self.generation += 1

    def find(self, text: str) -> int | Reason:
        """The number of an id: its own, a new one, or why it is none."""
        number = self._numbers.get(text)
        if number is not None:
            return number
        if not is_id(text):
            return Reason.BAD_SERIES
        number = self._numbers[text] = len(self._numbers)
        return number

    def find_known(self, texts: Iterable[object]) -> list[int] | None:
        """The numbers of ids that are all known, else None."""
        try:
            return list(map(self._numbers.__getitem__, texts))  # type: ignore[arg-type]
        except (KeyError, TypeError):  # TypeError: an object that can't be hashed stands in an id's place
            return None

    def find_all(self, texts: Sequence[str]) -> list[int]:
        """As `find` for each [N], as `to_number` gives it."""
        known = self.find_known(texts)
        return list(map(to_number, map(self.find, texts))) if known is None else known

    def read(self, raw: object, key: bytes | None) -> int | Reason:
        """The number of what stands in the place of an id. Whole numbers count as their digits; where there
        is nothing, the Kafka key is the id. A Reason given is a Reason got."""
        if isinstance(raw, str):
            return self.find(raw)
        if raw is None:
            return self.find_key(key)
        if isinstance(raw, Reason):
            return raw
        if isinstance(raw, int) and not isinstance(raw, bool):
            # Digits of a huge number take quadratic time, and Python refuses them beyond 4 300.
            return self.find(str(raw)) if raw.bit_length() < 128 else Reason.BAD_SERIES
        return Reason.WRONG_TYPE

    def find_key(self, key: bytes | None) -> int | Reason:
        """The number of the id that a Kafka key is."""
        if not key:
            return Reason.NO_SERIES
        try:
            return self.find(key.decode())
        except UnicodeDecodeError:
            return Reason.BAD_SERIES

    def read_all(
        self, raw: Sequence[object], keys: Sequence[bytes | None], message: Sequence[int]
    ) -> list[int]:
        """As `read` for each [N]; `message` [N] says whose key it is. As `to_number` gives it."""
        known = self.find_known(raw)
        if known is not None:
            return known
        return [to_number(self.read(text, keys[place])) for text, place in zip(raw, message, strict=True)]


def to_number(found: int | Reason) -> int:
    """A number as it is; a reason becomes its own below 0."""
    return -found.value if isinstance(found, Reason) else found


def is_id(text: str) -> bool:
    """Whether a text is 1 to 256 bytes of UTF-8 without control characters."""
    if not text or len(text) > MAX_ID_BYTES or _CONTROL.search(text):
        return False
    try:
        return len(text.encode()) <= MAX_ID_BYTES
    except UnicodeEncodeError:  # half of a surrogate pair, from "\ud800"
        return False
