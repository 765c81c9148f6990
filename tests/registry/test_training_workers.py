"""Workers of fine-tuning jobs: how they share them, and what is left when one ends."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from registry.days import DAY_MS
from registry.db import now_ms
from registry.errors import InvalidInput, NotFound
from registry.names import parse_ref
from registry.service import Registry
from registry.training import claiming, keeping, ordering
from registry.training.claiming import MOST_ATTEMPTS
from registry.training.jobs import JobError, LeaseLost, Publication, adapter_name
from registry.training.store import TrainingJobs
from registry.training.waiting import waiting_jobs
from tests.registry.conftest import Shop
from tests.support.training_parts import LONG_S, OVER_S, messages, ordered, running

YEAR_MS = 365 * DAY_MS


@pytest.fixture
def jobs(registry: Registry) -> TrainingJobs:
    return registry.training


def test_validating_and_training_are_taken_up_apart(jobs: TrainingJobs) -> None:
    first, second = jobs.create(ordered()), jobs.create(ordered(seed=1))
    assert jobs.claim("trainer", LONG_S, ["train"]) is None
    claim = jobs.claim("checker", LONG_S, ["validate"])
    assert claim is not None
    assert (claim.job.id, claim.work, claim.job.worker) == (first.id, "validate", "checker")
    jobs.advance(first.id, "checker", "queued", detail={"rows": 12})
    jobs.release(first.id, "checker")
    claim = jobs.claim("trainer", LONG_S, ["train"])
    assert claim is not None
    assert (claim.job.id, claim.work, claim.job.status, claim.job.facts) == (first.id, "train", "queued", {"rows": 12})
    jobs.advance(first.id, "trainer", "running")
    claim = jobs.claim("checker", LONG_S, ["validate"])
    assert claim is not None
    assert claim.job.id == second.id


def test_a_job_of_a_worker_that_died_before_the_clock_was_put_back_is_taken_over_and_its_tenant_has_its_turn(
    jobs: TrainingJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as ahead:
        for module in (claiming, ordering):
            ahead.setattr(module, "now_ms", lambda: now_ms() + YEAR_MS)
        lost = running(jobs)
        assert jobs.claim("w-2", LONG_S) is None
    assert jobs.get("acme", lost.id).worker is None
    assert [one.id for one in waiting_jobs(jobs._db, now_ms(), MOST_ATTEMPTS)] == [lost.id]
    jobs.create(ordered("globex"))
    claim = jobs.claim("w-2", LONG_S)
    assert claim is not None
    assert claim.job.id == lost.id
    assert jobs.claim("w-3", LONG_S, ["train"]) is None
    with pytest.raises(LeaseLost):
        jobs.renew(lost.id, "w-1", LONG_S)


def test_an_order_of_before_the_clock_was_put_back_is_not_the_same_as_one_of_now(
    jobs: TrainingJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as ahead:
        ahead.setattr(ordering, "now_ms", lambda: now_ms() + YEAR_MS)
        first = jobs.create(ordered())
    second = jobs.create(ordered())
    assert second.id not in (first.id, None)
    assert jobs.create(ordered()).id == second.id


def test_the_tenant_with_the_fewest_jobs_at_work_is_next_and_then_the_oldest(jobs: TrainingJobs) -> None:
    many = [jobs.create(ordered(seed=seed)).id for seed in range(3)]
    others = [jobs.create(ordered("globex", seed=seed)).id for seed in range(2)]
    taken = [jobs.claim(f"w-{number}", LONG_S) for number in range(5)]
    assert [claim.job.id for claim in taken if claim] == [many[0], others[0], many[1], others[1], many[2]]


def test_of_a_tenant_with_a_long_queue_and_another_each_has_its_turn_with_the_only_worker(jobs: TrainingJobs) -> None:
    many = [jobs.create(ordered(seed=seed)).id for seed in range(3)]
    other = jobs.create(ordered("globex")).id
    served = []
    for _ in range(4):
        claim = jobs.claim("w-1", LONG_S, ["validate"])
        assert claim is not None
        served.append(claim.job.id)
        jobs.finish(claim.job.id, "w-1", "failed", error=JobError("invalid_file", "no rows"))
    assert served == [many[0], other, many[1], many[2]]


def test_of_many_workers_that_ask_at_once_each_gets_another_job(jobs: TrainingJobs) -> None:
    made = {jobs.create(ordered(seed=seed)).id for seed in range(5)}
    with ThreadPoolExecutor(4) as pool:
        claims = list(pool.map(lambda number: jobs.claim(f"w-{number}", LONG_S), range(8)))
    taken = [claim.job.id for claim in claims if claim is not None]
    assert (len(taken), set(taken)) == (5, made)


def test_a_job_is_one_workers_at_a_time(jobs: TrainingJobs) -> None:
    job = running(jobs)
    assert jobs.claim("w-2", LONG_S) is None
    with pytest.raises(LeaseLost, match="is w-1's, and not w-2's"):
        jobs.renew(job.id, "w-2", LONG_S)
    with pytest.raises(LeaseLost, match="not there any more"):
        jobs.renew("ftjob-none", "w-2", LONG_S)


def test_a_job_whose_worker_is_gone_is_taken_over_and_the_old_one_changes_nothing_any_more(jobs: TrainingJobs) -> None:
    job = running(jobs)
    jobs.checkpoint(job.id, "w-1", 5, {}, "sha256:5")
    assert jobs.renew(job.id, "w-1", OVER_S) == "run"
    claim = jobs.claim("w-2", LONG_S)
    assert claim is not None
    assert (claim.job.id, claim.job.status, claim.work) == (job.id, "running", "train")
    assert claim.checkpoint is not None
    assert claim.checkpoint.step == 5
    for write in (
        lambda: jobs.renew(job.id, "w-1", LONG_S),
        lambda: jobs.say(job.id, "w-1", "info", "x"),
        lambda: jobs.advance(job.id, "w-1", "running"),
        lambda: jobs.checkpoint(job.id, "w-1", 6, {}),
        lambda: jobs.finish(job.id, "w-1", "succeeded"),
    ):
        with pytest.raises(LeaseLost):
            write()
    jobs.release(job.id, "w-1")
    assert jobs.renew(job.id, "w-2", LONG_S) == "run"


def test_a_worker_that_is_only_late_keeps_a_job_that_nobody_took(jobs: TrainingJobs) -> None:
    job = running(jobs)
    jobs.renew(job.id, "w-1", OVER_S)
    assert jobs.renew(job.id, "w-1", LONG_S) == "run"
    assert jobs.claim("w-2", LONG_S) is None


def test_a_job_at_which_every_worker_dies_fails_with_a_reason(jobs: TrainingJobs) -> None:
    job = jobs.create(ordered())
    for number in range(MOST_ATTEMPTS):
        claim = jobs.claim(f"w-{number}", OVER_S)
        assert claim is not None
        assert claim.attempt == number + 1
    assert jobs.claim("w-last", LONG_S) is None
    failed = jobs.get("acme", job.id)
    assert failed.status == "failed"
    assert failed.error is not None
    assert failed.error.code == "worker_lost"
    assert "smaller batch_size" in failed.error.message


def test_a_job_that_comes_further_each_time_may_lose_any_number_of_workers(jobs: TrainingJobs) -> None:
    job = running(jobs)
    jobs.renew(job.id, "w-1", OVER_S)
    for step in range(2 * MOST_ATTEMPTS):
        claim = jobs.claim(f"v-{step}", OVER_S)
        assert claim is not None
        jobs.checkpoint(job.id, f"v-{step}", step + 1, {}, f"sha256:{step}")


def test_a_job_that_is_given_back_in_order_is_no_failed_attempt(jobs: TrainingJobs) -> None:
    job = running(jobs)
    jobs.release(job.id, "w-1")
    for number in range(2 * MOST_ATTEMPTS):
        claim = jobs.claim(f"v-{number}", LONG_S)
        assert claim is not None
        assert (claim.attempt, claim.job.status) == (1, "queued")
        jobs.advance(job.id, f"v-{number}", "running")
        jobs.release(job.id, f"v-{number}")


def test_what_a_worker_knows_of_a_job_is_shown(jobs: TrainingJobs) -> None:
    job = running(jobs)
    jobs.advance(job.id, "w-1", hyperparameters={"n_epochs": 3}, estimated_finish_ms=123, detail={"a": 1})
    jobs.advance(job.id, "w-1", detail={"b": 2})
    shown = jobs.get("acme", job.id)
    assert (shown.hyperparameters, shown.estimated_finish_ms, shown.facts) == ({"n_epochs": 3}, 123, {"a": 1, "b": 2})
    assert shown.started_at_ms is not None
    with pytest.raises(InvalidInput, match="detail has"):
        jobs.advance(job.id, "w-1", detail={"long": "x" * keeping.MOST_DETAIL_BYTES})


def test_a_jobs_events_have_a_bound_and_figures_make_room_first(
    jobs: TrainingJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "MOST_EVENTS", 7)  # four of these are not figures
    job = running(jobs)
    for step in range(10):
        jobs.say(job.id, "w-1", "info", f"Step {step}", "metrics", {"step": step})
    assert messages(jobs, job)[:3] == ["Step 9", "Step 8", "Step 7"]
    for number in range(8):
        jobs.say(job.id, "w-1", "info", "x" * 5_000 + str(number))
    assert [len(message) for message in messages(jobs, job)] == [keeping.MOST_MESSAGE_CHARS] * 7
    with pytest.raises(InvalidInput, match="data has"):
        jobs.say(job.id, "w-1", "info", "x", data={"long": "x" * keeping.MOST_DATA_BYTES})
    with pytest.raises(InvalidInput, match="data cannot be written as JSON"):
        jobs.say(job.id, "w-1", "info", "x", data={"loss": float("nan")})


def test_a_jobs_checkpoints_have_a_bound_and_those_whose_bytes_are_gone_make_room(
    jobs: TrainingJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "MOST_CHECKPOINTS", 3)
    job = running(jobs)
    for step, blob in enumerate(("sha256:0", None, None, None, None)):
        jobs.checkpoint(job.id, "w-1", step, {}, blob)
    assert [one.step for one in jobs.checkpoints("acme", job.id, None, 10)] == [4, 3, 2, 0]
    jobs.forget_states(["sha256:0"])
    jobs.checkpoint(job.id, "w-1", 5, {})
    assert [one.step for one in jobs.checkpoints("acme", job.id, None, 10)] == [5, 4, 3]


def test_checkpoints_of_one_step_are_one_and_old_bytes_are_named_until_they_are_deleted(
    jobs: TrainingJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = running(jobs)
    for step in (1, 2, 2, 3):
        jobs.checkpoint(job.id, "w-1", step, {"train_loss": step / 2}, f"sha256:{step}")
    listed = jobs.checkpoints("acme", job.id, None, 2)
    assert [(one.step, one.metrics) for one in listed] == [(3, {"train_loss": 1.5}), (2, {"train_loss": 1.0})]
    assert [one.step for one in jobs.checkpoints("acme", job.id, listed[-1].id, 2)] == [1]
    with pytest.raises(InvalidInput, match="no checkpoint of this job"):
        jobs.checkpoints("acme", job.id, "ftckpt-x", 2)
    assert jobs.spent_states(10, "w-2") == []
    assert jobs.spent_states(10, "w-1") == ["sha256:1"]
    jobs.forget_states(["sha256:1"])
    assert jobs.spent_states(10, "w-1") == []
    jobs.order("acme", job.id, "cancel")
    assert sorted(jobs.spent_states(10, "w-1")) == ["sha256:2", "sha256:3"]
    assert jobs.spent_states(10, "w-2") == []
    monkeypatch.setattr(keeping, "LEFT_MS", -1)
    assert sorted(jobs.spent_states(10, "w-2")) == ["sha256:2", "sha256:3"]


def test_files_that_an_unfinished_job_needs_are_known(jobs: TrainingJobs) -> None:
    job = jobs.create(ordered(file="file-a", validation_file="file-b"))
    assert jobs.unfinished_with("acme", "file-a") == jobs.unfinished_with("acme", "file-b") == [job.id]
    assert jobs.unfinished_with("acme", "file-c") == jobs.unfinished_with("globex", "file-a") == []
    jobs.order("acme", job.id, "cancel")
    assert jobs.unfinished_with("acme", "file-a") == []


# How they end


def test_what_comes_out_of_a_job_has_a_name_when_the_job_has_ended(shop: Shop, registry: Registry) -> None:
    jobs, before = registry.training, registry.db.catalog_revision()
    job = running(jobs, suffix="Support Bot", adapter=adapter_name("Support Bot"))
    publication = Publication(shop.make_adapter(1), {"source": "training", "job": job.id})
    done = jobs.finish(job.id, "w-1", "succeeded", publication=publication, trained_tokens=99, result_files=["file-r"])
    assert done.fine_tuned_model == f"ft:tiny:acme:support-bot:{job.id[-8:]}"
    assert (done.status, done.trained_tokens, done.result_files) == ("succeeded", 99, ("file-r",))
    version = registry.adapters.get(parse_ref("acme/support-bot@1.0"))
    assert done.version_id == version.id
    assert version.aliases == ()
    catalog = registry.catalog()
    assert catalog.revision > before
    assert catalog.external["acme", done.fine_tuned_model] == "acme/support-bot@1.0"


def test_a_cancelled_job_publishes_nothing_however_late_its_worker_hears_of_it(shop: Shop, registry: Registry) -> None:
    job = running(registry.training)
    registry.training.order("acme", job.id, "cancel")
    with pytest.raises(LeaseLost):
        registry.training.finish(job.id, "w-1", "succeeded", publication=Publication(shop.make_adapter(1), {}))
    with pytest.raises(NotFound):
        registry.adapters.aliases(parse_ref(f"acme/{job.id}"))
    assert registry.catalog().external == {}


def test_jobs_with_the_same_result_have_names_of_their_own_for_one_version(shop: Shop, registry: Registry) -> None:
    jobs = registry.training
    names = set()
    for seed in (1, 2):
        job = running(jobs, adapter="bot", seed=seed)
        done = jobs.finish(job.id, "w-1", "succeeded", publication=Publication(shop.make_adapter(1), {"a": 1}))
        names.add(done.fine_tuned_model)
        assert done.version_id == registry.adapters.get(parse_ref("acme/bot@1.0")).id
    assert len(names) == 2


def test_a_job_without_a_result_may_succeed_too(jobs: TrainingJobs) -> None:
    job = running(jobs, options={"dry_run": True})
    done = jobs.finish(job.id, "w-1", "succeeded")
    assert (done.status, done.fine_tuned_model, done.error) == ("succeeded", None, None)
    assert messages(jobs, job)[0] == "The job has succeeded."


def test_why_a_job_failed_is_kept(jobs: TrainingJobs) -> None:
    job = running(jobs)
    error = JobError("invalid_training_file", "line 3 has no answer", "training_file")
    assert jobs.finish(job.id, "w-1", "failed", error=error).error == error
    assert jobs.get("acme", job.id).error == error
    newest = jobs.events("acme", job.id, None, 1)[0]
    assert (newest.level, newest.message) == ("error", "The job has failed: line 3 has no answer")


def test_what_became_of_a_result_is_noted_when_the_job_has_ended_and_not_before(jobs: TrainingJobs) -> None:
    job = running(jobs)
    with pytest.raises(LeaseLost, match="has not ended"):
        jobs.remark(job.id, "info", "Verdict: passed.")
    jobs.finish(job.id, "w-1", "succeeded")
    jobs.remark(job.id, "info", "Verdict: passed.", {"certificate": "sha256:c"})
    newest = jobs.events("acme", job.id, None, 1)[0]
    assert (newest.message, newest.data) == ("Verdict: passed.", {"certificate": "sha256:c"})
