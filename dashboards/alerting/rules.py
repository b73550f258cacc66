"""What rules are made of, and their form in Prometheus's files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dashboards.thresholds import Duration

SEVERITIES = ("page", "ticket", "info")
"""page: a person is woken; ticket: somebody looks by day; info: it is kept, nobody is told. Those of the
series file."""
JOB = "gatecast"
"""Of deploy/prometheus/prometheus.yml."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A recording rule; its name is level:metric:operations."""

    name: str
    expr: str

    def as_yaml(self) -> dict[str, Any]:
        return {"record": self.name, "expr": self.expr}


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """An alert rule. severity None: the expression's own label says it."""

    name: str
    expr: str
    severity: str | None
    summary: str
    description: str
    hold: Duration | None = None
    keep: Duration | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)

    def as_yaml(self, runbooks: str) -> dict[str, Any]:
        """runbooks: URL of the folder with a file for each alert."""
        rule: dict[str, Any] = {"alert": self.name, "expr": self.expr}
        if self.hold is not None:
            rule["for"] = str(self.hold)
        if self.keep is not None:
            rule["keep_firing_for"] = str(self.keep)
        if self.severity is not None:
            rule["labels"] = {"severity": self.severity}
        rule["annotations"] = {
            "summary": self.summary,
            "description": self.description,
            "runbook_url": f"{runbooks}/{self.name}.md",
            **self.annotations,
        }
        return rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Rules that are evaluated together, one after the other, every `interval`."""

    name: str
    interval: str
    rules: tuple[Record | Alert, ...]

    def as_yaml(self, runbooks: str) -> dict[str, Any]:
        rules = [rule.as_yaml(runbooks) if isinstance(rule, Alert) else rule.as_yaml() for rule in self.rules]
        return {"name": self.name, "interval": self.interval, "rules": rules}
