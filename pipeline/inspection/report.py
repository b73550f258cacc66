"""Findings as a person reads them."""

from collections.abc import Mapping

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline.durations import format_duration
from pipeline.inspection.findings import Findings
from pipeline.inspection.rhythm import BY_EXCEPTION, Rhythms, find_shared_cadence

SHOWN_SERIES = 20


def print_findings(console: Console, findings: Findings) -> None:
    """Facts, what would become of the readings, the series, and what to look after."""
    rhythms = findings.rhythms
    facts = Table.grid(padding=(0, 2))
    for name, text in (*findings.facts, *_list_facts(findings)):
        facts.add_row(escape(name), escape(text))
    console.print(escape(findings.title), style="bold", soft_wrap=True)
    console.print(facts)
    console.print()
    console.print(_make_table(findings))
    hidden = len(findings.series) - SHOWN_SERIES
    if hidden > 0:
        console.print(f"and {hidden:,} more series; --write has a row for each")
    for note in findings.notes:
        console.print(f"· {note}", markup=False, soft_wrap=True)
    for warning in list_warnings(findings, rhythms):
        console.print(f"! {warning}", markup=False, style="yellow", soft_wrap=True)


def list_warnings(findings: Findings, rhythms: Rhythms) -> list[str]:
    """What a person should do something about."""
    warnings = []
    if findings.split:
        shown = ", ".join(findings.split[:5])
        warnings.append(
            f"{len(findings.split)} series occur in two partitions, such as {shown}: a worker can't forecast "
            "them; let the producer use the id as the key"
        )
    if empty := int((rhythms.usable == 0).sum()):
        warnings.append(f"without a usable value: {empty} series")
    constant = (rhythms.usable > 1) & (rhythms.lowest == rhythms.highest)
    if constant.any():
        warnings.append(f"without any change: {int(constant.sum())} series")
    return warnings


def _list_facts(findings: Findings) -> list[tuple[str, str]]:
    rhythms = findings.rhythms
    cadence_ms = find_shared_cadence(rhythms)
    used = rhythms.usable > 0
    span = "none"
    if used.any():
        first, last = (
            np.datetime64(int(at), "ms").astype("datetime64[s]")
            for at in (rhythms.first_ms[used].min(), rhythms.last_ms[used].max())
        )
        span = f"{first}Z to {last}Z"
    by_exception = rhythms.mode.count(BY_EXCEPTION)
    modes = f"{rhythms.mode.count('sampled'):,} sampled, {by_exception:,} by exception"
    unknown = rhythms.mode.count("unknown")
    restarts = rhythms.counts["restart"]
    return [
        (
            "series",
            f"{len(findings.series):,}, {modes}" + (f", {unknown:,} too short to tell" if unknown else ""),
        ),
        ("readings", f"{int(rhythms.readings.sum()):,}, {int(rhythms.usable.sum()):,} of them usable"),
        ("time", span),
        ("cadence", format_duration(cadence_ms) if cadence_ms else "differs from series to series"),
        ("masked", _say_counts(findings.masked)),
        ("dropped", _say_counts(findings.dropped)),
        ("rejected", _say_counts(findings.rejected)),
        ("gaps that restart a series", f"{restarts:,}"),
    ]


def _say_counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{reason} {number:,}" for reason, number in sorted(counts.items()) if number) or "none"


def _make_table(findings: Findings) -> Table:
    rhythms = findings.rhythms
    table = Table("series", "mode")
    for heading in (
        "readings",
        "usable",
        "cadence",
        "gaps, 10–90 %",
        "regular",
        "repeated",
        "lowest",
        "highest",
    ):
        table.add_column(heading, justify="right")
    for at, name in enumerate(findings.series[:SHOWN_SERIES]):
        gaps = "-"
        if np.isfinite(rhythms.short_ms[at]):
            gaps = f"{_say_gap(rhythms.short_ms[at])} – {_say_gap(rhythms.long_ms[at])}"
        table.add_row(
            escape(name), rhythms.mode[at].replace("_", " "), f"{rhythms.readings[at]:,}",
            f"{rhythms.usable[at]:,}", _say_gap(rhythms.cadence_ms[at]), gaps,
            _say_share(rhythms.regular[at]), _say_share(rhythms.repeated[at]),
            _say_number(rhythms.lowest[at]), _say_number(rhythms.highest[at]),
        )  # fmt: skip
    return table


def _say_gap(milliseconds: float) -> str:
    """In one unit with at most one digit behind the point: gaps are for reading, not for setting."""
    if not np.isfinite(milliseconds):
        return "-"
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)):
        if milliseconds >= size:
            return f"{milliseconds / size:.3g}{unit}"
    return f"{milliseconds:.0f}ms"


def _say_share(share: float) -> str:
    return f"{share:.0%}" if np.isfinite(share) else "-"


def _say_number(number: float) -> str:
    return f"{number:.5g}" if np.isfinite(number) else "-"
