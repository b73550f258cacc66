"""Every rule against a Prometheus with two workers behind it: there are data, of the shape it expects."""

from __future__ import annotations

import math

import pytest

from dashboards.alerting.groups import build_groups
from dashboards.alerting.rules import Alert
from dashboards.thresholds import read_thresholds
from tests.stack.expressions import find_faults, list_selectors
from tests.stack.stack import PARTITIONS, Stack

GROUPS = build_groups(read_thresholds())
RULES = [rule for group in GROUPS.values() for rule in group.rules]
EMPTY = ("gatecast_alert_active",)
"""Nothing is wrong with any sensor when this is asked; `test_chain` sees it."""
SHAPES = {
    "gatecast:forecast_skill:ratio": {"forecaster", "step"},
    "gatecast:forecast_mase:ratio": {"forecaster", "step"},
    "gatecast:forecast_interval_misses:ratio_rate": {"forecaster", "step"},
    "gatecast:training_skipped:ratio_rate": {"forecaster"},
    "gatecast:training_gradient_norm:p90": {"forecaster"},
    "gatecast:readings_rejected:ratio_rate": {"job"},
    "gatecast:readings_consumed:rate": {"topic", "partition"},
    "gatecast:consumer_lag_records:max": {"topic", "partition"},
    "gatecast:forecast_latency_seconds:p99": {"job"},
    "gatecast:partitions_unserved:count": {"topic"},
    "gatecast:checkpoint_age_seconds:max": {"job"},
    "gatecast:workers:count": {"job"},
}


def test_selectors_are_found_in_any_expression() -> None:
    expr = 'sum(rate(gatecast_a_total{s="x}{\\"y",t=~"a|b"}[5m] offset 1h)) / up{job="g"} > gatecast:b:c'
    assert list_selectors(expr) == ['gatecast_a_total{s="x}{\\"y",t=~"a|b"}', 'up{job="g"}', "gatecast:b:c"]


def test_what_rules_ask_for_is_there(stack: Stack) -> None:
    for name in SHAPES:
        stack.wait_until(name, 60)  # two scrapes for a rate, and an evaluation
    assert find_faults(stack.prometheus, [rule.expr for rule in RULES], EMPTY) == []
    assert stack.prometheus.find_sick_rules() == []


@pytest.mark.parametrize("name", SHAPES)
def test_figures_have_their_shape(stack: Stack, name: str) -> None:
    """Fleet figures keep neither instance nor, where they are about all, partition; none is infinite."""
    assert name in {rule.name for rule in RULES}
    stack.wait_until(name, 60)
    samples = stack.prometheus.query(name)
    for sample in samples:
        assert set(sample.labels) - {"__name__"} == SHAPES[name]
        assert not math.isinf(sample.value)
    if "partition" in SHAPES[name]:
        assert {sample.labels["partition"] for sample in samples} == {str(n) for n in range(PARTITIONS)}


def test_every_figure_is_listed_here() -> None:
    assert set(SHAPES) == {rule.name for rule in RULES if not isinstance(rule, Alert)}


def test_nothing_is_wrong_and_no_rule_says_so(stack: Stack) -> None:
    """Of a fleet that works, but for rules about quality, which wait for longer than this runs."""
    firing = [one["labels"]["alertname"] for one in stack.prometheus.alerts() if one["state"] == "firing"]
    assert firing == []
