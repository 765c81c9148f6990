"""`switchyard trainer`: takes jobs until it is told to end: one to check, one to train, one to compare."""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
import traceback
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from registry.errors import RegistryError, first_line
from registry.service import Registry
from registry.training.jobs import Work
from telemetry.spans import Begins, whole
from trainer.errors import TrainerError
from trainer.folders import own_folder
from trainer.jobs.attempt import Attempt, PlaceLost
from trainer.jobs.executors import Executor
from trainer.jobs.folder import JobFolder
from trainer.jobs.settings import TrainerSettings
from trainer.jobs.states import sweep_states
from trainer.jobs.verdict import Verdicts
from trainer.jobs.workplace import Say, Workplace

WORKS: tuple[Work, ...] = ("validate", "train")
"""A place each: a training that takes hours keeps no file waiting."""
SWEEP_S = 60.0
PLACE_PAUSE_S = 5.0
"""After a cluster was lost or not found, so that who looks for it is not busy with it."""
SPARE_S = 120.0
"""So long after a job was taken to be checked a child is kept ready to train it."""
MOST_HOST_CHARS = 100


class Worker:
    """The places of one process."""

    def __init__(
        self,
        registry: Registry,
        settings: TrainerSettings,
        executor: Executor,
        say: Say,
        tracing: Begins | None = None,
    ) -> None:
        host = socket.gethostname()[:MOST_HOST_CHARS]
        name = f"{host}-{os.getpid()}-{secrets.token_hex(4)}"
        self.stopping = threading.Event()
        """Set it, and what trains is saved and given back, and `run` returns."""
        self._workplace = Workplace(registry, settings, executor, name, self.stopping, say, tracing)
        self._verdicts = Verdicts(self._workplace, settings.jobs_folder / name / "verdicts")
        self._spare_until_s = 0.0

    def run(self, *, until_idle: bool = False) -> None:
        """Until `stopping` is set; with `until_idle` also until no job waits."""
        with own_folder(self._workplace.settings.jobs_folder, self._workplace.worker) as folder:
            comparing = threading.Thread(target=self._verdicts.run, name="verdicts")
            comparing.start()
            try:
                self._until_idle(folder) if until_idle else self._until_told(folder)
            finally:
                self._verdicts.close()
                comparing.join()

    def _until_told(self, folder: Path) -> None:
        places = [threading.Thread(target=self._place, args=(work, folder / work), name=work) for work in WORKS]
        for place in places:
            place.start()
        while not self.stopping.wait(SWEEP_S):
            self._sweep()
        for place in places:
            place.join()

    def _until_idle(self, folder: Path) -> None:
        while not self.stopping.is_set():
            took = [self._take_one(work, folder / work) for work in WORKS]
            if not any(took):
                break
        self._sweep()

    def _place(self, work: Work, folder: Path) -> None:
        while not self.stopping.is_set():
            took, pause_s = False, self._workplace.settings.trainer_poll_s
            try:
                took = self._take_one(work, folder)
                if work == "train":
                    self._keep_ready()
            except (
                SQLAlchemyError,
                RegistryError,
                OSError,
                TrainerError,
            ) as error:  # database, storage or cluster is away
                self._workplace.say(f"{type(error).__name__}: {first_line(error)}")
                pause_s = max(pause_s, PLACE_PAUSE_S) if isinstance(error, PlaceLost) else pause_s
            except Exception:  # a fault that one job meets must not end the place of all others
                self._workplace.say(traceback.format_exc())
            if not took:
                self.stopping.wait(pause_s)
        if work == "train":
            self._workplace.executor.dismiss()

    def _keep_ready(self) -> None:
        """A child for the job that is being checked, so that its libraries are imported when it is to be trained."""
        if time.monotonic() < self._spare_until_s:
            self._workplace.executor.prepare()
        else:
            self._workplace.executor.dismiss()

    def _take_one(self, work: Work, folder: Path) -> bool:
        """Whether there was a job to take."""
        place = self._workplace
        claim = place.registry.training.claim(place.worker, place.settings.trainer_lease_s, (work,))
        if claim is None:
            return False
        place.say(f"{claim.job.id}: {'checking its files' if work == 'validate' else 'training'}")
        self._spare_until_s = time.monotonic() + SPARE_S if work == "validate" else 0.0
        if work == "train":
            place.registry.training.advance(claim.job.id, place.worker, "running")
        with whole(place.tracing, f"job {claim.work}") as span:
            if span is not None:
                job = claim.job
                span.set(job=job.id, tenant=job.tenant, base=job.order.base, work=claim.work, attempt=claim.attempt)
            Attempt(place, self._verdicts, claim, JobFolder(folder)).run()
            if span is not None:
                left = place.registry.training.get(None, claim.job.id)
                span.set(status=left.status)
                if left.error is not None:
                    span.end(left.error.code)
        return True

    def _sweep(self) -> None:
        try:
            sweep_states(self._workplace.registry, self._workplace.worker)
        except (SQLAlchemyError, RegistryError) as error:
            self._workplace.say(f"old checkpoints were not removed: {first_line(error)}")
