"""`switchyard ledger archive|archives|restore|verify`: killed anywhere, two at once, and on storage that fails."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from registry.service import Registry
from tests.registry.test_archive import OLD, left, stocked, whole
from tests.support.cli_runner import Run, done, run
from tests.support.program import running

__all__ = ["done", "run"]
KILLED = """
import os, signal, sys
from registry.archive import archiving
from registry.storage.blobs import BlobStore
from switchyard import main

count = 0

def dies(function, at):
    def wrapper(*arguments, **options):
        global count
        count += 1
        if count == at and BEFORE:
            os.kill(os.getpid(), signal.SIGKILL)
        found = function(*arguments, **options)
        if count == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return found
    return wrapper

{patch}
sys.argv = ["switchyard", "ledger", "archive", "--older-than", "90d"]
main()
"""
UPLOAD = "BEFORE = {before}; BlobStore.write = dies(BlobStore.write, {at})"
MOMENTS = {
    "after the first upload": UPLOAD.format(before=False, at=1),
    "before the second upload": UPLOAD.format(before=True, at=2),
    "before it is recorded": "BEFORE = True; archiving._record = dies(archiving._record, 1)",
    "when it is recorded and not committed": "BEFORE = False; archiving._record = dies(archiving._record, 1)",
    "when corrections are removed and rows are not": "BEFORE = True; archiving.delete = dies(archiving.delete, 2)",
    "when rows are removed and not committed": "BEFORE = True; archiving.delete = dies(archiving.delete, 3)",
    "after the first commit": "BEFORE = False; archiving.Archiver._remove = dies(archiving.Archiver._remove, 1)",
}
IN_ITS_TRANSACTION = [name for name in MOMENTS if "remov" in name]
COMMAND = [sys.executable, "-m", "switchyard", "ledger", "archive", "--older-than", "90d", "--json"]


@pytest.fixture
def environment(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """In which commands find the open registry."""
    monkeypatch.setenv("SWITCHYARD_STATE_DIR", str(registry.settings.state_dir))
    return dict(os.environ)


@pytest.mark.parametrize(
    ("database_url", "moment"),
    [*(("sqlite", name) for name in MOMENTS), *(("postgresql", name) for name in IN_ITS_TRANSACTION)],
    indirect=["database_url"],
)
def test_who_is_killed_loses_nothing_and_the_next_one_goes_on(
    registry: Registry, environment: dict[str, str], moment: str
) -> None:
    rows = stocked(registry, days=2)
    before = whole(registry)
    ended = subprocess.run(
        running(KILLED.format(patch=MOMENTS[moment])), env=environment, capture_output=True, check=False
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    archived = sum(one.attempts for one in registry.archives.all())
    assert archived + left(registry) == len(rows)
    assert registry.ledger.audit([]) == []
    assert registry.archives.verify() == []
    assert sum(one.attempts for one in registry.archives.archive(OLD)) == len(rows) - archived
    assert left(registry) == 0
    assert registry.ledger.audit([]) == []
    assert sorted(registry.blobs.names_below("ledger")) == sorted(one.name for one in registry.archives.all())
    registry.archives.restore(registry.archives.all())
    assert whole(registry) == before


def test_two_at_once_archive_each_attempt_once(registry: Registry, environment: dict[str, str]) -> None:
    rows = stocked(registry)
    before = whole(registry)
    both = [subprocess.Popen(COMMAND, env=environment, stdout=subprocess.PIPE) for _ in range(2)]
    found = [json.loads(one.communicate(timeout=60)[0]) for one in both]
    assert [one.returncode for one in both] == [0, 0]
    assert sum(one["attempts"] for one in found) == len(rows)
    assert left(registry) == 0
    assert registry.ledger.audit([]) == []
    assert registry.archives.verify() == []
    registry.archives.restore(registry.archives.all())
    assert whole(registry) == before


@pytest.mark.parametrize("moment", ["upsert", "_take_off"])
def test_who_is_killed_while_bringing_back_has_brought_a_file_back_or_not(
    registry: Registry, environment: dict[str, str], moment: str
) -> None:
    stocked(registry, days=2)
    before = whole(registry)
    list(registry.archives.archive(OLD))
    script = KILLED.replace("import archiving", "import restoring")
    script = script.replace('"archive", "--older-than", "90d"', '"restore", "1970-01"')
    patch = f"BEFORE = False; restoring.{moment} = dies(restoring.{moment}, 2)"
    ended = subprocess.run(running(script.format(patch=patch)), env=environment, capture_output=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    assert registry.ledger.audit([]) == []
    registry.archives.restore(registry.archives.all())
    assert whole(registry) == before


def test_a_storage_that_takes_nothing_is_told_and_nothing_is_removed(
    registry: Registry, environment: dict[str, str], run: Run
) -> None:
    stocked(registry)
    before = whole(registry)
    registry.blobs.write("ledger", b"no folder")
    outcome = run("ledger", "archive", "--older-than", "90d")
    assert outcome.status == 1
    assert "the object storage failed" in outcome.err
    assert whole(registry) == before


def test_commands_say_what_they_do(registry: Registry, environment: dict[str, str], done: Run, run: Run) -> None:
    assert done("ledger", "archives").out == "nothing is archived\n"
    rows = stocked(registry)
    planned = done("ledger", "archive", "--older-than", "90d", "--dry-run", "--json").document
    assert sum(day["attempts"] for day in planned["days"]) == len(rows) == left(registry)
    assert "1970-01-01" in done("ledger", "archive", "--older-than", "90d", "--dry-run").out
    assert done("ledger", "archive", "--older-than", "90d").out == f"archived {len(rows)} attempts in 4 files\n"
    assert done("ledger", "archive", "--older-than", "90").out == "nothing is old enough to be archived\n"
    listed = done("ledger", "archives", "--json").document["archives"]
    assert sum(one["attempts"] for one in listed) == len(rows)
    assert f"1970-01-01  {listed[0]['attempts']}" in done("ledger", "archives").out
    verified = done("ledger", "verify", "--json").document
    assert (verified["archives"], verified["problems"]) == (4, [])
    assert "4 archives read" in done("ledger", "verify").out
    back = done("ledger", "restore", listed[0]["name"], "--json").document
    assert [one["name"] for one in back["archives"]] == [listed[0]["name"]]
    assert done("ledger", "restore", "1970-01-01").out == "its attempts are back already\n"
    assert done("ledger", "restore", "1970-01").out.startswith("brought back ")
    refused = run("ledger", "restore", "2020-01")
    assert (refused.status, "there are archives of 1970-01-01 to 1970-01-04" in refused.err) == (1, True)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((), "nothing says what is old: name it with --older-than 90d"),
        (("--older-than", "soon"), "--older-than is 'soon'; expected days, such as 90d"),
        (("--older-than", "30d"), "--older-than is 30 days; the least is 31"),
    ],
)
def test_what_is_no_age_is_refused(run: Run, given: tuple[str, ...], said: str) -> None:
    outcome = run("ledger", "archive", *given)
    assert outcome.status != 0
    assert said in outcome.err


def test_the_setting_says_what_is_old(
    registry: Registry, environment: dict[str, str], done: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = stocked(registry)
    monkeypatch.setenv("SWITCHYARD_ARCHIVE_USAGE_AFTER_DAYS", "400")
    assert done("ledger", "archive", "--json").document["attempts"] == len(rows)
