"""`switchyard trainer`: a process that takes jobs, one to check and one to train at a time, until it is told to end."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import socket
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from registry.errors import RegistryError
from registry.service import Registry
from registry.training.jobs import Work
from trainer.jobs.attempt import Attempt
from trainer.jobs.executors import Executor
from trainer.jobs.folder import JobFolder
from trainer.jobs.settings import TrainerSettings
from trainer.jobs.states import sweep_states
from trainer.jobs.workplace import Say, Workplace

WORKS: tuple[Work, ...] = ("validate", "train")
"""A place each: a training that takes hours keeps no file waiting."""
SWEEP_S = 60.0
LOCK = "worker.lock"
SPARE_S = 120.0
"""So long after a job was taken to be checked a child is kept ready to train it."""
MOST_HOST_CHARS = 100


class Worker:
    """The places of one process."""

    def __init__(self, registry: Registry, settings: TrainerSettings, executor: Executor, say: Say) -> None:
        host = socket.gethostname()[:MOST_HOST_CHARS]
        name = f"{host}-{os.getpid()}-{secrets.token_hex(4)}"
        self.stopping = threading.Event()
        """Set it, and what trains is saved and given back, and `run` returns."""
        self._workplace = Workplace(registry, settings, executor, name, self.stopping, say)
        self._spare_until_s = 0.0

    def run(self, *, until_idle: bool = False) -> None:
        """Until `stopping` is set; with `until_idle` also until no job waits."""
        with own_folder(self._workplace.settings.jobs_folder, self._workplace.worker) as folder:
            if until_idle:
                self._until_idle(folder)
                return
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
            took = False
            try:
                took = self._take_one(work, folder)
                if work == "train":
                    self._keep_ready()
            except (SQLAlchemyError, RegistryError, OSError) as error:  # the database or the storage is away
                self._workplace.say(f"{type(error).__name__}: {str(error).splitlines()[0]}")
            except Exception:  # a fault that one job meets must not end the place of all others
                self._workplace.say(traceback.format_exc())
            if not took:
                self.stopping.wait(self._workplace.settings.trainer_poll_s)
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
        workplace = self._workplace
        claim = workplace.registry.training.claim(workplace.worker, workplace.settings.trainer_lease_s, (work,))
        if claim is None:
            return False
        workplace.say(f"{claim.job.id}: {'checking its files' if work == 'validate' else 'training'}")
        self._spare_until_s = time.monotonic() + SPARE_S if work == "validate" else 0.0
        if work == "train":
            workplace.registry.training.advance(claim.job.id, workplace.worker, "running")
        Attempt(workplace, claim, JobFolder(folder)).run()
        return True

    def _sweep(self) -> None:
        try:
            sweep_states(self._workplace.registry)
        except (SQLAlchemyError, RegistryError) as error:
            self._workplace.say(f"old checkpoints were not removed: {str(error).splitlines()[0]}")


@contextmanager
def own_folder(among: Path, worker: str) -> Iterator[Path]:
    """A folder of this worker's own, for the time of the block. Those of workers that have died are removed."""
    among.mkdir(parents=True, exist_ok=True, mode=0o700)
    for left in among.glob("[!.]*"):
        _remove_if_left(left)
    folder, beside = among / worker, among / f".{worker}"
    beside.mkdir(mode=0o700)
    with (beside / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        beside.rename(folder)  # whoever finds it finds it locked
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _remove_if_left(folder: Path) -> None:
    """A living worker holds the lock in its folder."""
    try:
        with (folder / LOCK).open("r") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
    except OSError:  # it lives
        return
