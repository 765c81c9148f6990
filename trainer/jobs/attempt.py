"""One claim of one job: its folder is filled, its child runs, what that says goes into the registry, and it ends."""

from __future__ import annotations

import shutil
import signal
import time
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from registry.errors import InvalidInput, RegistryError
from registry.storage.blobs import StorageFailed
from registry.training.jobs import Claim, JobError, LeaseLost, TrainingJob
from trainer.errors import TrainerError
from trainer.folders import end_of
from trainer.jobs.executors import LOST, NO_PLACE, Running
from trainer.jobs.faults import DISK_FULL, HUNG, OUT_OF_MEMORY, TORN, is_full, without_paths
from trainer.jobs.folder import JobFolder
from trainer.jobs.lease import Lease
from trainer.jobs.limits import TRAINED, TimeLimit
from trainer.jobs.lines import STOPPED, Event, Failed, Finished, Line, Measured, Prepared, Saved, of_line
from trainer.jobs.materials import RECIPE, CannotBegin, lay_out
from trainer.jobs.publishing import publish, results_of
from trainer.jobs.states import put_state
from trainer.jobs.verdict import Verdicts
from trainer.jobs.workplace import Workplace
from trainer.watch import StepMetrics, perplexity

LINE_WAIT_S = 0.25
METRICS_PAUSE_S = 1.0
"""Steps that come faster than this are not all events; every one is in the job's result file."""
LOG_BYTES = 4_000
"""Of a child's log, that are shown to the operator when it failed for an unknown reason."""


class PlaceLost(TrainerError):
    """Where the child was to run, or ran, is gone. The job was given back."""


class Attempt:
    """From claim to release or end. Every write names this worker's lease: once that is lost nothing is written."""

    def __init__(self, place: Workplace, verdicts: Verdicts, claim: Claim, folder: JobFolder) -> None:
        self._place, self._verdicts = place, verdicts
        self._claim = claim
        self._folder = folder
        self._jobs = place.registry.training
        self._of = (claim.job.id, place.worker)
        self._told_s = 0.0
        self._was_stopped = False
        self._finished: Finished | None = None
        self._published: TrainingJob | None = None
        self._failed: Failed | None = None
        self._limit = TimeLimit(claim, place.settings)

    def run(self) -> None:
        """Do what can be done for the job; returns when it has ended, was given back, or is another worker's."""
        job, settings = self._claim.job, self._place.settings
        try:
            with Lease(self._jobs, *self._of, settings.trainer_lease_s) as lease:
                self._work(lease)
                if lease.is_over and self._published is None:
                    self._place.say(f"{job.id}: {'lost' if lease.lost else 'cancelled'}")
            if self._published is not None:
                self._verdicts.ask(self._published, self._folder.questions)
        except LeaseLost:
            self._place.say(f"{job.id}: lost to another worker, or ended")
        except (SQLAlchemyError, StorageFailed, OSError, PlaceLost):  # of this machine: another worker may do better
            raise
        except Exception:  # of this job: it would end the next worker's attempt in the same way
            self._place.say(f"{job.id}: {traceback.format_exc()}")
            if self._published is None:
                self._fail(TORN)
        finally:
            self._folder.remove()

    def _work(self, lease: Lease) -> None:
        try:
            lay_out(self._place.registry, self._place.settings, self._claim, self._folder)
            running = self._place.executor.start(self._folder)
        except CannotBegin as cannot:
            self._fail(cannot.failed)
            return
        except OSError as error:
            if not is_full(error):
                raise
            self._fail(DISK_FULL)
            return
        lease.over = running.kill
        try:
            self._follow(running, lease)
            if not lease.is_over and running.status is not None:
                self._end(running, running.status)
        finally:
            running.kill()

    # While the child runs

    def _follow(self, running: Running, lease: Lease) -> None:
        """Until it has ended and everything that it said is noted."""
        kill_at_s, heard_s = float("inf"), time.monotonic()
        while running.status is None and not lease.is_over:
            if not self._was_stopped and (lease.wanted == "pause" or self._place.stopping.is_set()):
                self._was_stopped = True
                running.stop()
                kill_at_s = time.monotonic() + self._place.settings.trainer_stop_grace_s
            if time.monotonic() > kill_at_s:
                running.kill()
            text = running.next_line(LINE_WAIT_S)
            if text is not None:
                heard_s = time.monotonic()
            elif time.monotonic() - heard_s > self._place.settings.trainer_silence_s:
                self._failed = HUNG
                running.kill()
            if self._limit.is_over and self._failed is None:
                self._failed = self._limit.failed
                running.kill()
            said = of_line(text) if text is not None else None
            if said is not None:
                self._note(said)

    def _note(self, said: Line) -> None:
        if isinstance(said, Event):
            self._note_event(said)
        elif isinstance(said, Prepared):
            self._jobs.advance(*self._of, hyperparameters=said.hyperparameters, detail={RECIPE: said.recipe})
        elif isinstance(said, Measured):
            self._note_metrics(said.metrics)
        elif isinstance(said, Saved):
            self._note_checkpoint(said)
        elif isinstance(said, Finished):
            self._finished = said
        else:
            self._failed = said

    def _note_event(self, said: Event) -> None:
        try:
            self._jobs.say(*self._of, said.level, said.message, "message", said.data)
        except InvalidInput:  # too long for a row
            self._jobs.say(*self._of, said.level, said.message)

    def _note_metrics(self, found: StepMetrics) -> None:
        now = time.monotonic()
        is_plain = found.valid_loss is None and found.full_valid_loss is None
        if is_plain and found.step < found.total_steps and now - self._told_s < METRICS_PAUSE_S:
            return
        self._told_s = now
        self._jobs.say(*self._of, "info", _sentence(found), "metrics", _document(found))
        if found.seconds_left is not None:
            finish_ms = int((time.time() + found.seconds_left) * 1000)
            self._jobs.advance(*self._of, estimated_finish_ms=finish_ms)

    def _note_checkpoint(self, saved: Saved) -> None:
        """Store it, then say that it is there. One that cannot be stored is none: the training goes on."""
        folder, blobs = Path(saved.folder), self._place.registry.blobs
        try:
            name = put_state(blobs, self._claim.job.id, saved.step, folder, self._folder.scratch)
        except (StorageFailed, OSError) as error:
            self._place.say(f"{self._claim.job.id}: the checkpoint of step {saved.step} was not stored: {error}")
            return
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        try:
            self._jobs.checkpoint(*self._of, saved.step, saved.metrics, name)
            self._jobs.advance(*self._of, detail={TRAINED: round(self._limit.taken_s, 1)})
        except LeaseLost:
            blobs.remove([name])
            raise

    # When it has ended

    def _end(self, running: Running, status: int) -> None:
        if self._failed is not None:
            self._fail(self._failed)
        elif status == 0 and self._finished is not None:
            self._succeed(self._finished)
        elif status == STOPPED or self._was_stopped:
            self._jobs.release(*self._of)
            self._place.say(f"{self._claim.job.id}: given back")
        elif status in (LOST, NO_PLACE):
            self._jobs.release(*self._of, in_order=status == NO_PLACE)
            raise PlaceLost(
                f"{self._claim.job.id}: given back: {'its node was lost' if status == LOST else 'no cluster answers'}; "
                f"its bridge said last: {' '.join(self._last_of_log().splitlines()[-1:])}"
            )
        elif status == -signal.SIGKILL and running.out_of_memory is False:
            self._jobs.release(*self._of, in_order=False)
            self._place.say(f"{self._claim.job.id}: its child was killed, not for want of memory; given back")
        else:
            self._place.say(f"{self._claim.job.id}: its child ended with {status}\n{self._last_of_log()}")
            self._fail(OUT_OF_MEMORY if status == -signal.SIGKILL else TORN)

    def _succeed(self, finished: Finished) -> None:
        job = self._claim.job
        if self._claim.work == "validate":
            self._validated(finished)
            return
        self._jobs.advance(*self._of, detail=finished.facts)
        registry, folder = self._place.registry, self._folder
        files = results_of(registry, job, folder)
        try:
            ended = publish(registry, self._of, folder, files, finished.trained_tokens)
        except (LeaseLost, StorageFailed):  # what was trained may be published yet, from its last checkpoint
            raise
        except RegistryError as refused:
            reason = without_paths(str(refused), folder)
            self._fail(Failed("server_error", f"what was trained could not be published: {reason}"))
            return
        self._place.say(f"{job.id}: {ended.fine_tuned_model}")
        self._published = ended

    def _validated(self, finished: Finished) -> None:
        job = self._claim.job
        if job.order.options.get("dry_run") is True:
            self._jobs.advance(*self._of, detail=finished.facts)
            self._jobs.finish(*self._of, "succeeded")
            self._place.say(f"{job.id}: quoted")
            return
        self._jobs.advance(*self._of, "queued", detail=finished.facts)
        self._jobs.release(*self._of)
        self._place.say(f"{job.id}: its files are valid")

    def _fail(self, failed: Failed) -> None:
        self._jobs.finish(*self._of, "failed", error=JobError(failed.code, failed.message, failed.param))
        self._place.say(f"{self._claim.job.id}: failed: {failed.message}")

    def _last_of_log(self) -> str:
        try:
            return end_of(self._folder.log, LOG_BYTES)
        except OSError:
            return ""


def _sentence(found: StepMetrics) -> str:
    """As OpenAI says it."""
    parts = [
        f"{name}={value:.2f}"
        for name, value in (
            ("training loss", found.train_loss),
            ("validation loss", found.valid_loss),
            ("full validation loss", found.full_valid_loss),
        )
        if value is not None
    ]
    return f"Step {found.step}/{found.total_steps}: {', '.join(parts)}"


def _document(found: StepMetrics) -> dict[str, Any]:
    """With the perplexities that OpenAI leaves to the reader."""
    measured = asdict(found) | {
        name.replace("loss", "perplexity"): perplexity(getattr(found, name))
        for name in ("train_loss", "valid_loss", "full_valid_loss")
    }
    return {name: value for name, value in measured.items() if value is not None}
