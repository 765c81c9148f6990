"""Rules of deploy/prometheus: each alert fires in a test and is quiet in another, and its section says what to do."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml

from gateway.metrics.families import BY_NAME, Family
from tests.live.installation import ROOT

FOLDER = ROOT / "deploy" / "prometheus"
PROMTOOL = shutil.which("promtool")
NEEDS_PROMTOOL = pytest.mark.skipif(PROMTOOL is None, reason="promtool is missing: apt-get install prometheus")
GROUPS: list[dict[str, Any]] = yaml.safe_load((FOLDER / "rules.yml").read_text())["groups"]
RULES = [rule for group in GROUPS for rule in group["rules"]]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}
RECORDED = {rule["record"] for rule in RULES if "record" in rule}
RUNBOOK = (ROOT / "deploy" / "runbook.md").read_text()
OURS = re.compile(r"switchyard_\w+")


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    assert PROMTOOL is not None
    return subprocess.run([PROMTOOL, *arguments], cwd=FOLDER, capture_output=True, text=True, timeout=60, check=False)


def family_of(name: str) -> Family | None:
    """The metric that a series' name belongs to."""
    return BY_NAME.get(name) or BY_NAME.get(re.sub(r"_(bucket|sum|count)$", "", name))


@NEEDS_PROMTOOL
def test_promtool_takes_rules_and_configuration() -> None:
    for what, file in (("rules", "rules.yml"), ("config", "prometheus.yml")):
        done = promtool("check", what, file)
        assert done.returncode == 0, done.stdout + done.stderr


@NEEDS_PROMTOOL
def test_every_alert_fires_when_something_is_wrong_and_is_quiet_before() -> None:
    done = promtool("test", "rules", "rules_test.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_alert_is_without_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    cases: dict[str, set[bool]] = {}
    for group in yaml.safe_load((FOLDER / "rules_test.yml").read_text())["tests"]:
        for case in group["alert_rule_test"]:
            cases.setdefault(case["alertname"], set()).add(bool(case["exp_alerts"]))
    assert cases == {name: {True, False} for name in ALERTS}


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_what_is_wrong_how_urgent_it_is_and_where_to_read_on(name: str) -> None:
    alert = ALERTS[name]
    assert alert["labels"]["severity"] in ("page", "ticket")
    assert alert["annotations"]["summary"].endswith(".")
    assert alert["annotations"]["runbook"] == f"deploy/runbook.md#{name.lower()}"
    section = re.search(rf"^### {name}$\n(.*?)(?=^##|\Z)", RUNBOOK, re.MULTILINE | re.DOTALL)
    assert section is not None, f"deploy/runbook.md has no section {name}"
    assert len(section[1].split()) > 20


def test_the_runbook_speaks_of_no_alert_that_is_not_there() -> None:
    assert set(re.findall(r"^### (\w+)$", RUNBOOK, re.MULTILINE)) == set(ALERTS)


@pytest.mark.parametrize("expression", [rule["expr"] for rule in RULES])
def test_a_rule_asks_for_metrics_and_labels_that_there_are(expression: str) -> None:
    for name in re.findall(r"switchyard:[\w:]+", expression):
        assert name in RECORDED
    for name in OURS.findall(expression):
        family = family_of(name)
        assert family is not None, f"{name} is in no table"
        for matchers in re.findall(rf"{name}\{{([^}}]*)\}}", expression):
            labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers))
            assert labels <= {*family.labels, "instance", "job", *(("le",) if family.buckets else ())}
