"""Training as an operator sees it: jobs with their curves, quote and checks, orders about them, and tenants' files."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from registry.training.jobs import JobError, JobOrder, TrainingJob
from tests.support.dashboard_parts import Visitor, seen
from tests.support.stack import Stack
from tests.support.training_worker import FakeWorker

QUOTE = {
    "rows": 90,
    "heldout_rows": 10,
    "longest_row_tokens": 240,
    "truncated_rows": 2,
    "copies": 3,
    "heldout_rows_seen": 0,
    "steps": 40,
    "trained_tokens": 12_400,
    "parameters": 135_000_000,
    "trainable_parameters": 2_400_000,
    "memory": {"total": 3 * 2**30},
    "fits": True,
    "findings": [{"level": "warn", "code": "copies", "lines": [4, 9], "text": "3 rows are <copies> of others"}],
    "time": {"seconds": 80.0},
    "cost_usd": "0.04",
    "assumptions": ["2 cores"],
}
TRUTH = {
    "steps": {"quoted": 40, "actual": 40, "ratio": 1.0},
    "seconds": {"quoted": 80.0, "actual": 96.0, "ratio": 1.2},
}
EVALUATION = {"adapter": {"loss": 1.25}, "base": {"loss": 3.5}}


@pytest.fixture
def worker(stack: Stack) -> Iterator[FakeWorker]:
    worker = FakeWorker(stack.house)
    yield worker
    worker.drop_all()


def order(stack: Stack, tenant: str = "acme") -> TrainingJob:
    return stack.house.registry.training.create(
        JobOrder(
            tenant=tenant,
            model="tiny",
            base="tiny",
            training_file="file-1",
            hyperparameters={"n_epochs": 3, "batch_size": "auto"},
            metadata={"why": "a <b>test</b>"},
        )
    )


def test_jobs_of_all_tenants_or_of_one_are_listed(operator: Visitor, stack: Stack, worker: FakeWorker) -> None:
    mine, other = order(stack).id, order(stack, "globex").id
    text = seen(operator.page("/training"))
    assert f"{other} validating files" in text
    assert text.index(other) < text.index(mine)
    text = seen(operator.page("/training?tenant=globex"))
    assert other in text
    assert mine not in text


def test_a_running_job_shows_its_curves_its_quote_and_what_was_found_in_its_data(
    operator: Visitor, stack: Stack, worker: FakeWorker
) -> None:
    order(stack)
    job = worker.train(steps=3, detail={"quote": QUOTE})
    html = operator.page(f"/training/jobs/{job.id}")
    text = seen(html)
    assert "Step 3 of 40" in text
    assert "Loss by step of the training" in text
    assert "training held-out sample" in text
    assert "90 to train, 10 held out" in text
    assert "3 rows are <copies> of others line 4, 9" in text
    assert "Cost $0.04" in text
    assert "a <b>test</b>" in text
    assert "<copies>" not in html
    assert text.count("Cancel the job") == 2  # what asks, and what does it


def test_what_happened_is_told_however_many_steps_came_after_it(
    operator: Visitor, stack: Stack, worker: FakeWorker
) -> None:
    order(stack)
    job = worker.train(steps=100)
    text = seen(operator.page(f"/training/jobs/{job.id}"))
    assert f"Created fine-tuning job: {job.id}" in text
    assert "A worker has begun to train." in text
    assert "Step 100/100" not in text


def test_a_job_that_nobody_has_read_yet_shows_what_was_ordered(operator: Visitor, stack: Stack) -> None:
    text = seen(operator.page(f"/training/jobs/{order(stack).id}"))
    assert "Step – " in text
    assert "– of" not in text, "nobody knows yet how many there will be"
    assert "Epochs 3 batch size auto" in text


def test_a_job_that_succeeded_shows_quote_against_truth_and_what_it_became(
    operator: Visitor, stack: Stack, worker: FakeWorker
) -> None:
    order(stack)
    job = worker.train(detail={"quote": QUOTE, "quote_against_actual": TRUTH, "evaluation": EVALUATION})
    name = worker.succeed(job).fine_tuned_model
    assert name is not None
    stack.wait_revision()
    text = seen(operator.page(f"/training/jobs/{job.id}"))
    assert "Time of training 1 min 20 s 1 min 36 s 1.20 ×" in text
    assert "Held-out loss 1.25 without the adapter 3.5" in text
    assert f"which clients call {name}" in text
    assert "switchyard evaluate acme/" in text
    assert "Cancel the job" not in text


def test_a_job_that_failed_says_why(operator: Visitor, stack: Stack, worker: FakeWorker) -> None:
    order(stack)
    job = worker.fail(worker.claim().job, JobError("invalid_training_file", "line 3 has <no> answer"))
    assert "invalid_training_file: line 3 has <no> answer" in seen(operator.page(f"/training/jobs/{job.id}"))
    assert "line 3 has <no> answer" in seen(operator.page("/training"))


def test_a_job_is_paused_resumed_and_cancelled_from_its_page(
    operator: Visitor, stack: Stack, worker: FakeWorker
) -> None:
    job = order(stack)
    path = f"/training/jobs/{job.id}"
    for wish, status in (("pause", "paused"), ("resume", "validating files"), ("cancel", "cancelled")):
        answer = operator.post(f"{path}/{wish}")
        assert (answer.status_code, answer.headers["location"]) == (303, path)
        assert f"Status {status}" in seen(operator.page(path))
    refused = operator.post(f"{path}/pause")
    assert refused.status_code == 303
    assert "is cancelled" in seen(operator.page(path))


def test_files_are_listed_by_tenant_with_size_and_end(operator: Visitor, stack: Stack) -> None:
    files = stack.house.registry.files
    info = files.create("acme", "rows <1>.jsonl", "fine-tune", [b"x" * 3000], expires_after_s=7_200)
    try:
        text = seen(operator.page("/training/files?tenant=acme"))
        assert f"rows <1>.jsonl {info.id} fine-tune 3 kB" in text
        assert re.search(r"in 1 h|in 2 h", text)
        assert re.search(r"What tenants keep.* acme \d+ ", text)
    finally:
        files.delete("acme", info.id)


def test_a_job_that_is_not_there_is_a_page_that_says_so(operator: Visitor) -> None:
    answer = operator.get("/training/jobs/ftjob-000000000000000000000000")
    assert answer.status_code == 404
    assert "there is no fine-tuning job" in seen(answer.text)
