"""`switchyard experiments`: begun with a version alone or a plan, steered by hand, and read back."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text

from registry.service import Registry
from tests.support.adapter_folders import lora_tensors, write_adapter
from tests.support.cli_runner import Run, done, run, tiny_base

__all__ = ["done", "run", "tiny_base"]
PLAN = """
on_win = "ask"
holdout_percent = 5
[[ramp]]
percent = 10
dwell_s = 7200
min_units = 0
[audience]
keys = ["KEY"]
metadata = { plan = ["pro", "team"] }
[metric]
name = "accepted"
direction = "higher"
margin = 0
[[guardrails]]
metric = "latency_p95"
margin = 0.25
relative = true
[budget]
dollars = 50
days = 2
"""


@pytest.fixture
def shop(done: Run, tiny_base: str, tmp_path: Path) -> Run:
    """acme/triage@1.0 in production, and @1.1."""
    done("tenants", "create", "acme")
    for seed in (1, 2):
        folder = write_adapter(tmp_path / f"adapter-{seed}", tensors=lora_tensors(seed=1000 * seed))
        done("adapters", "publish", "acme/triage", folder, "--base", tiny_base)
    done("adapters", "promote", "acme/triage@1.0")
    return done


def test_a_version_alone_begins_an_experiment_that_says_what_it_will_do(shop: Run, run: Run) -> None:
    said = shop("experiments", "create", "acme/triage", "1.1").out.splitlines()
    assert said == [
        "experiment 1 (experiment-1)",
        "1.1 against 1.0, for the traffic of acme/triage@production",
        "ramp: 1 % (10 min and 20 units) → 5 % (15 min and 50 units) → 25 % (15 min and 200 units) → "
        "50 % (15 min and 200 units) → 100 % (10 min)",
        "what stays together: the conversation; everybody is in it",
        "wins by: errors at most 0.02 worse (lower is better), 10 min of each unit",
        "how sure: it would win wrongly in at most 5 % of experiments, whenever one looks",
        "guarded by: errors at most 0.02 worse, latency_p95 at most 50 % worse, empty at most 0.02 worse",
        "when it wins: it is promoted; on harm: all traffic goes back to 1.0",
        "ends without a verdict after 14 days, or 100000 units",
        "acme/triage@production → 1.0 99 %, 1.1 1 %: done",
        "no gateway was running, so the split changed at once; the next start loads its versions",
    ]
    heading, row = shop("experiments", "list").out.splitlines()
    assert heading.split() == ["ID", "NAME", "ALIAS", "STATE", "STEP", "TRAFFIC", "STARTED", "ENDED"]
    assert "running  1 of 5  1.0 99 %, 1.1 1 %" in row
    refusal = "experiment 1 ('experiment-1') of acme/triage@production is running and decides on its traffic"
    assert refusal in run("adapters", "promote", "acme/triage@1.1").err


def _written(file: Path, key: str) -> Path:
    file.write_text(PLAN.replace("KEY", key))
    return file


def test_a_plan_in_a_file_says_more_and_a_dry_run_does_nothing(shop: Run, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "plan.toml"
    refused = run("experiments", "create", "acme/triage", "1.1", "--plan", _written(file, "sk-a-whole-secret"))
    assert "audience.keys has 'sk-a-who'…, which is the id of no key of acme's that is in force" in refused.err
    assert "secret" not in refused.err
    key = shop("keys", "create", "acme", "--json").document["id"]
    _written(file, key)
    said = shop("experiments", "create", "acme/triage", "1.1", "--plan", file, "--dry-run").out.splitlines()
    assert said[1:] == [
        "ramp: 10 % (2 h)",
        f"what stays together: the conversation; in it: by keys {key}, with metadata plan pro or team; "
        "5 % are held out of all experiments",
        "wins by: accepted better (higher is better), 10 min of each unit",
        "how sure: it would win wrongly in at most 5 % of experiments, whenever one looks",
        "guarded by: latency_p95 at most 25 % worse",
        "when it wins: it waits for you; on harm: all traffic goes back to 1.0",
        "ends without a verdict after 2 days, or 100000 units, or $50",
        "nothing was done",
    ]
    document = shop("experiments", "create", "acme/triage", "1.1", "--plan", file, "--dry-run", "--json").document
    assert (document["control"], document["audience"]["keys"]) == ("1.0", [key])
    assert shop("experiments", "list").out.startswith("no experiment; `switchyard experiments create")


def test_an_experiment_is_steered_by_hand_and_its_log_tells_all(shop: Run, run: Run) -> None:
    draft = shop("experiments", "create", "acme/triage", "1.1", "--name", "first", "--draft")
    assert draft.out.endswith("it is a draft: `switchyard experiments start 1` begins it\n")
    started = shop("experiments", "start", "acme/triage:first", "--json").document
    assert (started["state"], started["weights"]) == ("running", {"1.0": 9900, "1.1": 100})
    assert shop("experiments", "pause", "1").out == "experiment 1 (first) of acme/triage@production is paused\n"
    twice = run("experiments", "pause", "1")
    assert (twice.status, "is paused, so there is no pause now; what can follow: resume" in twice.err) == (1, True)
    shop("experiments", "resume", "acme/triage")
    other = run("experiments", "promote", "1", "--version", "1.9")
    assert (other.status, other.err) == (1, "error: --version is '1.9'; choose one of the treatments: 1.1\n")
    promoted = shop("experiments", "promote", "1", "--reason", "the judge likes it")
    assert promoted.out.splitlines()[-1] == "experiment 1 (first) of acme/triage@production is promoted"
    log = shop("experiments", "decisions", "1", "--json").document
    assert [line["kind"] for line in log["decisions"]] == ["start", "pause", "resume", "promote"]
    assert (log["decisions"][-1]["reason"], log["faults"]) == ("the judge likes it", [])
    lines = shop("experiments", "decisions", "1").out.splitlines()
    assert "running → promoted" in lines[-1]
    shown = shop("swaps", "show", str(log["decisions"][-1]["swap_id"])).out
    assert "experiment 1 (first) asked for it: promote" in shown


def test_an_experiment_ends_at_its_control_or_leaves_its_split(shop: Run) -> None:
    shop("experiments", "create", "acme/triage", "1.1")
    stopped = shop("experiments", "stop", "1").out.splitlines()
    assert stopped[-1] == "experiment 1 (experiment-1) of acme/triage@production is stopped"
    shop("experiments", "create", "acme/triage", "1.1", "base", "--plan", _ask(shop))
    shop("experiments", "stop", "2", "--keep")
    (row,) = [one for one in shop("adapters", "list", "--json").document if one["name"] == "acme/triage@1.0"]
    assert row["shares"] == {"production": 99}
    assert shop("adapters", "split", "acme/triage", "--end").out.splitlines()[-1].endswith("1.1 0.5 %, base 0.5 %")


def _ask(_: Run) -> Path:
    file = Path("plan.toml")
    file.write_text('on_win = "ask"\n')
    return file


def test_a_log_that_somebody_has_changed_ends_the_command_with_a_fault(shop: Run, run: Run) -> None:
    shop("experiments", "create", "acme/triage", "1.1")
    with Registry.open() as registry, registry.db.write() as session:
        session.connection().execute(text("DROP TRIGGER experiment_decisions_no_update"))
        session.connection().execute(text("UPDATE experiment_decisions SET to_state = 'promoted'"))
    told = run("experiments", "decisions", "1")
    assert told.status == 1
    assert told.out.endswith("fault: decision 1 has columns that are not as in its document\n")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["create", "acme/triage"], "versions are missing; name what is tried"),
        (["create", "acme/triage@1.0", "1.1"], "write tenant/adapter alone"),
        (["create", "acme/triage", "1.1", "--plan", "nowhere.toml"], "--plan is 'nowhere.toml', which cannot be read"),
        (["create", "acme/triage", "1.1", "--plan", "bad.toml"], "--plan is 'bad.toml', which is no TOML"),
        (
            ["create", "acme/triage", "1.1", "--plan", "both.toml"],
            "treatments are in both.toml and on the command",
        ),
        (["create", "acme/triage", "gpt"], "treatments is ['gpt']: 'gpt' is no version; write MAJOR.MINOR"),
        (["create", "acme/triage", "1.9"], "there is no acme/triage@1.9"),
        (["stop", "7"], "there is no experiment '7'; `switchyard experiments list` shows what there is"),
        (["decisions", "acme/other"], "there is no adapter 'acme/other'"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(shop: Run, run: Run, arguments: list[str], says: str) -> None:
    Path("bad.toml").write_text("ramp = [")
    Path("both.toml").write_text('treatments = ["1.1"]')
    refused = run("experiments", *arguments)
    assert (refused.status, refused.out) == (1, "")
    assert says in refused.err
