"""Which of many globs fit a text: quick for thousands of both, whose obvious loop takes seconds.

Globs are those of `fnmatch`, case-sensitive: `*` stands for any text (slashes too), `?` for a character,
`[ab]` for one of these. A glob also fits the text that it is itself, so an id with brackets needs no escape.
"""

from __future__ import annotations

import fnmatch
import re
from collections import Counter
from collections.abc import Callable, Sequence

# What is left between them is literal. Too much taken for a wildcard costs time, not truth.
_WILDCARD = re.compile(r"[*?]|\[!?\]?[^\]]*\]")
_Entry = tuple[int, Callable[[str], object]]


class Globs:
    """Each glob is found by one of its literal parts, and tried only on texts in which that part occurs."""

    def __init__(self, globs: Sequence[str]) -> None:
        self._exact: dict[str, list[int]] = {}
        self._by_part: dict[str, list[_Entry]] = {}
        parts = [_WILDCARD.split(glob) for glob in globs]
        shared = Counter(part for own in parts for part in set(own))
        for number, (glob, own) in enumerate(zip(globs, parts, strict=True)):
            self._exact.setdefault(glob, []).append(number)
            if len(own) > 1:
                # The part that fewest others have tells most; "" (of `*` alone) is in every text.
                part = min(own, key=lambda part: (not part, shared[part], -len(part)))
                entry = (number, re.compile(fnmatch.translate(glob)).match)
                self._by_part.setdefault(part, []).append(entry)
        self._lengths = sorted({len(part) for part in self._by_part})

    def find(self, text: str) -> tuple[int, ...]:
        """Numbers of the globs that fit, ascending."""
        found = set(self._exact.get(text, ()))
        for length in self._lengths:
            for part in {text[at : at + length] for at in range(len(text) - length + 1)}:
                for number, matches in self._by_part.get(part, ()):
                    if matches(text):
                        found.add(number)
        return tuple(sorted(found))
