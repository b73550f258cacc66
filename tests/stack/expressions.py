"""What stands in an expression: metrics, and whether Prometheus has data for each."""

from __future__ import annotations

import re
from collections.abc import Iterable

from tests.stack.servers import Prometheus

_TEXT = re.compile(r'"(?:\\.|[^"\\])*"')
_SELECTOR = re.compile(r'\b((?:gatecast[_:]|up\b|ALERTS\b)[\w:]*)\s*(\{(?:"(?:\\.|[^"\\])*"|[^"}])*\})?')
"""A metric's name, and its matchers if it has some."""


def list_selectors(expr: str) -> list[str]:
    """Of an expression's own metrics, each once: `gatecast_series{state="live"}`. What ranges and offsets are
    put on them is left out."""
    found = [name + (matchers or "") for name, matchers in _SELECTOR.findall(expr)]
    return list(dict.fromkeys(found))


def list_names(expr: str) -> set[str]:
    return {name for name, _ in _SELECTOR.findall(_TEXT.sub('""', expr))}


def find_faults(prometheus: Prometheus, expressions: Iterable[str], empty: Iterable[str] = ()) -> list[str]:
    """Expressions that Prometheus refuses, and selectors in them that it has no data for; `empty` lists those
    that have none for a reason, and it is a fault if one of these has some."""
    faults, seen, excused = [], set[str](), set(empty)
    for expr in expressions:
        try:
            prometheus.query(expr)
        except AssertionError as error:
            faults.append(str(error))
            continue
        seen.update(list_selectors(expr))
    for selector in sorted(seen):
        number = len(prometheus.query(selector))
        if not number and selector not in excused:
            faults.append(f"{selector}: no data")
        if number and selector in excused:
            faults.append(f"{selector}: has data, though it is listed as empty")
    return faults + [f"{selector}: listed as empty, but in no expression" for selector in excused - seen]
