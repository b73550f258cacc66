"""All files that follow from the thresholds and the code beside them, and whether those on disk are so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from dashboards.alerting.groups import build_groups
from dashboards.alerting.testing import build_tests
from dashboards.boards.build import build_boards
from dashboards.thresholds import Thresholds

FOLDER = Path(__file__).parent
_HEAD = """\
# Written by `gatecast dashboards build`. To change: dashboards/thresholds.toml and dashboards/alerting.
"""
_WIDTH = 110


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Files of one kind. `owns`: the glob of what lies in their folder and is nobody else's."""

    owns: str
    build: Callable[[Thresholds], Mapping[str, str]]


def build_rules(t: Thresholds) -> dict[str, str]:
    return {
        f"rules/{name}.yaml": _HEAD + _write({"groups": [group.as_yaml(t.links.runbooks)]})
        for name, group in build_groups(t).items()
    }


def build_rule_tests(t: Thresholds) -> dict[str, str]:
    """For `promtool test rules`, with TZ=UTC: messages hold local times."""
    return {f"rules/tests/{name}.yaml": _HEAD + _write(test) for name, test in build_tests(t).items()}


def build_prometheus_rule(t: Thresholds) -> dict[str, str]:
    """The same groups as the one resource that Prometheus' operator on Kubernetes reads."""
    rule = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        # kube-prometheus-stack takes those that carry the name of its release.
        "metadata": {"name": "gatecast", "labels": {"release": "kube-prometheus-stack"}},
        "spec": {"groups": [group.as_yaml(t.links.runbooks) for group in build_groups(t).values()]},
    }
    return {"kubernetes/prometheusrule.yaml": _HEAD + _write(rule)}


PARTS = (
    Part(owns="rules/*.yaml", build=build_rules),
    Part(owns="rules/tests/*.yaml", build=build_rule_tests),
    Part(owns="json/*.json", build=build_boards),
    Part(owns="kubernetes/prometheusrule.yaml", build=build_prometheus_rule),
)


def build_files(t: Thresholds) -> dict[str, str]:
    """Text by path below the folder `dashboards`."""
    return {path: text for part in PARTS for path, text in part.build(t).items()}


def write_files(t: Thresholds, folder: Path = FOLDER) -> list[str]:
    """Writes them all, and takes away what was built before and is not any more. Paths that changed."""
    files = build_files(t)
    changed = find_differences(t, folder)
    for path, text in files.items():
        if path in changed:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
    for path in changed:
        if path not in files:
            (folder / path).unlink()
    return list(changed)


def find_differences(t: Thresholds, folder: Path = FOLDER) -> dict[str, str]:
    """What is wrong with the files on disk, by path: missing, different or left over."""
    files = build_files(t)
    found: dict[str, str] = {}
    for path, text in files.items():
        place = folder / path
        if not place.is_file():
            found[path] = "missing"
        elif place.read_text(encoding="utf-8") != text:
            found[path] = "different"
    for part in PARTS:
        for place in sorted(folder.glob(part.owns)):
            path = place.relative_to(folder).as_posix()
            if path not in files:
                found[path] = "left over"
    return found


class _Dumper(yaml.SafeDumper):
    """Long texts in one piece: a line break within an expression helps nobody who searches for it."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _write(content: object) -> str:
    text: str = yaml.dump(
        content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDTH, default_flow_style=False
    )
    return text
