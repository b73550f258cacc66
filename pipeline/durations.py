"""Lengths of time as people write them, such as 90s or 7d."""

import re

_UNIT_MS = {"ms": 1, "s": 1000, "m": 60_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*")


def parse_duration_ms(text: str) -> int:
    """Milliseconds of a number with a unit; without one it means seconds. Raises ValueError."""
    found = _DURATION.fullmatch(text.lower())
    unit = (found.group(2) or "s") if found else ""
    if found is None or unit not in _UNIT_MS:
        raise ValueError(
            f"expected a length of time such as 500ms, 90s, 15m, 12h or 7d, but got {text!r}; "
            "a number alone means seconds"
        )
    return round(float(found.group(1)) * _UNIT_MS[unit])


def format_duration(milliseconds: float) -> str:
    """In the largest unit that leaves a whole number, as ``parse_duration_ms`` reads it."""
    whole = round(milliseconds)
    for unit in ("d", "h", "m", "s"):
        if whole and whole % _UNIT_MS[unit] == 0:
            return f"{whole // _UNIT_MS[unit]}{unit}"
    return f"{whole}ms"
