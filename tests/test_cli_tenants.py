"""`switchyard tenants delete`, as a shell runs it."""

from __future__ import annotations

import io

import pytest

from registry.service import Registry
from tests.support.cli_runner import Run, run

__all__ = ["run"]


def stocked(run: Run) -> None:
    """acme with a key and a file."""
    for command in (("tenants", "create", "acme"), ("keys", "create", "acme")):
        assert run(*command).status == 0
    with Registry.open() as registry:
        registry.files.create("acme", "a.jsonl", "fine-tune", [b"x"])


def test_a_tenant_is_deleted_by_who_types_its_name_and_by_nobody_else(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    stocked(run)
    dry = run("tenants", "delete", "acme", "--dry-run")
    assert dry.out == "tenant acme would be deleted, with 1 key, 1 files; the books stay\n"
    monkeypatch.setattr("sys.stdin", io.StringIO("acme2\n"))
    refused = run("tenants", "delete", "acme")
    assert refused.status == 2
    assert "'acme2' was typed, and not 'acme'; nothing was deleted" in " ".join(refused.err.split())
    assert [tenant["name"] for tenant in run("tenants", "list", "--json").document] == ["acme"]
    monkeypatch.setattr("sys.stdin", io.StringIO("acme\n"))
    assert run("tenants", "delete", "acme").out.strip() == "deleted tenant acme, 1 files; the books stay"
    assert run("tenants", "list", "--json").document == []
    assert run("keys", "list", "--json").document == []
    again = run("tenants", "create", "acme")
    assert (again.status, "choose a name that was never used" in " ".join(again.err.split())) == (1, True)


def test_a_script_deletes_without_being_asked_and_once_more_says_that_nothing_is_left(run: Run) -> None:
    stocked(run)
    done = run("tenants", "delete", "acme", "--yes", "--json").document
    assert (done["tenant"], done["removed"]) == ("acme", {"files": 1})
    assert run("tenants", "delete", "acme", "--yes", "--json").document == {**done, "removed": {}}
    assert "nothing is left" in run("tenants", "delete", "acme", "--dry-run").out
    missing = run("tenants", "delete", "nobody", "--yes")
    assert (missing.status, "there is no tenant 'nobody'" in " ".join(missing.err.split())) == (1, True)
