"""A worker and its jobs: what its child says stands in the registry, and whatever happens to either, a job goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from registry.names import parse_ref
from registry.training.jobs import LeaseLost
from tests.support.migrated import migrated
from tests.support.scripted_executor import FINISHED, TRAINED, VALID, Script
from tests.support.waiting import DEADLINE_S, wait_until
from tests.trainer.jobs.conftest import Shop
from trainer.jobs.lines import STOPPED
from trainer.jobs.states import sweep_states


def test_a_job_is_checked_trained_and_published_under_its_name(shop: Shop) -> None:
    job = shop.order(suffix="Support Bot", adapter="support-bot", seed=3)
    executor = shop.work(VALID, TRAINED)
    done = shop.job(job)
    assert (done.status, done.trained_tokens, done.hyperparameters) == ("succeeded", 1_234, {"n_epochs": 3})
    assert done.fine_tuned_model == f"ft:tiny:acme:support-bot:{job.id[-8:]}"
    version = shop.house.registry.adapters.get(parse_ref("acme/support-bot@1.0"))
    assert version.id == done.version_id
    assert [assigned.work for assigned in executor.seen] == ["validate", "train"]
    assert executor.seen[1].order.seed == 3
    files = [shop.house.registry.files.get("acme", file) for file in done.result_files]
    assert [file.filename for file in files] == [f"{job.id}-step_metrics.csv", f"{job.id}-training_curve.svg"]
    assert {file.purpose for file in files} == {"fine-tune-results"}


def test_a_dry_run_ends_with_its_quote_and_trains_nothing(shop: Shop) -> None:
    job = shop.order(options={"dry_run": True})
    executor = shop.work([*VALID[:2], {"say": {"say": "finished", "facts": {"quote": {"steps": 9}}}}])
    quoted = shop.job(job)
    assert (quoted.status, quoted.fine_tuned_model) == ("succeeded", None)
    assert quoted.facts["quote"] == {"steps": 9}
    assert len(executor.seen) == 1


def test_what_a_child_says_are_events_metrics_and_checkpoints(shop: Shop) -> None:
    job = shop.order()
    shop.work(VALID, TRAINED)
    events = shop.events(job)
    told = [event.message for event in events]
    assert "2 of 12 rows are held out" in told
    stages = ["The files are valid. Waiting for a worker to train.", "A worker has begun to train."]
    assert [message for message in told if message in stages] == stages
    measured = [event for event in events if event.type == "metrics"]
    assert [event.message for event in measured] == ["Step 1/2: training loss=1.00", "Step 2/2: training loss=0.50"]
    assert measured[0].data["train_loss"] == 1.0
    assert measured[0].data["train_perplexity"] == pytest.approx(2.718, abs=0.001)
    checkpoints = shop.house.registry.training.checkpoints(None, job.id, None, 10)
    assert [checkpoint.step for checkpoint in checkpoints] == [2, 1]


def test_states_of_jobs_that_have_ended_are_swept(shop: Shop) -> None:
    job, blobs = shop.order(), shop.house.registry.blobs
    shop.work(VALID, TRAINED)
    assert blobs.names_below(f"training/{job.id}") == []
    assert sweep_states(shop.house.registry, "any") == 0


@pytest.mark.parametrize(
    ("script", "code", "says"),
    [
        ([{"kill": signal.SIGKILL}], "out_of_memory", "smaller batch_size"),
        ([{"log": "Fatal: torn"}, {"kill": signal.SIGSEGV}], "server_error", "its worker's log"),
        ([{"exit": 0}], "server_error", "its worker's log"),
        (
            [{"say": {"say": "failed", "code": "training_refused", "message": "diverged; lower it", "param": "x"}}],
            "training_refused",
            "diverged; lower it",
        ),
    ],
)
def test_a_child_that_fails_fails_its_job_with_the_reason_and_the_remedy(
    shop: Shop, script: Script, code: str, says: str
) -> None:
    job = shop.order()
    shop.work(VALID, script)
    failed = shop.job(job)
    assert failed.status == "failed"
    assert failed.error is not None
    assert failed.error.code == code
    assert says in failed.error.message
    assert ("Fatal: torn" in "\n".join(shop.said)) is ({"log": "Fatal: torn"} in script)


def test_a_cancelled_job_has_its_child_killed_at_once_and_writes_nothing_more(shop: Shop) -> None:
    job = shop.order()
    with shop.working(VALID, [{"wait": 1}, {"checkpoint": 9}, {"wait": 1}]) as (_, executor):
        shop.wait_for_event(job, "waiting")
        shop.house.registry.training.order("acme", job.id, "cancel")
        child = executor.children[1]
        assert child._process.wait(DEADLINE_S) == -signal.SIGKILL
    assert shop.job(job).status == "cancelled"
    assert shop.house.registry.training.checkpoints(None, job.id, None, 10) == []


def test_a_paused_job_is_saved_and_given_back_and_goes_on_when_it_is_resumed(shop: Shop) -> None:
    job, jobs = shop.order(), shop.house.registry.training
    paused = [{"metrics": 1}, {"wait": 1}, {"checkpoint": 1}, {"exit": STOPPED}]
    with shop.working(VALID, paused, TRAINED[2:]) as (_, executor):
        shop.wait_for_event(job, "waiting")
        jobs.order("acme", job.id, "pause")
        shop.wait(job, lambda now: now.status == "paused" and now.worker is None)
        assert len(executor.seen) == 2
        jobs.order("acme", job.id, "resume")
        shop.wait(job, lambda now: now.status == "succeeded")
    assert executor.resumed == [None, None, "state 1"]


def test_a_worker_that_is_told_to_end_saves_its_job_and_another_one_goes_on(shop: Shop) -> None:
    job = shop.order()
    with shop.working(VALID, [{"wait": 1}, {"checkpoint": 1}, {"exit": STOPPED}]) as (worker, _):
        shop.wait_for_event(job, "waiting")
        worker.stopping.set()
    given_back = shop.job(job)
    assert (given_back.status, given_back.worker) == ("queued", None)
    executor = shop.work(TRAINED[2:])
    assert executor.resumed == ["state 1"]
    assert shop.job(job).status == "succeeded"


def test_a_child_that_does_not_stop_in_time_is_killed_and_its_job_given_back(shop: Shop) -> None:
    job = shop.order()
    with shop.working(VALID, [{"wait": 1}, {"wait": 1}], trainer_stop_grace_s=0.2) as (worker, executor):
        shop.wait_for_event(job, "waiting")
        worker.stopping.set()
    assert executor.children[1].status == -signal.SIGKILL
    assert (shop.job(job).status, shop.job(job).worker) == ("queued", None)


def test_a_child_that_says_nothing_any_more_is_ended_and_its_job_has_failed(shop: Shop) -> None:
    job = shop.order()
    with shop.working(VALID, [{"metrics": 1}, {"wait": 1}], trainer_silence_s=5.0) as (_, executor):
        shop.wait(job, lambda now: now.status == "failed")
    assert executor.children[1].status == -signal.SIGKILL
    failed = shop.job(job)
    assert failed.error is not None
    assert (failed.error.code, "said nothing" in failed.error.message) == ("server_error", True)


def test_the_job_of_a_worker_that_died_is_taken_over_when_its_lease_has_ended(shop: Shop) -> None:
    job, jobs = shop.order(), shop.house.registry.training
    claim = jobs.claim("dead-worker", 0.3)
    assert claim is not None
    with shop.working(VALID, TRAINED):
        shop.wait(job, lambda now: now.status == "succeeded")
    with pytest.raises(LeaseLost):
        jobs.renew(job.id, "dead-worker", 3.0)


def test_a_worker_that_lost_its_job_kills_its_child_and_writes_nothing(shop: Shop) -> None:
    job, jobs = shop.order(), shop.house.registry.training
    with shop.working(VALID, [{"wait": 1}, {"checkpoint": 1}, {"wait": 1}]) as (_, executor):
        shop.wait_for_event(job, "waiting")
        holder = shop.job(job).worker
        assert holder is not None
        jobs.release(job.id, holder)  # as if the lease had ended
        claim = jobs.claim("thief", 600.0)
        assert claim is not None
        assert executor.children[1]._process.wait(DEADLINE_S) == -signal.SIGKILL
    assert shop.job(job).worker == "thief"
    assert jobs.checkpoints(None, job.id, None, 10) == []
    assert any("lost" in line for line in shop.said)


def test_a_torn_checkpoint_is_passed_over(shop: Shop) -> None:
    job, registry = shop.order(), shop.house.registry
    with shop.working(VALID, [{"checkpoint": 1}, {"wait": 1}, {"exit": STOPPED}]) as (worker, _):
        shop.wait_for_event(job, "waiting")
        worker.stopping.set()
    (name,) = registry.blobs.names_below(f"training/{job.id}")
    registry.blobs.write(name, b"torn")
    executor = shop.work(TRAINED)
    assert executor.resumed == [None]
    assert shop.job(job).status == "succeeded"


@pytest.mark.parametrize("gone", ["training_file", "validation_file"])
def test_a_file_that_is_gone_fails_the_job_by_its_name(shop: Shop, gone: str) -> None:
    job = shop.order(**{gone: f"file-{'0' * 24}"})
    shop.work()
    error = shop.job(job).error
    assert error is not None
    assert (error.code, error.param) == (f"invalid_{gone}", gone)
    assert "upload it again" in error.message


def test_a_base_that_this_machine_has_not_is_told_with_the_setting(shop: Shop) -> None:
    job, folder = shop.order(), shop.house.base_folder
    folder.rename(folder.parent / "moved")
    shop.work()
    error = shop.job(job).error
    assert error is not None
    assert (error.code, error.param) == ("base_model_unavailable", "model")
    assert "SWITCHYARD_TRAINER_BASES" in error.message
    again = shop.order()
    shop.work(VALID, TRAINED, trainer_bases=[folder.parent / "moved"])
    assert shop.job(again).status == "succeeded"


def test_a_job_that_goes_on_from_a_version_has_that_one_in_its_folder(shop: Shop) -> None:
    shop.house.publish("acme/support")
    shop.order(continues="acme/support@1.0", adapter="support")
    executor = shop.work(VALID, [*TRAINED[:4], {"leave": 77}, FINISHED])
    assert [assigned.continues for assigned in executor.seen] == [True, True]
    assert shop.house.registry.adapters.get(parse_ref("acme/support@1.1")) is not None
    other = shop.order(continues="acme/support@9.0", adapter="support")
    shop.work()
    error = shop.job(other).error
    assert error is not None
    assert (error.code, error.param) == ("model_not_found", "model")


def test_folders_of_workers_that_died_are_removed(shop: Shop, tmp_path: Path) -> None:
    left = shop.settings.jobs_folder / "dead-worker"
    left.mkdir(parents=True)
    (left / "worker.lock").write_text("")
    (left / "train").mkdir()
    shop.work()
    assert list(shop.settings.jobs_folder.iterdir()) == []


def test_the_command_ends_by_itself_when_no_job_waits_and_by_sigterm_else(tmp_path: Path) -> None:
    state = migrated(tmp_path / "state")
    environment = {**os.environ, "SWITCHYARD_STATE_DIR": str(state), "SWITCHYARD_TRAINER_THREADS": "3"}
    command = [sys.executable, "-m", "switchyard", "trainer"]
    done = subprocess.run([*command, "--once"], env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert "trainer: 3 threads, state in " in done.stderr.splitlines()[0]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "trainer: 3 threads" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert list((state / "trainer").iterdir()) == []


def test_a_job_of_which_more_is_said_than_can_be_kept_fails_at_once_and_the_next_one_is_done(shop: Shop) -> None:
    job, other = shop.order(), shop.order()
    prepared = {"say": {"say": "prepared", "recipe": "#" * 300_000, "hyperparameters": {}}}
    shop.work([prepared, {"exit": 0}], VALID, TRAINED)
    failed = shop.job(job)
    assert failed.status == "failed"
    assert failed.error is not None
    assert failed.error.code == "server_error"
    assert "300" in "".join(shop.said)
    assert "300" not in failed.error.message
    assert shop.job(other).status == "succeeded"


def test_a_storage_that_is_away_when_a_model_is_published_loses_nothing_of_its_training(shop: Shop) -> None:
    job, manifests = shop.order(), shop.settings.state_dir / "blobs" / "manifests"
    with shop.working(VALID, [*TRAINED[:4], {"leave": 1}, {"wait": 1}, FINISHED], [{"leave": 1}, FINISHED]) as (_, of):
        shop.wait_for_event(job, "waiting")
        manifests.write_text("no folder")
        of.children[1].stop()
        wait_until("the worker to say so", lambda: any("the object storage failed" in line for line in shop.said))
        assert shop.job(job).status == "running"
        assert not any("storage" in event.message for event in shop.events(job))
        manifests.unlink()
        shop.wait(job, lambda now: now.status == "succeeded")
    assert of.resumed == [None, None, "state 2"]
