"""One sentence for people who decide: who is better, by how much, how sure that is, and what it costs.

Used by the live page, the report and `compare`, so that all three say the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from forecasters.verdict import MATERIAL, NAIVE, Combined

TITLES = {
    "rnn": "RNN", "lstm": "LSTM", "gru": "GRU", "linear": "linear model", "blend": "blend",
    "seasonal_naive": "yesterday's value", NAIVE: "last value",
}  # fmt: skip
_UNITS = ((86_400_000, "day"), (3_600_000, "hour"), (60_000, "minute"), (1_000, "second"))


def sentence(
    pair: Combined | None,
    naive: Mapping[str, Combined] | None = None,
    *,
    cpu_ratio: float | None = None,
    replications: str = "shards",
) -> str:
    """The sentence of a pair, without a full stop.

    naive: each of the two against naive, by name, where that is watched; cpu_ratio: CPU time of the first
    over that of the second; replications: what `shards` of the pair are called.
    """
    if pair is None:
        return "Nothing compared yet: no forecast of both has met its reading"
    parts = [f"{_span(pair.span_ms)}, {_count(pair.series, 'sensor')}: {_main(pair, replications)}"]
    if naive:
        parts.append(_against_naive(pair, naive))
    if cpu_ratio is not None and cpu_ratio > 0:
        parts.append(_cost(pair, cpu_ratio))
    return "; ".join(p for p in parts if p)


def _main(pair: Combined, replications: str) -> str:
    leads_first = pair.difference <= 0
    leader, other = (pair.first, pair.second) if leads_first else (pair.second, pair.first)
    below, low, high = _below(pair)
    shards = f", ahead in {pair.ahead if leads_first else pair.behind} of {pair.shards} {replications}"
    shards = shards if pair.shards > 1 else ""
    stated = f"{_title(leader)} error {_percent(below)} below {_title(other)}"
    if pair.verdict == "better":
        return f"{stated} ({100 * low:.1f}–{100 * high:.1f}){shards}"
    both = f"{_title(pair.first)} and {_title(pair.second)}"
    if pair.verdict == "no material difference":
        return f"no material difference between {both} ({stated}, {_range(low, high)}; {_limit()})"
    more = (
        "" if pair.needed is None else f", needs about {_count(pair.needed, 'more reading')} of each sensor"
    )
    if not math.isfinite(high):
        return f"{both} undecided{more} (so far {stated}{shards})"
    return f"{both} undecided{more} (so far {stated}, {_range(low, high)}{shards})"


def _below(pair: Combined) -> tuple[float, float, float]:
    """By which share the leader's error is below the other's: middle, low, high."""
    if pair.difference <= 0:
        return -pair.difference, -pair.high, -pair.low

    # relative to the other one now: 1 - 1 / (1 + d); an error cannot fall below zero
    def turned(d: float) -> float:
        return 1.0 - 1.0 / (1.0 + d) if d > -1.0 else -math.inf

    return (
        turned(pair.difference),
        turned(pair.low),
        turned(pair.high) if math.isfinite(pair.high) else math.inf,
    )


def _against_naive(pair: Combined, naive: Mapping[str, Combined]) -> str:
    names = [n for n in (pair.first, pair.second) if n in naive and n != NAIVE]
    if not names:
        return ""
    beats = [n for n in names if naive[n].verdict == "better" and naive[n].difference < 0]
    if len(beats) == len(names):
        who = "both beat" if len(names) == 2 else f"{_title(names[0])} beats"
        shares = [f"{-100 * naive[n].difference:.0f}" for n in names]
        return f"{who} the last value by {' and '.join(dict.fromkeys(shares))} %"
    rest = [f"{_title(n)} {_standing(naive[n])}" for n in names if n not in beats]
    if beats:
        share = f"{-100 * naive[beats[0]].difference:.0f} %"
        return f"{_title(beats[0])} beats the last value by {share}, {rest[0]}"
    if len(names) == 1:
        return f"{_title(names[0])} does not beat the last value ({_standing(naive[names[0]])})"
    if all(naive[n].verdict == "undecided" for n in names):  # too early is not the same as no better
        so_far = ", ".join(_so_far(naive[n], n) for n in names)
        return f"whether they beat the last value is undecided (so far {so_far})"
    return f"neither beats the last value ({', '.join(rest)})"


def _so_far(against: Combined, name: str) -> str:
    side = "below" if against.difference <= 0 else "above"
    return f"{_title(name)} error {100 * abs(against.difference):.0f} % {side} it"


def _standing(against: Combined) -> str:
    if against.verdict == "undecided":
        return "is undecided against it"
    if against.verdict == "better":
        return f"is {100 * against.difference:.0f} % worse"
    return "is no different from it"


def _cost(pair: Combined, cpu_ratio: float) -> str:
    leader_first = pair.difference <= 0
    dearer_first = cpu_ratio >= 1
    ratio = max(cpu_ratio, 1.0 / cpu_ratio)
    if f"{ratio:.1f}" == "1.0":
        return "at the same CPU"
    if pair.verdict == "better" and leader_first == dearer_first:
        return f"{ratio:.1f} times the CPU"
    return f"{_title(pair.first if dearer_first else pair.second)} takes {ratio:.1f} times the CPU"


def _title(name: str) -> str:
    return TITLES.get(name, name)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _range(low: float, high: float) -> str:
    """An interval around zero, in words: minus signs and dashes together are not read."""
    if low >= 0:
        return f"between {100 * low:.1f} and {100 * high:.1f}"
    return f"between {-100 * low:.1f} above and {100 * high:.1f} below"


def _limit() -> str:
    return f"below {100 * MATERIAL:.0f} % counts as none"


def _count(number: int, noun: str) -> str:
    spaced = f"{number:,}".replace(",", " ")
    return f"{spaced} {noun}" if number == 1 else f"{spaced} {noun}s"


def _span(span_ms: int) -> str:
    """The largest unit that gives two or more, else the one with one; rounded down."""
    for size, unit in _UNITS:
        if span_ms >= 2 * size or (span_ms >= size and unit == "second"):
            return _count(span_ms // size, unit)
    return "less than a second"
