"""What a backtest says about who forecasts better: the evidence of its shards as rows and as a sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from forecasters.irregular import Bands, pool
from forecasters.sentence import sentence
from forecasters.verdict import NAIVE, Combined, Evidence, combine


def list_comparisons(evidence: Sequence[Evidence]) -> list[dict[str, object]]:
    """A row for each pair and scored step, then for the path (step None), over all shards.

    needs: readings of each series until a verdict, 0 with one, None where that is too far off to say. The
    test's statistic and p-value are those of a single shard; None where there are several, or the window
    is not full yet.
    """
    rows = []
    for pair in evidence[0].pairs if evidence else ():
        for column, step in enumerate((*evidence[0].steps, None)):
            combined = combine(evidence, pair, column)
            if combined is None:
                continue
            figures = [each.pairs[pair][column] for each in evidence]
            won, lost, tied = (sum(getattr(f, name) for f in figures) for name in ("won", "lost", "tied"))
            alone = figures[0] if len(figures) == 1 else None
            leader = pair[combined.difference > 0] if combined.verdict == "better" else None
            rows.append(
                {
                    "a": pair[0],
                    "b": pair[1],
                    "step": step,
                    "difference": _finite(combined.difference),
                    "lower": _finite(combined.low),
                    "upper": _finite(combined.high),
                    "dm": alone.statistic if alone else None,
                    "p": alone.p if alone else None,
                    "won": won / max(won + lost + tied, 1),
                    "leader": alone.leader if alone else leader,
                    "verdict": combined.verdict,
                    "needs": combined.needed,
                }
            )
    return rows


def list_masked(parts: Sequence[Bands]) -> list[dict[str, object]]:
    """How errors grow where readings are missing: a row for each share of masked steps that occurred and each
    of two steps ahead, with the mean error of every forecaster in units of scale. masked_to: the largest
    share of the row, over the series' last hundred steps or so."""
    if not parts:
        return []
    bands = pool(parts)
    return [
        {
            "masked_to": upper,
            "step": step,
            "targets": int(bands.count[b, t]),
            "error": dict(zip(bands.names, bands.loss[b, :, t].tolist(), strict=True)),
        }
        for t, step in enumerate(bands.steps)
        for b, upper in enumerate(bands.upper)
        if bands.count[b, t] > 0
    ]


def say_who_leads(evidence: Sequence[Evidence], seconds: Mapping[str, float]) -> str | None:
    """The sentence of the first two recurrent forecasters; None where there are not two to compare."""
    pairs = list(evidence[0].pairs) if evidence else []
    nets = [pair for pair in pairs if NAIVE not in pair]
    if not nets:
        return None
    pair = nets[0]
    naive: dict[str, Combined] = {}
    for name in pair:
        found = combine(evidence, (name, NAIVE)) if (name, NAIVE) in pairs else None
        if found is not None:
            naive[name] = found
    first, second = (seconds.get(name, 0.0) for name in pair)
    return sentence(combine(evidence, pair), naive, cpu_ratio=first / second if second else None)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
