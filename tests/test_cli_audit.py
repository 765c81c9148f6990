"""Commands that write the registry are in the audit log, and the commands that show it."""

from __future__ import annotations

import getpass
from pathlib import Path

import pytest

from registry.service import Registry
from tests.support.cli_runner import Run, run

__all__ = ["run"]


def test_a_command_that_writes_is_an_order_of_who_is_at_the_keyboard(run: Run) -> None:
    run("tenants", "create", "acme")
    run("keys", "create", "acme", "--label", "shop")
    run("tenants", "list")
    made, created = run("audit", "list", "--json").document
    assert (created["route"], created["object"], created["tenant"]) == ("switchyard tenants create", "acme", None)
    assert (made["route"], made["via"], made["actor"]) == ("switchyard keys create", "command", getpass.getuser())
    assert made["body"] == {"tenant": "acme", "label": "shop"}
    assert (made["outcome"], made["tenant"], made["address"]) == ("done", "acme", None)
    assert [change["table"] for change in made["changes"]] == ["api_keys"]


def test_what_a_command_was_refused_is_there_with_its_sentence(run: Run) -> None:
    run("tenants", "create", "acme")
    assert run("tenants", "create", "acme").status == 1
    refused = run("audit", "list", "--json").document[0]
    assert (refused["outcome"], refused["error"]) == ("refused", "tenant 'acme' exists already")
    assert refused["changes"] == []


def test_a_command_that_only_reads_or_goes_wrong_before_it_writes_leaves_no_line(run: Run) -> None:
    run("tenants", "list")
    run("keys", "create", "acme", "--scope", "everything")
    run("operators", "add", "root", "--role", "read")
    assert run("audit", "list", "--json").document == []
    assert run("audit", "list").out == "no order yet\n"


def test_the_log_is_shown_with_rows_before_and_after(run: Run) -> None:
    run("tenants", "create", "acme")
    run("tenants", "set", "acme", "--response-days", "7")
    listed = run("audit", "list", "--tenant", "acme").out
    assert "switchyard tenants set" in listed
    assert "1 of tenants" in listed
    newest = run("audit", "list", "--json", "--limit", "1").document[0]["id"]
    shown = run("audit", "show", str(newest)).out
    assert "response_days: None → 7" in shown
    assert run("audit", "show", str(newest), "--json").document["id"] == newest
    missing = run("audit", "show", "999")
    assert (missing.status, "there is no order 999" in missing.err) == (1, True)


def test_verify_says_which_line_was_touched_and_fails(run: Run) -> None:
    run("tenants", "create", "acme")
    assert run("audit", "verify").out == "3 lines are as they were written\n"
    with Registry.open() as registry, registry.db.engine.begin() as connection:
        connection.exec_driver_sql("DROP TRIGGER audit_lines_no_update")
        connection.exec_driver_sql("UPDATE audit_lines SET actor = 'eve' WHERE seq = 1")
    touched = run("audit", "verify")
    assert (touched.status, "line 1 of the audit log is not what was written" in touched.out) == (1, True)


def test_verify_finds_by_heads_that_were_kept_what_was_cut_off(run: Run, tmp_path: Path) -> None:
    run("tenants", "create", "acme")
    kept = tmp_path / "kept"
    kept.write_text(run("audit", "heads").out)
    assert run("audit", "verify", "--heads", kept).out.startswith("3 lines are as they were written, and no log is")
    with Registry.open() as registry, registry.db.engine.begin() as connection:
        connection.exec_driver_sql("DROP TRIGGER audit_lines_no_delete")
        connection.exec_driver_sql("DELETE FROM audit_lines WHERE seq = 3")
    assert run("audit", "verify").status == 0, "a log cannot tell that its own end is missing"
    found = run("audit", "verify", "--heads", kept)
    assert (found.status, "the log audit had 3 lines once" in found.out) == (1, True)
    kept.write_text("nothing")
    empty = run("audit", "verify", "--heads", kept)
    assert (empty.status, "in which no head stands" in empty.err) == (1, True)


@pytest.mark.parametrize("secret", ["sk-operator-0123456789abcdef"])
def test_a_secret_that_was_typed_is_not_kept(run: Run, secret: str) -> None:
    run("tenants", "create", "acme")
    run("keys", "create", "acme", "--label", secret)
    with Registry.open() as registry, registry.db.engine.connect() as connection:
        lines = connection.exec_driver_sql("SELECT document FROM audit_lines").scalars().all()
    assert len(lines) == 6
    assert not any(secret in line for line in lines)
