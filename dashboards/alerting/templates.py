"""Pieces of Prometheus's template language, as annotations are written in.

Each gives text, or nothing where there is no such sample: a message then lacks a line and is not wrong.
"""

from __future__ import annotations

SERIES = "{{ $labels.series }}"
NUMBER = (
    "{{ if or (ge $v 10000.0) (le $v -10000.0) }}"
    '{{ printf "%.0f" $v }}{{ else }}{{ printf "%.4g" $v }}{{ end }}'
)
"""The number $v with four digits that count, and without an exponent below a million."""
PERCENT = "{{ $value | humanizePercentage }}"
"""What the rule found, a ratio."""
TIME = '{{ (toTime $v).Local.Format "Mon 2 Jan 15:04:05 MST" }}'
"""The time $v (epoch seconds) in the zone of the Prometheus server (its variable TZ)."""


def ask(query: str, *labels: str, then: str, otherwise: str = "") -> str:
    """`then` with $s as the first sample of a query and $v as its value; in the query each %q stands for one
    of the alert's labels."""
    names = " ".join(f"$labels.{label}" for label in labels)
    asked = f"printf `{query}` {names} | query" if labels else f"query `{query}`"
    last = f"{{{{ else }}}}{otherwise}" if otherwise else ""
    return f"{{{{ with {asked} }}}}{{{{ $s := first . }}}}{{{{ $v := value $s }}}}{then}{last}{{{{ end }}}}"


def ask_each(query: str, *labels: str, each: str, between: str = ", ") -> str:
    """`each` for every sample $s of a query, in the order of their values, the largest first."""
    names = " ".join(f"$labels.{label}" for label in labels)
    asked = f"printf `{query}` {names} | query" if labels else f"query `{query}`"
    return f"{{{{ range $i, $s := {asked} }}}}{{{{ if $i }}}}{between}{{{{ end }}}}{each}{{{{ end }}}}"
