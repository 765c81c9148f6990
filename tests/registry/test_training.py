"""Fine-tuning jobs: what is ordered, and who may see and steer it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import update

from registry.errors import InvalidInput, NotFound
from registry.service import Registry
from registry.training import ordering
from registry.training.jobs import (
    JobError,
    JobHasEnded,
    KeyOfAnotherOrder,
    LeaseLost,
    NoSuchJob,
    TooManyJobs,
    TrainingJob,
    adapter_name,
)
from registry.training.ordering import SAME_ORDER_MS
from registry.training.rows import TrainingJobRow
from registry.training.store import TrainingJobs
from tests.support.training_parts import LONG_S, messages, ordered, running


@pytest.fixture
def jobs(registry: Registry) -> TrainingJobs:
    return registry.training


def ids(found: list[TrainingJob]) -> list[str]:
    return [job.id for job in found]


def test_a_job_is_what_was_ordered_with_a_seed_and_an_adapter(jobs: TrainingJobs) -> None:
    order = ordered(
        validation_file="file-2",
        method="dpo",
        hyperparameters={"n_epochs": 3, "beta": "auto"},
        metadata={"team": "support"},
        integrations=({"type": "wandb", "wandb": {"project": "p"}},),
        options={"lora": {"r": 16}},
    )
    job = jobs.create(order)
    assert jobs.get("acme", job.id) == job
    assert replace(job.order, seed=None, adapter=None) == order
    assert job.order.seed is not None
    assert job.adapter == job.id
    assert (job.status, job.hyperparameters) == ("validating_files", order.hyperparameters)
    assert messages(jobs, job)[-1] == f"Created fine-tuning job: {job.id}"


def test_a_job_of_no_tenant_is_refused(jobs: TrainingJobs) -> None:
    with pytest.raises(NotFound, match="nobody"):
        jobs.create(ordered("nobody"))


def test_an_order_that_is_sent_again_soon_is_the_same_job_until_it_has_ended(jobs: TrainingJobs) -> None:
    first = jobs.create(ordered())
    assert jobs.create(ordered()) == first
    assert jobs.create(ordered("globex")) != first
    assert jobs.create(ordered(seed=1)) != first
    jobs.order("acme", first.id, "cancel")
    assert jobs.create(ordered()).id != first.id


def test_an_order_that_is_sent_again_later_is_another_job(jobs: TrainingJobs, registry: Registry) -> None:
    first = jobs.create(ordered())
    with registry.db.write() as session:
        session.execute(update(TrainingJobRow).values(created_at_ms=TrainingJobRow.created_at_ms - SAME_ORDER_MS))
    assert jobs.create(ordered()).id != first.id


def test_of_one_idempotency_key_there_is_one_job(jobs: TrainingJobs) -> None:
    first = jobs.create(ordered(idempotency_key="k"))
    jobs.order("acme", first.id, "cancel")
    assert jobs.create(ordered(idempotency_key="k")).id == first.id
    assert jobs.create(ordered("globex", idempotency_key="k")).id != first.id
    with pytest.raises(KeyOfAnotherOrder, match=first.id):
        jobs.create(ordered(idempotency_key="k", seed=1))


def test_a_tenant_has_so_many_unfinished_jobs_and_no_more(jobs: TrainingJobs) -> None:
    first = jobs.create(ordered(), most_unfinished=1)
    with pytest.raises(TooManyJobs, match="may have 1"):
        jobs.create(ordered(seed=1), most_unfinished=1)
    assert jobs.create(ordered(), most_unfinished=1) == first, "the same order is none more"
    jobs.create(ordered("globex"), most_unfinished=1)
    jobs.order("acme", first.id, "cancel")
    jobs.create(ordered(seed=1), most_unfinished=1)


def test_of_many_that_send_the_same_order_at_once_there_is_one_job(jobs: TrainingJobs) -> None:
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: jobs.create(ordered(metadata={"a": "b"})).id, range(8)))
    assert len(set(made)) == 1


def test_of_jobs_that_came_to_nothing_the_newest_are_kept(jobs: TrainingJobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ordering, "KEPT_WITHOUT_RESULT", 2)
    made = []
    for seed in range(4):
        made.append(jobs.create(ordered(seed=seed, metadata={"n": str(seed)})).id)
        jobs.order("acme", made[-1], "cancel")
    last = jobs.create(ordered("acme", seed=9)).id
    assert ids(jobs.page("acme", None, 10)) == [last, made[3], made[2]]
    assert jobs.page("acme", None, 10, {"n": "0"}) == []


@pytest.mark.parametrize(
    ("suffix", "name"),
    [
        ("Data Dynamics_Assistant", "data-dynamics-assistant"),
        ("v1.2!", "v1-2"),
        ("会社", None),
        ("Über Größe é", "uber-gro-e-e"),
        ("a" * 64, "a" * 63),
    ],
)
def test_a_suffix_names_an_adapter(suffix: str, name: str | None) -> None:
    assert adapter_name(suffix) == name


# Who may see and steer them


def test_another_tenants_job_is_none(jobs: TrainingJobs) -> None:
    job = jobs.create(ordered())
    for refused in (
        lambda: jobs.get("globex", job.id),
        lambda: jobs.order("globex", job.id, "cancel"),
        lambda: jobs.events("globex", job.id, None, 10),
        lambda: jobs.checkpoints("globex", job.id, None, 10),
        lambda: jobs.page("globex", job.id, 10),
        lambda: jobs.get("acme", job.id + "x" * 100),
    ):
        with pytest.raises(NoSuchJob):
            refused()
    assert jobs.page("globex", None, 10) == []
    assert jobs.get(None, job.id) == job, "the operator sees all"


def test_jobs_come_in_pages_from_the_newest_on(jobs: TrainingJobs) -> None:
    made = [jobs.create(ordered(seed=seed)).id for seed in range(3)]
    jobs.create(ordered("globex"))
    first = jobs.page("acme", None, 2)
    assert ids(first) == [made[2], made[1]]
    assert ids(jobs.page("acme", first[-1].id, 2)) == [made[0]]
    assert len(jobs.page(None, None, 10)) == 4


def test_jobs_are_found_by_the_adapters_that_they_make_versions_of(jobs: TrainingJobs) -> None:
    mine = jobs.create(ordered(adapter="triage"))
    for seed in range(3):
        jobs.create(ordered(adapter="billing", seed=seed))
    unnamed = jobs.create(ordered())
    assert ids(jobs.page("acme", None, 1, adapters={"triage"})) == [mine.id], "whatever is newer"
    assert ids(jobs.page("acme", None, 9, adapters={"triage", unnamed.adapter})) == [unnamed.id, mine.id]
    assert jobs.page("acme", None, 9, adapters=()) == []


def test_jobs_are_found_by_all_of_their_metadata_or_by_having_none(jobs: TrainingJobs) -> None:
    both = jobs.create(ordered(metadata={"team": "a", 'odd "key".$': ""}))
    one = jobs.create(ordered(metadata={"team": "a"}))
    empty, none = jobs.create(ordered(metadata={})), jobs.create(ordered())
    assert ids(jobs.page("acme", None, 10, {"team": "a"})) == [one.id, both.id]
    assert ids(jobs.page("acme", None, 10, {"team": "a", 'odd "key".$': ""})) == [both.id]
    assert jobs.page("acme", None, 10, {"team": "b"}) == []
    assert ids(jobs.page("acme", None, 10, None)) == [none.id]
    assert ids(jobs.page("acme", None, 10)) == [none.id, empty.id, one.id, both.id]


def test_events_come_in_pages_from_the_newest_on(jobs: TrainingJobs) -> None:
    job = running(jobs)
    jobs.say(job.id, "w-1", "warn", "slow", data={"why": 1})
    newest = jobs.events("acme", job.id, None, 1)
    assert [(event.level, event.message, event.type, event.data) for event in newest] == [
        ("warn", "slow", "message", {"why": 1})
    ]
    older = jobs.events("acme", job.id, newest[0].id, 10)
    assert older[-1].message.startswith("Created")
    assert newest[0].id not in [event.id for event in older]
    with pytest.raises(InvalidInput, match="after is 'ftevent-x'"):
        jobs.events("acme", job.id, "ftevent-x", 10)


def test_a_cancelled_job_is_over_at_once_and_stays_so(jobs: TrainingJobs) -> None:
    job = running(jobs)
    cancelled = jobs.order("acme", job.id, "cancel")
    assert (cancelled.status, cancelled.worker) == ("cancelled", None)
    assert cancelled.finished_at_ms is not None
    assert jobs.renew(job.id, "w-1", LONG_S) == "cancel"
    for write in (
        lambda: jobs.say(job.id, "w-1", "info", "x"),
        lambda: jobs.advance(job.id, "w-1", "running"),
        lambda: jobs.checkpoint(job.id, "w-1", 1, {}),
        lambda: jobs.finish(job.id, "w-1", "failed", error=JobError("x", "y")),
    ):
        with pytest.raises(LeaseLost):
            write()
    jobs.release(job.id, "w-1")
    assert jobs.order("acme", job.id, "cancel") == cancelled, "who asks again is told the same"
    with pytest.raises(JobHasEnded, match="is cancelled, so it cannot be paused"):
        jobs.order("acme", job.id, "pause")
    assert jobs.claim("w-2", LONG_S) is None


def test_a_paused_job_is_nobodys_until_it_is_resumed(jobs: TrainingJobs) -> None:
    job = jobs.create(ordered())
    assert jobs.order("acme", job.id, "pause").status == "paused"
    assert jobs.order("acme", job.id, "pause").status == "paused"
    assert jobs.claim("w-1", LONG_S) is None
    assert jobs.order("acme", job.id, "resume").status == "validating_files"
    assert jobs.claim("w-1", LONG_S) is not None


def test_a_running_job_pauses_with_a_checkpoint_and_goes_on_from_it(jobs: TrainingJobs) -> None:
    job = running(jobs)
    assert jobs.order("acme", job.id, "pause").status == "paused"
    assert jobs.renew(job.id, "w-1", LONG_S) == "pause"
    jobs.checkpoint(job.id, "w-1", 7, {"train_loss": 1.5}, "sha256:a")
    jobs.release(job.id, "w-1")
    assert jobs.get("acme", job.id).status == "paused"
    assert jobs.claim("w-2", LONG_S) is None
    assert jobs.order("acme", job.id, "resume").status == "queued"
    claim = jobs.claim("w-2", LONG_S)
    assert claim is not None
    assert claim.work == "train"
    assert claim.checkpoint is not None
    assert (claim.checkpoint.step, claim.checkpoint.blob) == (7, "sha256:a")


def test_a_job_that_is_resumed_before_its_worker_noticed_the_pause_goes_on(jobs: TrainingJobs) -> None:
    job = running(jobs)
    jobs.order("acme", job.id, "pause")
    assert jobs.order("acme", job.id, "resume").status == "running"
    assert jobs.renew(job.id, "w-1", LONG_S) == "run"


def test_a_job_that_has_ended_cannot_be_steered(jobs: TrainingJobs) -> None:
    job = running(jobs)
    jobs.finish(job.id, "w-1", "failed", error=JobError("invalid_training_file", "line 3 …", "training_file"))
    for wish in ("cancel", "pause", "resume"):
        with pytest.raises(JobHasEnded, match="is failed"):
            jobs.order("acme", job.id, wish)
