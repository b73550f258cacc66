"""Rules and configurations as Prometheus's and Alertmanager's own tools see them."""

from __future__ import annotations

import os
import re
import subprocess

import pytest

from dashboards.build import FOLDER
from tests.stack.components import find_program
from tests.stack.servers import ROOT

RULES = FOLDER / "rules"
STORIES = sorted((RULES / "tests").glob("*.yaml"))


def run(program, *arguments):
    done = subprocess.run(
        [find_program(program), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TZ": "UTC"},
    )
    return done.returncode, done.stdout + done.stderr


def test_rules_are_well_formed():
    code, said = run("promtool", "check", "rules", *sorted(RULES.glob("*.yaml")))
    assert code == 0, said
    assert said.count("SUCCESS") == len(STORIES) + 1
    assert "FAILED" not in said


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_rules_stand_their_stories(path):
    code, said = run("promtool", "test", "rules", path)
    assert code == 0, said
    assert "SUCCESS" in said


def test_a_rule_that_forgets_to_hold_fails_its_story(tmp_path):
    """The stories can fail: without `keep_firing_for` a restart is a "resolved"; a later `for` is seen."""
    text = (RULES / "running.yaml").read_text()
    broken = {
        "keep": re.sub(r" +keep_firing_for: .*\n", "", text),
        "for": text.replace("for: 3m\n", "for: 5m\n", 1),
        "threshold": text.replace(":count > 0", ":count > 6"),
    }
    (tmp_path / "tests").mkdir()
    (tmp_path / "figures.yaml").write_text((RULES / "figures.yaml").read_text())
    (tmp_path / "tests/running.yaml").write_text((RULES / "tests/running.yaml").read_text())
    for what, rules in broken.items():
        assert rules != text, what
        (tmp_path / "running.yaml").write_text(rules)
        code, said = run("promtool", "test", "rules", tmp_path / "tests/running.yaml")
        assert code != 0, f"nobody notices another {what}"
        assert "GatecastPartitionsUnserved" in said


def test_prometheus_takes_its_configuration():
    code, said = run("promtool", "check", "config", ROOT / "deploy/prometheus/prometheus.yml")
    assert code == 0, said


def test_alertmanager_takes_its_configuration(tmp_path):
    text = (ROOT / "deploy/alertmanager/alertmanager.yml").read_text()
    path = tmp_path / "alertmanager.yml"
    path.write_text(text.replace("/etc/alertmanager/templates", str(ROOT / "deploy/alertmanager/templates")))
    code, said = run("amtool", "check-config", path)
    assert code == 0, said
    assert "1 templates" in said


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        (("severity=page", "owner=process"), "pages"),
        (("severity=page",), "pages"),
        (("severity=ticket", "owner=process"), "tickets"),
        (("severity=info", "owner=shift-lead"), "nobody"),
        (("severity=page", "owner=shift-lead"), "shift-lead"),
        (("severity=ticket", "owner=shift-lead"), "tickets"),
        (("severity=ticket", "owner=maintenance-system"), "maintenance-system"),
    ],
)
def test_who_is_told(labels, receiver):
    config = ROOT / "deploy/alertmanager/alertmanager.yml"
    code, said = run("amtool", "config", "routes", "test", f"--config.file={config}", *labels)
    assert (code, said.splitlines()[0]) == (0, receiver)
