"""A house with a worker, and jobs for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from registry.training.jobs import JobEvent, JobOrder, TrainingJob
from tests.support.scripted_executor import Script, ScriptedExecutor
from tests.support.stack import BASE, House, open_house
from tests.support.training_jobs import chat_rows
from tests.support.waiting import DEADLINE_S, wait_until
from trainer.jobs.settings import TrainerSettings
from trainer.jobs.worker import Worker


@dataclass
class Shop:
    """Orders jobs, and has workers whose children are scripted."""

    house: House
    settings: TrainerSettings
    said: list[str] = field(default_factory=list)

    def order(self, rows: str = "", **changes: Any) -> TrainingJob:
        """A new job of `acme` with a file of its own."""
        registry = self.house.registry
        file = registry.files.create("acme", "train.jsonl", "fine-tune", [(rows or chat_rows(12)).encode()])
        return registry.training.create(
            JobOrder(**{"tenant": "acme", "model": BASE, "base": BASE, "training_file": file.id, **changes})
        )

    def job(self, job: TrainingJob) -> TrainingJob:
        """As it stands now."""
        return self.house.registry.training.get(None, job.id)

    def events(self, job: TrainingJob) -> list[JobEvent]:
        """Oldest first."""
        return self.house.registry.training.events(None, job.id, None, 1000)[::-1]

    def worker(self, executor: ScriptedExecutor, **settings: Any) -> Worker:
        """One that is not running yet."""
        configured = self.settings.model_copy(update=settings)
        return Worker(self.house.registry, configured, executor, self.said.append)

    def work(self, *scripts: Script, **settings: Any) -> ScriptedExecutor:
        """Until no job waits."""
        executor = ScriptedExecutor(list(scripts))
        self.worker(executor, **settings).run(until_idle=True)
        return executor

    @contextmanager
    def working(self, *scripts: Script, **settings: Any) -> Iterator[tuple[Worker, ScriptedExecutor]]:
        """Meanwhile, in a thread; at the end of the block the worker is told to stop, and has."""
        executor = ScriptedExecutor(list(scripts))
        worker = self.worker(executor, **settings)
        thread = threading.Thread(target=worker.run)
        thread.start()
        try:
            yield worker, executor
        finally:
            worker.stopping.set()
            thread.join(DEADLINE_S)
            assert not thread.is_alive()

    def wait(self, job: TrainingJob, until: Callable[[TrainingJob], bool]) -> TrainingJob:
        """As it stands when that is so."""
        wait_until(f"{job.id} to come further", lambda: until(self.job(job)))
        return self.job(job)

    def wait_for_event(self, job: TrainingJob, text: str) -> None:
        """Until something of it was said."""
        wait_until(f"{text!r} of {job.id}", lambda: any(text in event.message for event in self.events(job)))


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with open_house(tmp_path) as house:
        house.tenant("acme")
        settings = TrainerSettings(
            state_dir=house.settings.state_dir, trainer_poll_s=0.05, trainer_lease_s=3.0, trainer_stop_grace_s=20
        )
        yield Shop(house, settings)
