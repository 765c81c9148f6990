"""What a worker does when a child is killed, its place is lost, or its time is over."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import Path

import pytest

from registry.training.claiming import MOST_ATTEMPTS
from registry.training.jobs import Work
from tests.support.scripted_executor import TRAINED, VALID, Script, ScriptedExecutor
from tests.trainer.jobs.conftest import Shop
from trainer.errors import TrainerError
from trainer.jobs.attempt import PlaceLost
from trainer.jobs.executors import LOST, NO_PLACE, Running
from trainer.jobs.folder import JobFolder
from trainer.jobs.limits import TRAINED as SECONDS
from trainer.jobs.lines import STOPPED
from trainer.jobs.worker import Worker


def test_a_child_that_was_killed_while_memory_was_there_is_no_failure_of_its_job(shop: Shop) -> None:
    job = shop.order()
    killed: Script = [{"checkpoint": 1}, {"kill": signal.SIGKILL}]
    executor = ScriptedExecutor([VALID, killed, TRAINED[2:]], oom_kills=lambda: 4)
    shop.worker(executor).run(until_idle=True)
    assert shop.job(job).status == "succeeded"
    assert executor.resumed == [None, None, "state 1"]
    assert any("was killed, not for want of memory; given back" in line for line in shop.said)


def test_a_child_that_the_kernel_ended_for_want_of_memory_fails_its_job_with_that(shop: Shop) -> None:
    job, counts = shop.order(), iter(range(10))
    executor = ScriptedExecutor([VALID, [{"kill": signal.SIGKILL}]], oom_kills=lambda: next(counts))
    shop.worker(executor).run(until_idle=True)
    error = shop.job(job).error
    assert error is not None
    assert error.code == "out_of_memory"


def test_a_job_that_is_killed_again_and_again_without_coming_further_has_failed(shop: Shop) -> None:
    job = shop.order()
    executor = ScriptedExecutor([VALID, *([{"kill": signal.SIGKILL}] for _ in range(5))], oom_kills=lambda: 0)
    shop.worker(executor).run(until_idle=True)
    error = shop.job(job).error
    assert error is not None
    assert error.code == "worker_lost"


@dataclass
class Elsewhere:
    """Its children run where they may be lost: each of them ends with a status of the list."""

    statuses: list[int]
    here: ScriptedExecutor

    def start(self, folder: JobFolder) -> Running:
        status = self.statuses.pop(0)
        return self.here.start(folder) if status == 0 else Gone(status)

    def prepare(self) -> None: ...

    def dismiss(self) -> None: ...


@dataclass
class Gone:
    """A child of which nothing more is known."""

    status: int
    out_of_memory: bool | None = None

    def next_line(self, timeout_s: float) -> str | None:
        return None

    def stop(self) -> None: ...

    def kill(self) -> None: ...


@pytest.mark.parametrize(("status", "says"), [(LOST, "its node was lost"), (NO_PLACE, "no cluster answers")])
def test_a_job_whose_place_is_gone_is_given_back_and_done_when_there_is_one(shop: Shop, status: int, says: str) -> None:
    job, said = shop.order(), shop.said
    elsewhere = Elsewhere([status, status, 0, 0], ScriptedExecutor([VALID, TRAINED]))
    for _ in range(2):
        with pytest.raises(PlaceLost, match=says):
            Worker(shop.house.registry, shop.settings, elsewhere, said.append).run(until_idle=True)
        assert (shop.job(job).status, shop.job(job).worker) == ("validating_files", None)
    Worker(shop.house.registry, shop.settings, elsewhere, said.append).run(until_idle=True)
    assert shop.job(job).status == "succeeded"


def test_without_a_place_no_attempt_is_counted_and_with_a_lost_one_it_is(shop: Shop) -> None:
    for status, ends in ((NO_PLACE, "validating_files"), (LOST, "failed")):
        job = shop.order()
        for _ in range(MOST_ATTEMPTS):
            worker = Worker(shop.house.registry, shop.settings, Elsewhere([status], ScriptedExecutor([])), print)
            with pytest.raises(PlaceLost):
                worker.run(until_idle=True)
        claim = shop.house.registry.training.claim("next", 3.0)
        assert (shop.job(job).status, claim is None) == (ends, ends == "failed")
        if claim is not None:
            shop.house.registry.training.order(None, job.id, "cancel")


def test_an_error_that_says_nothing_ends_no_place(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = shop.worker(ScriptedExecutor([]))
    falls = iter([TimeoutError(), OSError("\n"), TrainerError("the third")])

    def take_one(_work: Work, _folder: Path) -> bool:
        for error in falls:
            raise error
        worker.stopping.set()
        return False

    monkeypatch.setattr(worker, "_take_one", take_one)
    worker._place("train", shop.settings.jobs_folder)
    assert shop.said == ["TimeoutError: TimeoutError", "OSError: OSError", "TrainerError: the third"]


def test_a_check_that_takes_too_long_fails_its_job_and_the_next_one_is_done(shop: Shop) -> None:
    job, other = shop.order(), shop.order()
    shop.work([{"wait": 1}], VALID, TRAINED, trainer_check_s=1.5)
    error = shop.job(job).error
    assert error is not None
    assert (error.code, error.param) == ("time_limit_exceeded", "training_file")
    assert "SWITCHYARD_TRAINER_CHECK_S" in error.message
    assert shop.job(other).status == "succeeded"


@pytest.mark.parametrize(
    ("options", "settings", "param"),
    [
        ({"max_seconds": 1}, {}, "switchyard.max_seconds"),
        ({"max_seconds": 9_999}, {"trainer_most_s": 1.0}, "hyperparameters"),
        ({}, {"trainer_most_s": 1.0}, "hyperparameters"),
    ],
)
def test_a_training_that_takes_longer_than_it_may_fails_with_whose_limit_it_was(
    shop: Shop, options: dict[str, int], settings: dict[str, float], param: str
) -> None:
    job = shop.order(options=options)
    shop.work(VALID, [{"metrics": 1}, {"wait": 1}], **settings)
    error = shop.job(job).error
    assert error is not None
    assert (error.code, error.param) == ("time_limit_exceeded", param)


def test_the_time_that_a_training_had_on_another_worker_counts(shop: Shop) -> None:
    job = shop.order(options={"max_seconds": 1_000})
    with shop.working(VALID, [{"checkpoint": 1}, {"wait": 1}, {"exit": STOPPED}]) as (worker, _):
        shop.wait_for_event(job, "waiting")
        worker.stopping.set()
    assert 0 < shop.job(job).facts[SECONDS] < 900
    holder = "other-worker"
    claim = shop.house.registry.training.claim(holder, 60.0)
    assert claim is not None
    shop.house.registry.training.advance(job.id, holder, "running", detail={SECONDS: 999.9})
    shop.house.registry.training.release(job.id, holder)
    shop.work([{"wait": 1}])
    error = shop.job(job).error
    assert error is not None
    assert error.code == "time_limit_exceeded"
