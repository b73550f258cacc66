"""Expressions that more than one panel asks for. Fleet figures are sums and counts over all workers."""

from __future__ import annotations

NETS = 'a="lstm",b="rnn"'
STEP = 'step="$step"'
PATH = 'step="path"'
RATE = "$__rate_interval"

SKILL = "gatecast:forecast_skill:ratio"
MISSES = "gatecast:forecast_interval_misses:ratio_rate"


def difference(select: str) -> str:
    """Relative error difference of a pair over all shards; each is a replication and weighs the same."""
    return f"avg(gatecast_comparison_mean_difference{{{select}}})"


def half_width(select: str) -> str:
    """Half width of the mean over shards, from those of the shards; their data share nothing."""
    width = f"gatecast_comparison_confidence_half_width{{{select}}}"
    return f"sqrt(sum({width} ^ 2)) / count({width})"


def verdict(select: str, margin: float) -> str:
    """1 the first is better, -1 the second, 0.5 no material difference, 0 undecided.

    Better: the confidence interval leaves out zero and the difference is material. No material difference:
    all of the interval lies within the margin. The worker's own sentence also widens the interval by the
    spread between its partitions."""
    middle, half = difference(select), half_width(select)
    decided = f"(abs({middle}) > bool ({half})) * (abs({middle}) >= bool {margin:g}) * -sgn({middle})"
    immaterial = f"0.5 * (abs({middle}) + {half} <= bool {margin:g})"
    return f"({decided} + {immaterial}) or 0 * {middle}"


def rate_sum(metric: str, by: str = "") -> str:
    grouped = f" by ({by})" if by else ""
    return f"sum{grouped} (rate({metric}[{RATE}]))"


def quantile(share: float, metric: str, by: str = "") -> str:
    labels = f"{by}, le" if by else "le"
    return f"histogram_quantile({share:g}, sum by ({labels}) (rate({metric}_bucket[{RATE}])))"


def pad(expr: str, label: str) -> str:
    """With a zero before numbers of one digit: Grafana sorts bars by the letters of their label."""
    return f'label_replace({expr}, "{label}", "0$1", "{label}", "([0-9])")'
