"""Writes prometheusrule.yaml out of the rules in dashboards/rules, so that there is one source of them.

python deploy/kubernetes/rules.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
RULES = HERE.parents[1] / "dashboards" / "rules"
TARGET = HERE / "prometheusrule.yaml"
HEADER = "# Written by deploy/kubernetes/rules.py out of dashboards/rules: not by hand.\n"


def render() -> str:
    """One PrometheusRule with the groups of all files, which Prometheus' operator reads unchanged."""
    groups = [
        group
        for path in sorted(RULES.glob("*.yaml"))
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
    ]
    resource: dict[str, Any] = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "gatecast", "labels": {"release": "kube-prometheus-stack"}},
        "spec": {"groups": groups},
    }
    return HEADER + yaml.safe_dump(resource, sort_keys=False, allow_unicode=True, width=110)


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
