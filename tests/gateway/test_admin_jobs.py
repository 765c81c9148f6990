"""Jobs as the operator sees and steers them: the admin API, and the commands on it."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from registry.training.jobs import JobError, JobOrder, TrainingJob
from tests.support.admin_calls import Admin
from tests.support.cli_runner import Outcome, Run, run
from tests.support.stack import House, Stack
from tests.support.training_worker import FakeWorker

__all__ = ["run"]
NO_JOB = "ftjob-000000000000000000000000"


@pytest.fixture
def worker(stack: Stack) -> Iterator[FakeWorker]:
    worker = FakeWorker(stack.house)
    yield worker
    worker.drop_all()


@pytest.fixture
def command(run: Run, stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Commands on the host of the gateway, which must succeed."""
    monkeypatch.setenv("SWITCHYARD_STATE_DIR", str(stack.house.settings.state_dir))

    def done(*arguments: Any) -> Outcome:
        outcome = run(*arguments, "--url", stack.url)
        assert outcome.status == 0, outcome.err
        return outcome

    return done


def order(house: House, tenant: str = "acme", **fields: Any) -> TrainingJob:
    return house.registry.training.create(
        JobOrder(tenant=tenant, model="tiny", base="tiny", training_file="file-1", **fields)
    )


def test_the_operator_sees_jobs_of_all_tenants_in_pages(stack: Stack, admin: Admin, worker: FakeWorker) -> None:
    made = [order(stack.house).id, order(stack.house, "globex").id, order(stack.house, seed=1, metadata={"a": "b"}).id]
    page = admin.get("/jobs", limit=2)
    assert [job["id"] for job in page["jobs"]] == [made[2], made[1]]
    assert admin.get("/jobs", limit=1, after=page["next"])["jobs"][0]["id"] == made[0]
    of_globex = admin.get("/jobs", tenant="globex")["jobs"]
    assert (of_globex[0]["id"], {job["tenant"] for job in of_globex}) == (made[1], {"globex"})
    job = admin.get(f"/jobs/{made[2]}")
    assert (job["tenant"], job["status"], job["base"], job["metadata"]) == (
        "acme",
        "validating_files",
        "tiny",
        {"a": "b"},
    )


def test_a_job_s_curve_has_the_last_word_on_each_step_and_keeps_validations_when_it_is_thinned(
    stack: Stack, admin: Admin, worker: FakeWorker
) -> None:
    order(stack.house)
    job = worker.train(steps=1)
    jobs = stack.house.registry.training
    for step in range(1, 31):
        measured = {"train_loss": float(step)} | ({"valid_loss": 0.5} if step == 17 else {})
        jobs.say(job.id, worker.name, "info", "…", "metrics", {"step": step, "total_steps": 40, **measured})
    curve = admin.get(f"/jobs/{job.id}/curve")
    assert (curve["total_steps"], curve["steps"], curve["is_thinned"]) == (40, list(range(1, 31)), False)
    assert curve["values"]["train_loss"][0] == 1.0
    assert set(curve["values"]) == {"train_loss", "valid_loss"}
    thinned = admin.get(f"/jobs/{job.id}/curve", points=10)
    assert len(thinned["steps"]) <= 10
    assert {17, 30} < set(thinned["steps"])
    assert thinned["is_thinned"]
    assert admin.refused("GET", f"/jobs/{NO_JOB}/curve")[0] == 404


def test_checkpoints_of_a_job_are_paged(stack: Stack, admin: Admin, worker: FakeWorker) -> None:
    order(stack.house)
    job = worker.train(steps=3)
    page = admin.get(f"/jobs/{job.id}/checkpoints", limit=2)
    assert [(one["step"], one["is_stored"]) for one in page["checkpoints"]] == [(3, True), (2, True)]
    rest = admin.get(f"/jobs/{job.id}/checkpoints", after=page["next"])
    assert [one["metrics"]["train_loss"] for one in rest["checkpoints"]] == [2.0]
    assert rest["next"] is None


def test_files_are_counted_by_tenant_and_listed_of_one(stack: Stack, admin: Admin) -> None:
    files, tenant = stack.house.registry.files, f"files-{secrets.token_hex(4)}"
    stack.house.tenant(tenant)
    made = [files.create(tenant, f"{name}.jsonl", "fine-tune", [b"12345"]).id for name in "ab"]
    try:
        kept = {one["tenant"]: one for one in admin.get("/files")["tenants"]}
        assert (kept[tenant]["files"], kept[tenant]["bytes"]) == (2, 10)
        page = admin.get(f"/tenants/{tenant}/files", limit=1, purpose="fine-tune")
        assert page["files"][0]["id"] == page["next"]
        rest = admin.get(f"/tenants/{tenant}/files", after=page["next"])
        assert {page["files"][0]["id"], *(one["id"] for one in rest["files"])} == set(made)
        assert admin.get(f"/tenants/{tenant}/files", purpose="evals")["files"] == []
        assert admin.refused("GET", "/tenants/nobody/files")[0] == 404
    finally:
        for id_ in made:
            files.delete(tenant, id_)


def test_a_job_is_steered_by_the_operator(stack: Stack, admin: Admin, worker: FakeWorker) -> None:
    job = order(stack.house)
    assert admin.post(f"/jobs/{job.id}/pause", actor="ann")["status"] == "paused"
    assert admin.post(f"/jobs/{job.id}/resume", actor="ann")["status"] == "validating_files"
    assert admin.post(f"/jobs/{job.id}/cancel", actor="ann")["status"] == "cancelled"
    status, error = admin.refused("POST", f"/jobs/{job.id}/pause", json={"actor": "ann"})
    assert (status, error["code"]) == (400, "invalid_input")
    assert "is cancelled" in error["message"]
    actions = admin.get("/actions", tenant="acme", limit=3)["actions"]
    assert [(one["actor"], one["action"], one["subject"]) for one in actions] == [
        ("ann", f"job.{done}", job.id) for done in ("cancelled", "resumed", "paused")
    ]
    assert admin.refused("GET", f"/jobs/{NO_JOB}")[0] == 404
    assert admin.refused("GET", "/jobs", params={"after": NO_JOB})[0] == 404


def test_jobs_are_listed_and_shown(stack: Stack, worker: FakeWorker, command: Run) -> None:
    first = order(stack.house, adapter="bot", suffix="bot")
    done = worker.succeed(worker.train(hyperparameters={"n_epochs": 3}))
    failed = order(stack.house, "globex")
    worker.fail(worker.claim().job, JobError("invalid_training_file", "line 3 has \x1b[31mno answer"))
    out = command("jobs", "list").out
    row = next(line for line in out.splitlines() if line.startswith(first.id))
    assert row.split()[1:5] == ["acme", "succeeded", "tiny", "bot"]
    assert row.endswith(str(done.fine_tuned_model))
    assert "invalid_training_file" in out
    assert len(command("jobs", "list", "globex", "--json", "--limit", "1").document) == 1
    shown = command("jobs", "show", failed.id).out
    assert "invalid_training_file: line 3 has \\x1b[31mno answer" in shown
    assert str(done.fine_tuned_model) in command("jobs", "show", first.id).out
    assert command("jobs", "show", first.id, "--json").document["hyperparameters"] == {"n_epochs": 3}
    told = " ".join(command("jobs", "show", first.id).out.split())
    assert (
        "step 2 training loss 1.000 (perplexity 2.718) loss of a sample of held-out rows 1.250 (perplexity 3.49)"
        in told
    )
    reached = {"step": 2, "total_steps": None, "train_loss": 1.0, "valid_loss": 1.25, "full_valid_loss": None}
    assert command("jobs", "show", first.id, "--json").document["reached"] == reached
    assert command("jobs", "show", failed.id, "--json").document["reached"] is None


def test_jobs_are_steered_from_the_command_line(stack: Stack, worker: FakeWorker, command: Run) -> None:
    job = order(stack.house)
    assert command("jobs", "pause", job.id).out == f"{job.id} is paused\n"
    assert command("jobs", "resume", job.id).out == f"{job.id} is validating_files\n"
    assert command("jobs", "cancel", job.id, "--json").document["status"] == "cancelled"


def test_events_of_one_type_are_listed_alone(stack: Stack, worker: FakeWorker, admin: Admin) -> None:
    order(stack.house)
    job = worker.train(steps=3)
    for type_, count in (("metrics", 3), ("message", 4)):
        events = admin.get(f"/jobs/{job.id}/events", type=type_)["events"]
        assert ({event["type"] for event in events}, len(events)) == ({type_}, count)
    assert admin.refused("GET", f"/jobs/{job.id}/events", params={"type": "other"})[0] == 400


def test_events_are_shown_and_followed_to_the_end_of_the_job(stack: Stack, worker: FakeWorker, command: Run) -> None:
    order(stack.house)
    job = worker.train(steps=3)
    assert "Step 3/3 (step 3, train_loss 0.6667, valid_loss 0.8333)" in command("jobs", "events", job.id).out
    ends = threading.Timer(0.2, lambda: worker.succeed(job))
    ends.start()
    lines = command("jobs", "events", job.id, "--follow", "--limit", "1").out.splitlines()
    ends.join()
    assert "Step 3/3" in lines[0]
    assert lines[-1].partition("  ")[2] == "The job has succeeded."
    assert len(lines) == 3


def test_a_job_that_is_not_there_is_told_in_a_sentence(run: Run, stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWITCHYARD_STATE_DIR", str(stack.house.settings.state_dir))
    outcome = run("jobs", "show", NO_JOB, "--url", stack.url)
    assert (outcome.status, outcome.err) == (1, f"error: there is no fine-tuning job '{NO_JOB}'\n")
