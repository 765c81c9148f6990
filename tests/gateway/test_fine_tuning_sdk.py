"""OpenAI's fine-tuning with the official client, unmodified, against the gateway."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, cast

import openai
import pytest
from openai import OpenAI
from openai.types.fine_tuning import FineTuningJob

from registry.training.jobs import JobError
from tests.support.stack import Stack
from tests.support.training_worker import FakeWorker
from tests.support.waiting import wait_until

ROWS = b'{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}\n' * 12


@pytest.fixture
def worker(stack: Stack) -> Iterator[FakeWorker]:
    worker = FakeWorker(stack.house)
    yield worker
    worker.drop_all()


@pytest.fixture(scope="module")
def uploaded(shared_stack: Stack) -> str:
    with OpenAI(base_url=f"{shared_stack.url}/v1", api_key=shared_stack.house.keys["acme"]) as client:
        return client.files.create(file=("rows.jsonl", ROWS), purpose="fine-tune").id


def create(client: OpenAI, file: str, **fields: Any) -> FineTuningJob:
    return client.fine_tuning.jobs.create(training_file=file, model="tiny", **fields)


def test_the_guides_snippet_runs_from_upload_to_the_tuned_models_answer(
    client: OpenAI, worker: FakeWorker, stack: Stack
) -> None:
    file = client.files.create(file=("training_data.jsonl", ROWS), purpose="fine-tune")
    job = client.fine_tuning.jobs.create(
        training_file=file.id,
        model="tiny",
        hyperparameters={"n_epochs": 3, "batch_size": "auto", "learning_rate_multiplier": "auto"},
        suffix="data-dynamics-assistant",
    )
    assert client.fine_tuning.jobs.retrieve(job.id).status == "validating_files"
    worker.succeed(worker.train())
    done = client.fine_tuning.jobs.retrieve(job.id)
    assert done.status == "succeeded"
    assert done.fine_tuned_model == f"ft:tiny:acme:data-dynamics-assistant:{job.id[-8:]}"
    stack.wait_revision()
    answer = client.chat.completions.create(
        model=done.fine_tuned_model, messages=[{"role": "user", "content": "How do you resolve data skew in Spark?"}]
    )
    assert answer.model == "acme/data-dynamics-assistant@1.0"
    assert answer.choices[0].message.content


def test_a_job_has_every_field_that_openais_has(client: OpenAI, worker: FakeWorker, uploaded: str) -> None:
    job = create(client, uploaded, seed=7, metadata={"team": "support"}, suffix="Support Bot")
    assert set(FineTuningJob.model_fields) - set(job.to_dict()) == set()
    assert job.id.startswith("ftjob-")
    assert abs(job.created_at - time.time()) < 60
    assert (job.object, job.status, job.model, job.organization_id) == (
        "fine_tuning.job",
        "validating_files",
        "tiny",
        "acme",
    )
    assert (job.training_file, job.validation_file, job.seed, job.metadata) == (uploaded, None, 7, {"team": "support"})
    assert (job.error, job.finished_at, job.fine_tuned_model, job.trained_tokens) == (None, None, None, None)
    assert (job.estimated_finish, job.result_files, job.integrations) == (None, [], [])
    assert job.hyperparameters.to_dict() == dict.fromkeys(
        ("n_epochs", "batch_size", "learning_rate_multiplier"), "auto"
    )
    assert job.method is not None
    assert job.method.type == "supervised"
    assert client.fine_tuning.jobs.retrieve(job.id) == job


def test_a_job_shows_what_its_worker_has_found_out(client: OpenAI, worker: FakeWorker, uploaded: str) -> None:
    made = create(
        client, uploaded, method={"type": "dpo", "dpo": {"hyperparameters": {"beta": 0.2, "n_epochs": "auto"}}}
    )
    in_force = {"n_epochs": 3, "batch_size": 8, "learning_rate_multiplier": 1.0, "beta": 0.2}
    worker.train(hyperparameters=in_force, estimated_finish_ms=2_000_000_000_000, trained_tokens=77)
    job = client.fine_tuning.jobs.retrieve(made.id)
    assert (job.status, job.estimated_finish, job.trained_tokens) == ("running", 2_000_000_000, 77)
    assert job.hyperparameters.n_epochs == 3
    assert job.method is not None
    assert job.method.dpo is not None
    assert job.method.dpo.hyperparameters is not None
    assert job.method.dpo.hyperparameters.beta == 0.2


def test_why_a_job_failed_is_in_its_error(client: OpenAI, worker: FakeWorker, uploaded: str) -> None:
    made = create(client, uploaded)
    worker.fail(worker.claim().job, JobError("invalid_training_file", "line 3 has no answer", "training_file"))
    job = client.fine_tuning.jobs.retrieve(made.id)
    assert job.status == "failed"
    assert job.finished_at is not None
    assert job.error is not None
    assert (job.error.code, job.error.param, job.error.message) == (
        "invalid_training_file",
        "training_file",
        "line 3 has no answer",
    )


def test_events_and_checkpoints_come_in_pages_that_the_client_turns_by_itself(
    client: OpenAI, worker: FakeWorker, uploaded: str
) -> None:
    made = create(client, uploaded)
    worker.train(steps=5)
    events = list(client.fine_tuning.jobs.list_events(made.id, limit=2))
    assert [event.message for event in events[:5]] == [f"Step {step}/5" for step in (5, 4, 3, 2, 1)]
    newest = events[0]
    assert (newest.object, newest.level, newest.type) == ("fine_tuning.job.event", "info", "metrics")
    assert cast("Any", newest.data)["train_loss"] == 0.4
    assert len({event.id for event in events}) == len(events)
    checkpoints = list(client.fine_tuning.jobs.checkpoints.list(made.id, limit=2))
    assert [one.step_number for one in checkpoints] == [5, 4, 3, 2, 1]
    assert checkpoints[0].metrics.valid_loss == 0.5
    assert checkpoints[0].fine_tuning_job_id == made.id
    assert checkpoints[0].fine_tuned_model_checkpoint == f"ft:tiny:acme::{made.id[-8:]}:ckpt-step-5"


def test_jobs_come_in_pages_and_are_found_by_metadata(client: OpenAI, worker: FakeWorker, uploaded: str) -> None:
    made = [create(client, uploaded, metadata={"run": "x", "n": str(number)}).id for number in range(3)]
    page = client.fine_tuning.jobs.list(limit=2)
    assert [job.id for job in page.data] == [made[2], made[1]]
    assert page.has_more
    assert page.get_next_page().data[0].id == made[0]
    found = client.fine_tuning.jobs.list(metadata={"run": "x", "n": "1"})
    assert [job.id for job in found] == [made[1]]
    assert not list(client.fine_tuning.jobs.list(metadata={"run": "y"}))
    bare = create(client, uploaded)
    without = client.fine_tuning.jobs.list(extra_query={"metadata": "null"}, limit=1)
    assert [job.id for job in without.data] == [bare.id]


def test_a_job_is_paused_resumed_and_cancelled(client: OpenAI, worker: FakeWorker, uploaded: str) -> None:
    jobs = client.fine_tuning.jobs
    made = create(client, uploaded)
    assert str(jobs.pause(made.id).status) == "paused"
    assert jobs.resume(made.id).status == "validating_files"
    worker.train()
    assert str(jobs.pause(made.id).status) == "paused"
    assert jobs.resume(made.id).status == "running"
    assert jobs.cancel(made.id).status == "cancelled"
    assert jobs.cancel(made.id).status == "cancelled"
    with pytest.raises(openai.BadRequestError) as refused:
        jobs.resume(made.id)
    assert refused.value.code == "job_has_ended"


def test_a_finished_job_cannot_be_cancelled(client: OpenAI, worker: FakeWorker, uploaded: str) -> None:
    made = create(client, uploaded)
    worker.succeed(worker.train())
    with pytest.raises(openai.BadRequestError, match="is succeeded, so it cannot be cancelled") as refused:
        client.fine_tuning.jobs.cancel(made.id)
    assert (refused.value.code, refused.value.param) == ("job_has_ended", "fine_tuning_job_id")


def test_an_order_that_the_client_repeats_is_one_job(client: OpenAI, worker: FakeWorker, uploaded: str) -> None:
    first = create(client, uploaded, seed=1)
    assert create(client, uploaded, seed=1).id == first.id
    key = {"Idempotency-Key": "order-1"}
    keyed = create(client, uploaded, seed=1, extra_headers=key)
    assert keyed.id != first.id
    assert create(client, uploaded, seed=1, extra_headers=key).id == keyed.id
    with pytest.raises(openai.BadRequestError) as refused:
        create(client, uploaded, seed=2, extra_headers=key)
    assert refused.value.code == "idempotency_key_reused"
    with pytest.raises(openai.BadRequestError, match="printable") as refused:
        create(client, uploaded, extra_headers={"Idempotency-Key": "a b"})
    assert refused.value.param == "Idempotency-Key"


def test_training_goes_on_from_a_model_that_a_job_made(
    client: OpenAI, worker: FakeWorker, stack: Stack, uploaded: str
) -> None:
    first = create(client, uploaded, suffix="more")
    model = worker.succeed(worker.train()).fine_tuned_model
    assert model is not None
    stack.wait_revision()
    second = client.fine_tuning.jobs.create(training_file=uploaded, model=model, suffix="more")
    claim = worker.claim()
    assert claim.job.order.continues == "acme/more@1.0"
    assert claim.job.order.base == "tiny"
    assert second.model == model
    assert second.id != first.id


def test_a_fine_tuned_model_is_listed_until_it_is_deleted_and_then_serves_no_more(
    client: OpenAI, worker: FakeWorker, stack: Stack, uploaded: str
) -> None:
    create(client, uploaded, suffix="gone")
    model = worker.succeed(worker.train()).fine_tuned_model
    assert model is not None
    stack.wait_revision()
    assert model in {card.id for card in client.models.list()}
    assert client.models.retrieve(model).id == model
    deleted = client.models.delete(model)
    assert (deleted.id, deleted.object, deleted.deleted) == (model, "model", True)
    with pytest.raises(openai.NotFoundError) as missing:
        client.models.delete(model)
    assert missing.value.code == "model_not_found"
    stack.wait_revision()
    assert not {model, "acme/gone@1.0"} & {card.id for card in client.models.list()}
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model=model, messages=[{"role": "user", "content": "x"}])


def test_a_model_that_production_uses_loses_its_name_alone(
    client: OpenAI, worker: FakeWorker, stack: Stack, uploaded: str
) -> None:
    create(client, uploaded, suffix="used")
    model = worker.succeed(worker.train()).fine_tuned_model
    assert model is not None
    stack.house.promote("acme/used", "1.0")
    client.models.delete(model)
    stack.wait_revision()
    assert wait_until("an answer", lambda: stack.chat("acme/used").status_code == 200)


@pytest.mark.parametrize("model", ["acme/triage", "acme/triage@1.0", "tiny", "ft:gpt-4o-mini:acme::7"])
def test_other_names_are_not_a_tenants_to_delete(client: OpenAI, model: str) -> None:
    with pytest.raises(openai.PermissionDeniedError) as refused:
        client.models.delete(model)
    assert refused.value.code == "model_not_deletable"


@pytest.mark.parametrize("model", ["globex/triage", "nothing", "ft:tiny:acme:x:00000000"])
def test_a_model_that_is_not_there_or_another_tenants_cannot_be_deleted(client: OpenAI, model: str) -> None:
    with pytest.raises(openai.NotFoundError) as refused:
        client.models.delete(model)
    assert refused.value.code == "model_not_found"


def test_what_is_not_offered_says_so_and_is_not_tried_again(stack: Stack, client: OpenAI) -> None:
    for ask, code in (
        (
            lambda: client.fine_tuning.checkpoints.permissions.create("ft:tiny:acme::x:ckpt-step-1", project_ids=["p"]),
            "checkpoint_permissions_not_offered",
        ),
        (
            lambda: client.fine_tuning.checkpoints.permissions.list("ft:tiny:acme::x:ckpt-step-1"),
            "checkpoint_permissions_not_offered",
        ),
        (
            lambda: client.fine_tuning.checkpoints.permissions.delete(
                "cp-1", fine_tuned_model_checkpoint="ft:tiny:acme::x:ckpt-step-1"
            ),
            "checkpoint_permissions_not_offered",
        ),
        (
            lambda: client.fine_tuning.alpha.graders.validate(grader=cast("Any", {"type": "string_check"})),
            "graders_not_offered",
        ),
    ):
        with pytest.raises(openai.APIStatusError) as refused:
            cast("Any", ask)()
        assert (refused.value.status_code, refused.value.code) == (501, code)
        assert refused.value.response.headers["x-should-retry"] == "false"
