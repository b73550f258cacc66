"""All rules, by the file that they are written to."""

from __future__ import annotations

from dashboards.alerting import intake, models, recording, running, sensors
from dashboards.alerting.rules import Alert, Group
from dashboards.thresholds import Thresholds

_MODULES = {
    "figures": recording, "sensors": sensors, "models": models, "intake": intake, "running": running
}  # fmt: skip


def build_groups(t: Thresholds) -> dict[str, Group]:
    """By the name of the file, without its ending."""
    return {name: module.build_group(t) for name, module in _MODULES.items()}


def list_alerts(t: Thresholds) -> list[Alert]:
    return [rule for group in build_groups(t).values() for rule in group.rules if isinstance(rule, Alert)]
