"""The commands of a day: tenants, keys, adapters, promotes, splits, prices, and what each prints as JSON."""

from __future__ import annotations

import getpass
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gateway.serving.running import only_up
from gateway.settings import GatewaySettings
from registry.service import Registry
from registry.settings import RegistrySettings
from tests.support.adapter_folders import lora_tensors, write_adapter
from tests.support.cli_runner import Run, done, run, tiny_base

__all__ = ["done", "run", "tiny_base"]


@pytest.fixture
def shop(done: Run, tiny_base: str, tmp_path: Path) -> Run:
    """Tenant acme with acme/triage@1.0 and @1.1, nothing promoted."""
    done("tenants", "create", "acme")
    for seed in (1, 2):
        folder = write_adapter(tmp_path / f"adapter-{seed}", tensors=lora_tensors(seed=1000 * seed))
        done("adapters", "publish", "acme/triage", folder, "--base", tiny_base)
    return done


def test_tenants_are_created_set_and_listed(done: Run) -> None:
    created = done("tenants", "create", "acme", "--json").document
    assert (created["name"], created["allow_unknown_fields"], created["models"]) == ("acme", False, {})
    assert "unknown request fields pass" in done("tenants", "set", "acme", "--allow-unknown-fields").out
    assert "its weight at full engines is 3" in done("tenants", "set", "acme", "--weight", "3").out
    (listed,) = done("tenants", "list", "--json").document
    assert listed["allow_unknown_fields"] is True


def test_an_empty_installation_says_what_to_do_first(done: Run) -> None:
    assert "switchyard tenants create" in done("tenants", "list").out
    assert "switchyard keys create" in done("keys", "list").out
    assert "switchyard adapters publish" in done("adapters", "list").out
    for command in ("tenants", "keys", "adapters"):
        assert done(command, "list", "--json").document == []


def test_keys_are_made_shown_once_listed_and_revoked(done: Run) -> None:
    done("tenants", "create", "acme")
    key = done("keys", "create", "acme", "--label", "ci", "--scope", "inference", "--scope", "base", "--json").document
    assert key["secret"].startswith("sk-")
    assert key["scopes"] == ["inference", "base"]
    listing = done("keys", "list", "acme", "--json")
    assert key["secret"] not in listing.out
    (listed,) = listing.document
    assert (listed["id"], listed["label"], listed["revoked_at_ms"]) == (key["id"], "ci", None)
    assert done("keys", "revoke", key["id"]).out == f"revoked {key['id']}\n"
    assert done("keys", "list", "--json").document[0]["revoked_at_ms"] is not None


def test_publishing_prints_the_version_and_publishing_again_says_so(shop: Run, tmp_path: Path) -> None:
    again = shop("adapters", "publish", "acme/triage", tmp_path / "adapter-1", "--base", "tiny", "--json").document
    assert (again["name"], again["version"], again["created"]) == ("acme/triage@1.0", "1.0", False)
    assert again["facts"]["rank"] == 4
    assert [version["name"] for version in shop("adapters", "list", "acme", "--json").document] == [
        "acme/triage@1.0",
        "acme/triage@1.1",
    ]


def test_importing_a_folder_keeps_where_it_came_from(shop: Run, tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "from-a-colleague")
    imported = shop(
        "adapters", "import", folder, "--to", "acme/answers", "--base", "tiny", "--no-prove", "--json"
    ).document
    assert imported["name"] == "acme/answers@1.0"
    shown = shop("adapters", "show", "acme/answers@1.0", "--json").document
    assert shown["lineage"] == {"source": "import", "folder": "from-a-colleague"}
    assert shown["manifest_digest"] == imported["manifest_digest"]


def test_an_import_without_a_proof_says_how_to_get_one_and_is_listed_as_unproven(shop: Run, tmp_path: Path) -> None:
    folder = write_adapter(tmp_path / "from-a-colleague")
    said = shop("adapters", "import", folder, "--to", "acme/answers", "--base", "tiny", "--no-prove").out
    assert "it has no effect proof; measure one: switchyard adapters prove acme/answers@1.0" in said
    listed = [line for line in shop("adapters", "list", "acme").out.splitlines() if line.startswith("acme/answers")]
    assert [line.split()[-1] for line in listed] == ["unproven"]


def test_a_promote_without_a_gateway_moves_the_alias_at_once_and_says_so(shop: Run) -> None:
    swap = shop("adapters", "promote", "acme/triage@1.0", "--reason", "first", "--json").document
    assert (swap["state"], swap["to_version"]) == ("done", "acme/triage@1.0")
    assert "no gateway was running" in swap["detail"]["note"]
    shown = shop("adapters", "show", "acme/triage", "--json").document
    assert (shown["name"], shown["aliases"]) == ("acme/triage@1.0", ["production"])


def test_rollback_and_history_tell_who_moved_what_and_why(shop: Run) -> None:
    shop("adapters", "promote", "acme/triage@1.0")
    shop("adapters", "promote", "acme/triage@1.1", "--reason", "better")
    assert "rollback of production  to acme/triage@1.0" in shop("adapters", "show", "acme/triage").out
    assert "acme/triage@production → acme/triage@1.0: done" in shop("adapters", "rollback", "acme/triage").out
    why_not = "acme/triage@production has no earlier version to go back to"
    shown = shop("adapters", "show", "acme/triage", "--json").document
    assert shown["ways_back"] == {"production": {"back_to": None, "why_not": why_not, "held": None}}
    moves = shop("adapters", "history", "acme/triage", "--json").document["moves"]
    assert [(move["from_version"], move["to_version"], move["reason"]) for move in moves] == [
        (None, "acme/triage@1.0", ""),
        ("acme/triage@1.0", "acme/triage@1.1", "better"),
        ("acme/triage@1.1", "acme/triage@1.0", "rollback"),
    ]
    assert {move["actor"] for move in moves} == {getpass.getuser()}


def test_a_promote_that_no_gateway_finishes_in_time_says_that_it_goes_on(shop: Run, run: Run, tmp_path: Path) -> None:
    with Registry.open(RegistrySettings(state_dir=tmp_path / "state")) as registry:
        registry.workers.report("a-gateway", "http://127.0.0.1:8000", 0)
    followed = run("adapters", "promote", "acme/triage@1.0", "--timeout", "0.1")
    assert followed.status == 1
    assert "still 'requested' after 0.1 s; the gateway goes on with it" in followed.err


def test_a_split_begins_shows_in_the_history_and_ends(shop: Run) -> None:
    shop("adapters", "promote", "acme/triage@1.0")
    begun = shop("adapters", "split", "acme/triage", "1.0=90", "1.1=10", "--reason", "a tenth", "--json").document
    assert begun["split"]["arms"] == [["1.0", 9000], ["1.1", 1000]]
    assert (begun["swap"]["kind"], begun["swap"]["state"]) == ("ramp", "done")
    assert begun["swap"]["detail"]["split"] == begun["split"]["id"]
    listed = {row["name"]: (row["aliases"], row["shares"]) for row in shop("adapters", "list", "--json").document}
    assert listed["acme/triage@1.0"] == (["production"], {"production": 90})
    assert listed["acme/triage@1.1"] == ([], {"production": 10})
    rows = shop("adapters", "list").out.splitlines()[1:]
    assert ["production 90 %" in rows[0], "production 10 %" in rows[1]] == [True, True]
    ended = shop("adapters", "split", "acme/triage", "--end")
    assert ended.out.splitlines() == [
        "acme/triage@production → 1.0 100 %: done",
        "no gateway was running, so the split changed at once; the next start loads its versions",
        f"split {begun['split']['id']} of acme/triage@production ended: 1.0 90 %, 1.1 10 %",
    ]
    shown = shop("swaps", "show", str(begun["swap"]["id"])).out
    assert shown.startswith("acme/triage@production was split: 1.0 90 %, 1.1 10 %\n")
    assert [line.split()[1] for line in shop("swaps", "list").out.splitlines()] == ["KIND", "ramp", "ramp", "move"]
    (split,) = shop("adapters", "history", "acme/triage", "--json").document["splits"]
    assert split["ended_at_ms"] is not None
    assert "1.0=90% 1.1=10%" in shop("adapters", "history", "acme/triage").out


def test_external_names_are_mapped_and_forgotten(shop: Run) -> None:
    shop("adapters", "promote", "acme/triage@1.0")
    shop("tenants", "map", "acme", "ft:gpt-4o-mini:acme::1", "triage")
    shop("tenants", "map", "acme", "gpt-4o", "tiny")
    assert shop("tenants", "list", "--json").document[0]["models"] == {
        "ft:gpt-4o-mini:acme::1": "triage",
        "gpt-4o": "tiny",
    }
    shop("tenants", "unmap", "acme", "gpt-4o")
    assert "ft:gpt-4o-mini:acme::1 → triage" in shop("tenants", "list").out


def test_explain_tells_what_a_name_resolves_to(shop: Run, run: Run) -> None:
    shop("adapters", "promote", "acme/triage@1.0")
    secret = shop("keys", "create", "acme", "--json").document["secret"]
    steps = shop("explain", "triage", "--key", secret, "--json").document
    assert [step["step"] for step in steps] == ["authenticate", "resolve", "assign", "version"]
    assert "points at acme/triage@1.0" in steps[1]["found"]
    refused = run("explain", "nothing", "--key", secret, "--json")
    assert refused.status == 1
    assert refused.document[-1]["ok"] is False


def test_tables_for_people_keep_names_whole(shop: Run) -> None:
    shop("adapters", "promote", "acme/triage@1.0")
    secret = shop("keys", "create", "acme")
    assert secret.out.startswith("sk-")
    for command in (("adapters", "list"), ("adapters", "show", "acme/triage"), ("adapters", "history", "acme/triage")):
        assert "acme/triage@1.0" in shop(*command).out
    assert "acme" in shop("keys", "list").out


NOBODY = "http://127.0.0.1:9"


def checks_of(run: Run) -> dict[str, dict[str, Any]]:
    outcome = run("doctor", "--json")
    assert outcome.status == 1
    return {check["name"]: check for check in outcome.document}


def test_doctor_names_each_check_and_what_to_do(run: Run) -> None:
    checks = {check["name"]: check for check in run("doctor", "--json").document}
    engine = checks["engine http://127.0.0.1:8001"]
    assert {"python", "engine", "torch", "cpu", "base model"} < set(checks)
    assert {"name", "ok", "found", "remedy", "defects"} == set(checks["python"])
    assert engine["ok"] or "switchyard up" in engine["remedy"]
    assert "switchyard base prepare" in run("doctor").out


def test_doctor_does_not_send_people_with_engines_of_their_own_to_the_sample(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWITCHYARD_ENGINES", NOBODY)
    checks = checks_of(run)
    assert not {"engine", "torch", "cpu", "memory"} & set(checks)
    assert "own-engines.md" in checks[f"engine {NOBODY}"]["remedy"]
    assert "switchyard base register NAME FOLDER" in checks["base model"]["remedy"]
    said = run("doctor").out
    assert "switchyard up" not in said
    assert "prepare" not in said


def test_doctor_shows_no_password_of_an_engine_url(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWITCHYARD_ENGINES", "http://me:s3cret@10.0.0.1:1/?key=t0ken")
    outcome = run("doctor")
    shown = outcome.out + outcome.err
    assert "a user name or password in it" in shown
    assert "10.0.0.1:1" in shown
    assert "s3cret" not in shown
    assert "t0ken" not in shown


def test_doctor_says_all_it_can_where_the_database_is_away(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWITCHYARD_DATABASE_URL", "sqlite:////dev/null/registry.db")
    checks = checks_of(run)
    assert "the database sqlite:////dev/null/registry.db cannot be used" in checks["base model"]["found"]
    assert {"python", "engine", "torch", "cpu"} < set(checks)


def test_doctor_says_of_an_engine_that_up_starts_again_that_it_does(run: Run) -> None:
    state_dir = GatewaySettings().state_dir
    with only_up(state_dir, NOBODY):
        checks = checks_of(run)
    assert f"wait: `switchyard up` (pid {os.getpid()}) starts it" in checks[f"engine {NOBODY}"]["remedy"]
    assert str(state_dir / "logs" / "engine.log") in checks[f"engine {NOBODY}"]["remedy"]
    assert "memory" not in checks, "the engine of `up` has taken what it needs, or will"


def test_the_version_is_printed(done: Run) -> None:
    assert done("--version").out.startswith("switchyard 0.")


def test_every_command_that_changes_something_answers_scripts_with_one_document(shop: Run) -> None:
    shop("adapters", "promote", "acme/triage@1.0")
    key = shop("keys", "create", "acme", "--json").document
    mapped = shop("tenants", "map", "acme", "gpt-4o-mini", "triage", "--json").document
    assert mapped == {"tenant": "acme", "external": "gpt-4o-mini", "target": "triage"}
    assert shop("tenants", "unmap", "acme", "gpt-4o-mini", "--json").document["target"] is None
    assert shop("tenants", "set", "acme", "--allow-unknown-fields", "--json").document["allow_unknown_fields"] is True
    assert shop("keys", "revoke", key["id"], "--json").document == {"id": key["id"], "revoked": True}
    dated = ("--from", "2026-01-01", "--source", "a list", "--json")
    api = shop("cost", "baselines", "add-price", "m", "--input", "0.3", "--output", "1.2", *dated).document
    assert [price["dollars"] for price in api["prices"]] == ["0.3", "1.2"]
    engine = ("cost", "engines", "add", "*", "on_demand", "--hourly", "2", *dated)
    assert shop(*engine).document["said"]["nano_per_hour"] == 2_000_000_000


def test_a_command_that_reads_imports_the_dialect_of_its_database_alone(run: Run, tmp_path: Path) -> None:
    assert run("tenants", "list").status == 0  # migrates, which takes both
    show = "import atexit, sys; atexit.register(lambda: print(*(n for n in sys.modules if 'dialects.' in n)));"
    script = f"{show} sys.argv = ['switchyard', 'tenants', 'list']; import switchyard; switchyard.main()"
    env = {**os.environ, "SWITCHYARD_STATE_DIR": str(tmp_path / "state")}
    ran = subprocess.run(
        [sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True, timeout=60
    )
    assert "sqlalchemy.dialects.sqlite" in ran.stdout
    assert "postgresql" not in ran.stdout
