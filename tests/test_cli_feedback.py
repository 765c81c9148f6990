"""The commands about feedback, and about what is looked for in answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from registry.db import now_ms
from registry.outcomes.said import NewOutcome, Said, Subject
from registry.service import Registry
from registry.settings import RegistrySettings
from tests.support.adapter_folders import TinyBase, write_adapter
from tests.support.cli_runner import Run, done, run

__all__ = ["done", "run"]
DAY_MS = 86_400_000
ABOUT = Subject(1, "r1", None, None, None)


@pytest.fixture
def shop(done: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Some feedback of acme's, of which a part is old."""
    done("tenants", "create", "acme")
    with Registry.open(RegistrySettings(state_dir=tmp_path / "state")) as registry:
        for number, days in enumerate((0, 10)):
            at_ms = now_ms() - days * DAY_MS
            with monkeypatch.context() as then:
                then.setattr("registry.outcomes.store.now_ms", lambda at_ms=at_ms: at_ms)
                new = NewOutcome(ABOUT, Said("solved", "number", float(number)))
                registry.outcomes.give("acme", [new], 10)
    return done


def test_outcomes_are_counted_and_deleted_by_age_and_all(shop: Run, run: Run) -> None:
    (listed,) = shop("feedback", "list", "--json").document
    assert listed == {"tenant": "acme", "source": "feedback", "outcomes": 2}
    assert shop("feedback", "delete", "--tenant", "acme", "--older-than-days", "9", "--json").document["deleted"] == 1
    assert "deleted 1 of acme" in shop("feedback", "delete", "--tenant", "acme").out
    assert "nothing is known" in shop("feedback", "list", "--tenant", "acme").out
    for command in (("list", "--tenant", "nobody"), ("delete", "--tenant", "nobody")):
        assert "there is no tenant 'nobody'" in run("feedback", *command).err


@pytest.fixture
def triage(done: Run, tmp_path: Path) -> None:
    done("tenants", "create", "acme")
    with Registry.open(RegistrySettings(state_dir=tmp_path / "state")) as registry:
        registry.bases.register("tiny", TinyBase().write(tmp_path / "tiny"))
        registry.adapters.publish(
            tenant="acme", adapter="triage", folder=write_adapter(tmp_path / "a"), base="tiny", lineage={"source": "x"}
        )


@pytest.mark.usefixtures("triage")
def test_outcomes_are_exported_from_where_an_export_has_ended(done: Run, run: Run, tmp_path: Path) -> None:
    with Registry.open(RegistrySettings(state_dir=tmp_path / "state")) as registry:
        for number in range(3):
            registry.outcomes.give("acme", [NewOutcome(ABOUT, Said("solved", "number", float(number)))], 10)
    first = done("feedback", "export", "acme/triage", "--limit", "2").document
    rest = done("feedback", "export", "acme/triage", "--after", str(first[-1]["id"])).document
    assert [one["value"] for one in (*first, *rest)] == [0.0, 1.0, 2.0]
    assert run("feedback", "export", "acme/other").status == 1


@pytest.mark.usefixtures("triage")
def test_a_form_of_answers_is_set_shown_and_cleared(done: Run, run: Run, tmp_path: Path) -> None:
    assert "in experiments alone" in done("adapters", "metrics", "show", "acme/triage").out
    schema = tmp_path / "answer.json"
    schema.write_text(json.dumps({"type": "object"}))
    options = ("--schema", schema, "--pattern", r"\{.*", "--share", "0.1")
    assert "10% of the answers" in done("adapters", "metrics", "set", "acme/triage", *options).out
    shown = done("adapters", "metrics", "show", "acme/triage", "--json").document
    assert shown["checks"] == {"share": 0.1, "pattern": r"\{.*", "schema": {"type": "object"}}
    done("adapters", "metrics", "clear", "acme/triage")
    assert done("adapters", "metrics", "show", "acme/triage", "--json").document["checks"] is None
    assert "--pattern is '('" in run("adapters", "metrics", "set", "acme/triage", "--pattern", "(").err
    schema.write_text("[1]")
    for file in (schema, tmp_path / "missing.json"):
        assert "--schema is" in run("adapters", "metrics", "set", "acme/triage", "--schema", file).err
    assert run("adapters", "metrics", "show", "acme/other").status == 1
