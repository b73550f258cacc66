"""Metrics are named rightly wherever they are used: rules, their tests, runbooks, dashboards and the README.

A metric that is renamed, or a label that it hasn't, would leave a rule or panel empty without a word.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dashboards.alerting.groups import build_groups
from dashboards.alerting.rules import Record
from dashboards.thresholds import read_thresholds
from pipeline.exporters.catalogue import CATALOGUE, Metric

ROOT = Path(__file__).resolve().parents[2]
CONSUMERS = (
    "README.md", "dashboards/rules/*.yaml", "dashboards/rules/tests/*.yaml", "dashboards/runbooks/*.md",
    "dashboards/json/*.json", "deploy/**/*.yml", "deploy/**/*.yaml",
)  # fmt: skip
TARGET = {"instance", "job"}
"""Labels that Prometheus puts on everything that it scrapes."""
ENDS = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("_sum", "_count")}
_NAME = re.compile(r"\b(gatecast_[a-z0-9_]+)\b(?!\.)(\{[^}]*\})?")
_MATCHER = re.compile(r'([a-zA-Z_]+)\s*(?:=~|!~|!=|=)\s*\\*"')
_GROUPED = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([a-z_, ]*)\)")
_RECORDED = re.compile(r"\b(gatecast:[a-z0-9_:]+)\b")
NO_METRICS = {"gatecast_alerts"}
"""Words that look like one."""


@dataclass(frozen=True, slots=True)
class Use:
    name: str
    labels: frozenset[str]
    place: str


def list_samples() -> dict[str, Metric]:
    """Every sample's name, and its metric."""
    found = {}
    for metric in CATALOGUE:
        for end in ENDS.get(metric.kind, ("",)):
            found[metric.name + end] = metric
    return found


def find_uses(text: str, place: str) -> Iterator[Use]:
    for name, matchers in _NAME.findall(text):
        yield Use(name, frozenset(_MATCHER.findall(matchers)), place)


def find_faults(text: str, place: str) -> list[str]:
    samples = list_samples()
    known = {metric.name for metric in CATALOGUE} | samples.keys()
    faults = []
    for use in find_uses(text, place):
        if use.name in NO_METRICS:
            continue
        if use.name not in known:
            faults.append(f"{use.place}: {use.name} is not in the catalogue")
            continue
        metric = samples.get(use.name) or next(m for m in CATALOGUE if m.name == use.name)
        labels = {*metric.labels, *TARGET, *(("le",) if use.name.endswith("_bucket") else ())}
        faults += [f"{place}: {use.name} has no label {label}" for label in use.labels - labels]
    return faults


def list_consumers() -> list[Path]:
    return [path for pattern in CONSUMERS for path in sorted(ROOT.glob(pattern))]


@pytest.mark.parametrize("path", list_consumers(), ids=lambda path: str(path.relative_to(ROOT)))
def test_consumers_name_metrics_that_there_are(path: Path) -> None:
    assert find_faults(path.read_text(encoding="utf-8"), path.name) == []


def test_recorded_figures_that_are_used_are_recorded() -> None:
    groups = build_groups(read_thresholds())
    recorded = {rule.name for group in groups.values() for rule in group.rules if isinstance(rule, Record)}
    for path in list_consumers():
        used = set(_RECORDED.findall(path.read_text(encoding="utf-8")))
        assert used <= recorded, f"{path.name}: {used - recorded}"


def test_rules_group_by_labels_that_their_metrics_have() -> None:
    """`sum by (topik)` is no error to Prometheus, and sums everything."""
    every = {label for metric in CATALOGUE for label in metric.labels} | TARGET | {"le"}
    for group in build_groups(read_thresholds()).values():
        for rule in group.rules:
            used = {use.name for use in find_uses(rule.expr, rule.name)}
            metrics = [metric for name, metric in list_samples().items() if name in used]
            own = {label for metric in metrics for label in metric.labels} | TARGET | {"le"}
            for text in _GROUPED.findall(rule.expr):
                labels = {label.strip() for label in text.split(",") if label.strip()}
                assert labels <= (own if metrics else every), f"{rule.name}: {labels - own}"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("rate(gatecast_readings_eaten_total[5m])", "is not in the catalogue"),
        ('gatecast_series{stait="live"}', "has no label stait"),
        ("gatecast_forecast_latency_seconds_buckets", "is not in the catalogue"),
        ('gatecast_stage_duration_seconds_sum{le="1"}', "has no label le"),
        ('"expr": "gatecast_series{state=~\\"live\\", b=\\"x\\"}"', "has no label b"),
    ],
)
def test_checker_finds_a_planted_fault(text: str, fault: str) -> None:
    (found,) = find_faults(text, "here")
    assert fault in found


def test_checker_passes_what_there_is() -> None:
    text = 'sum by (le) (rate(gatecast_stage_duration_seconds_bucket{stage="emit",instance="a",le="1"}[5m]))'
    assert find_faults(text, "here") == []
    assert find_faults("`gatecast_alert_active` and gatecast.readings", "here") == []
