"""The commands about tenants' files."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from registry.service import Registry
from registry.settings import RegistrySettings
from tests.support.cli_runner import Run, done, run

__all__ = ["done", "run"]
ROW = '{"messages": [{"role": "user", "content": "Where is my parcel?"}]}\n'


@pytest.fixture
def shop(done: Run, tmp_path: Path) -> Run:
    """A tenant with one file."""
    done("tenants", "create", "acme")
    (tmp_path / "rows.jsonl").write_text(ROW)
    done("files", "add", str(tmp_path / "rows.jsonl"), "--tenant", "acme")
    return done


def ids(shop: Run) -> list[str]:
    return [one["id"] for one in shop("files", "list", "--tenant", "acme", "--json").document]


def test_a_file_of_this_machine_becomes_a_tenants(shop: Run, tmp_path: Path) -> None:
    (listed,) = shop("files", "list", "--tenant", "acme", "--json").document
    assert (listed["filename"], listed["purpose"], listed["bytes"]) == ("rows.jsonl", "fine-tune", len(ROW))
    assert "rows.jsonl" in shop("files", "list", "--tenant", "acme").out
    (kept,) = shop("files", "list", "--json").document
    assert (kept["tenant"], kept["files"], kept["bytes"]) == ("acme", 1, len(ROW))
    assert "acme" in shop("files", "list").out
    shown = shop("files", "show", listed["id"], "--tenant", "acme")
    assert "by no job" in shown.out
    assert shop("files", "show", listed["id"], "--tenant", "acme", "--json").document["file"] == listed


def test_files_are_deleted_one_by_one_and_all(shop: Run, tmp_path: Path) -> None:
    for _ in range(2):
        shop("files", "add", str(tmp_path / "rows.jsonl"), "--tenant", "acme", "--purpose", "evals")
    first, *rest = ids(shop)
    assert shop("files", "delete", first, "--tenant", "acme", "--json").document["deleted"] == [first]
    assert "deleted 2 of acme" in shop("files", "delete", "--all", "--tenant", "acme").out
    assert ids(shop) == []
    assert "acme has no files" in shop("files", "list", "--tenant", "acme").out
    with Registry.open(RegistrySettings(state_dir=tmp_path / "state")) as registry:
        actions = [one.subject for one in registry.actions.page(None, 10) if one.action == "file.deleted"]
    assert sorted(actions) == sorted([first, *rest])


def test_what_is_not_there_or_not_said_is_refused(shop: Run, run: Run) -> None:
    for command, said in (
        (("show", "file-none", "--tenant", "acme"), "there is no file 'file-none'"),
        (("delete", "file-none", "--tenant", "acme"), "there is no file 'file-none'"),
        (("delete", "--tenant", "acme"), "give one of the two"),
        (("list", "--tenant", "nobody"), "there is no tenant 'nobody'"),
    ):
        outcome = run("files", *command)
        assert outcome.status == 1
        assert said in outcome.err


def test_a_new_key_is_put_before_the_old_one_and_everything_is_written_anew(
    shop: Run, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = base64.b64encode(bytes(32)).decode()
    monkeypatch.setenv("SWITCHYARD_STORE_KEY", key)
    refused = run("files", "reseal")
    assert refused.status == 1
    assert "add `,plain` to SWITCHYARD_STORE_KEY" in refused.err
    monkeypatch.setenv("SWITCHYARD_STORE_KEY", f"{key},plain")
    assert shop("files", "reseal", "--json").document == {"resealed": 2}
    assert shop("files", "reseal", "--json").document == {"resealed": 0}
    monkeypatch.setenv("SWITCHYARD_STORE_KEY", key)
    (file,) = ids(shop)
    with Registry.open(RegistrySettings(state_dir=tmp_path / "state", store_key=key)) as registry:
        assert b"".join(registry.files.content("acme", file)) == ROW.encode()
