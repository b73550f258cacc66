"""`gatecast dashboards build` and `check`: files follow from the thresholds, the committed ones too."""

from __future__ import annotations

import pytest
import yaml
from click.testing import CliRunner

from dashboards.alerting.groups import build_groups, list_alerts
from dashboards.alerting.rules import SEVERITIES
from dashboards.build import FOLDER, build_files, find_differences
from dashboards.thresholds import FILE, read_thresholds
from pipeline.cli import main

ALERTS = {alert.name: alert for alert in list_alerts(read_thresholds())}


def run(*arguments):
    return CliRunner().invoke(main, ["dashboards", *map(str, arguments)])


def test_the_committed_files_are_what_the_thresholds_give():
    assert find_differences(read_thresholds()) == {}, "gatecast dashboards build writes them"


def test_a_threshold_reaches_rules_and_their_tests(tmp_path):
    thresholds = tmp_path / "t.toml"
    thresholds.write_text(FILE.read_text(encoding="utf-8").replace("records = 10000", "records = 77"))
    done = run("build", "--thresholds", thresholds, "--folder", tmp_path)
    assert done.exit_code == 0, done.output
    assert "> 77 and deriv(" in (tmp_path / "rules/intake.yaml").read_text()
    assert "154 records wait in plant/3" in (tmp_path / "rules/tests/intake.yaml").read_text()


def test_check_names_what_differs_and_build_mends_it(tmp_path):
    assert run("build", "--folder", tmp_path).exit_code == 0
    assert run("check", "--folder", tmp_path).exit_code == 0
    (tmp_path / "rules/models.yaml").unlink()
    (tmp_path / "rules/intake.yaml").write_text("groups: []\n")
    (tmp_path / "rules/tests/of-last-year.yaml").write_text("tests: []\n")
    done = run("check", "--folder", tmp_path)
    assert done.exit_code == 1
    for line in (
        "rules/models.yaml: missing",
        "rules/intake.yaml: different",
        "of-last-year.yaml: left over",
    ):
        assert line in done.output
    assert "expected 3 files as the thresholds give them" in done.output
    assert run("build", "--folder", tmp_path).exit_code == 0
    assert run("check", "--folder", tmp_path).exit_code == 0
    assert run("build", "--folder", tmp_path).output.strip() == f"{tmp_path}: nothing has changed"


def test_a_wrong_file_of_thresholds_is_one_sentence(tmp_path):
    done = run("build", "--thresholds", tmp_path / "none.toml", "--folder", tmp_path)
    assert done.exit_code == 2
    assert done.output.strip().endswith("(No such file or directory)")


@pytest.mark.parametrize("alert", ALERTS.values(), ids=str)
def test_alerts_say_what_to_do(alert):
    """A severity, numbers and the way to look, and a runbook that says three things."""
    if alert.name != "GatecastSensorAlert":
        assert alert.severity in SEVERITIES
        assert "Look at it: http" in alert.description
    assert alert.hold or alert.keep
    runbook = (FOLDER / "runbooks" / f"{alert.name}.md").read_text(encoding="utf-8")
    heads = [line for line in runbook.splitlines() if line.startswith("#")]
    assert heads == [f"# {alert.name}", "## What it means", "## Look here", "## Do this"]
    assert len(runbook) < 2_500, "it is read at night"


def test_there_is_no_runbook_of_no_alert():
    assert {path.stem for path in (FOLDER / "runbooks").iterdir()} == set(ALERTS)


def test_every_alert_has_stories_in_which_it_fires_and_does_not():
    for name, text in build_files(read_thresholds()).items():
        if not name.startswith("rules/tests/"):
            continue
        group = build_groups(read_thresholds())[name.removeprefix("rules/tests/").removesuffix(".yaml")]
        tests = yaml.safe_load(text)["tests"]
        for rule in group.as_yaml("http://r")["rules"]:
            checks = [
                check
                for test in tests
                for check in test.get("promql_expr_test", [])
                if f'"{rule["alert"]}"' in check["expr"]
            ]
            assert any(check["exp_samples"] for check in checks), f"{rule['alert']} never fires"
            assert any(not check["exp_samples"] for check in checks), f"{rule['alert']} is never quiet"
            told = [test for test in tests for one in test.get("alert_rule_test", [])
                    if one["alertname"] == rule["alert"]]  # fmt: skip
            assert told, f"nobody reads what {rule['alert']} says"
