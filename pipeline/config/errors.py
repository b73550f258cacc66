"""How a wrong setting is reported."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ConfigError(Exception):
    """A setting can't be used: one sentence with what was expected, what came, where, and the way out."""


def suggest(wrong: str, known: Iterable[str]) -> str:
    """The words that follow an unknown name: the nearest known one, else all of them."""
    names = sorted(known)
    if near := difflib.get_close_matches(wrong, names, n=1):
        return f"did you mean {near[0]!r}?"
    return f"known are {', '.join(names)}"
