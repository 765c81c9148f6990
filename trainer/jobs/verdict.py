"""The last that is done for a job: its result is registered in MLflow, where the operator has one, and compared with
the version in production, if anybody asks for it.

The job has ended and its version is published by then; whatever goes wrong here takes nothing of that away. Verdicts
have a place of their own in a worker, so that a comparison that takes its time keeps no training waiting.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections import OrderedDict, deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from registry.adapters.version_rows import VersionInfo
from registry.errors import RegistryError, first_line
from registry.gates.policy import Policy
from registry.names import parse_ref
from registry.service import Registry
from registry.training.jobs import Level, TrainingJob
from registry.training.options import checked
from trainer.errors import TrainerError
from trainer.evaluation.judging import MOST_ROWS, is_judged, judge_version, sentence_of
from trainer.evaluation.orders import EvaluationOrder
from trainer.evaluation.rows import read_rows
from trainer.jobs.workplace import Workplace
from trainer.mlflow_registry import register

NOT_MADE = (
    "No verdict: the new model could not be compared with the one in production; the operator can do so later with "
    "`switchyard evaluate`."
)
TOO_LONG = (
    "No verdict: the comparison took longer than this operator allows (SWITCHYARD_TRAINER_VERDICT_S); the operator can "
    "make it with `switchyard evaluate`."
)
MOST_WAITING = 20
"""Jobs of a worker whose verdicts are yet to be made; with so many its trainings wait."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Of what a job has published, by its held-out rows; `judged`: a verdict is to be made of it."""

    job: TrainingJob
    version: VersionInfo
    questions: Path
    wish: Policy | None
    judged: bool


class Stopped(TrainerError):
    """The worker is to end."""


class Overdue(TrainerError):
    """It takes too long."""


class Verdicts:
    """Those of one worker, made one at a time; of the tenants that wait, each in turn."""

    def __init__(self, place: Workplace, folder: Path) -> None:
        self._place, self._folder = place, folder
        self._changed = threading.Condition()
        self._waiting: OrderedDict[str, deque[Asked]] = OrderedDict()
        self._closed = False

    def ask(self, job: TrainingJob, questions: Path) -> None:
        """Have what the job has published compared, and the verdict noted as an event of it. Raises nothing that is
        expected. Nothing is said where nobody has asked for a verdict. The file of `questions` is taken away.
        """
        place = self._place
        try:
            version, wish = _version_of(place.registry, job), _wish_of(job)
            if version is None:
                return
            judged = is_judged(place.registry, version, wish)
            if not judged and place.settings.mlflow_registry is None:
                return
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            kept = questions.rename(self._folder / f"{job.id}.jsonl")
        except (RegistryError, SQLAlchemyError, OSError) as error:
            _no_verdict(place, job, error)
            return
        with self._changed:
            self._changed.wait_for(lambda: self._count() < MOST_WAITING or place.stopping.is_set())
            self._waiting.setdefault(job.tenant, deque()).append(Asked(job, version, kept, wish, judged))
            self._changed.notify_all()

    def run(self) -> None:
        """Make them, until `close`; what waits then is made too, or said not to be when the worker is to stop."""
        while (asked := self._next()) is not None:
            try:
                give_verdict(self._place, asked)
            except Exception as error:  # a fault that one job meets must not end the verdicts of all others
                self._place.say(traceback.format_exc())
                _no_verdict(self._place, asked.job, error)

    def close(self) -> None:
        """No more are asked for."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _next(self) -> Asked | None:
        with self._changed:
            self._changed.wait_for(lambda: bool(self._waiting) or self._closed)
            if not self._waiting:
                return None
            tenant, queue = self._waiting.popitem(last=False)
            asked = queue.popleft()
            if queue:
                self._waiting[tenant] = queue
            self._changed.notify_all()
            return asked

    def _count(self) -> int:
        return sum(map(len, self._waiting.values()))


def give_verdict(place: Workplace, asked: Asked) -> None:
    """Register and compare, and note what came of it. Raises nothing that is expected."""
    job, uri = asked.job, place.settings.mlflow_registry
    try:
        if uri is not None:
            _register(place, asked, uri)
        if asked.judged:
            _judge(place, asked)
    except (TrainerError, RegistryError, SQLAlchemyError, OSError) as error:
        _no_verdict(place, job, error)
    finally:
        with suppress(OSError):
            asked.questions.unlink()


def _register(place: Workplace, asked: Asked, uri: str) -> None:
    try:
        name = register(uri, asked.version)
    except TrainerError as error:  # the version is published and served all the same
        place.say(f"{asked.job.id}: {error}")
        return
    place.registry.training.remark(asked.job.id, "info", f"Registered in MLflow: {name}.")


def _no_verdict(place: Workplace, job: TrainingJob, error: Exception) -> None:
    place.say(f"{job.id}: no verdict: {first_line(error)}")
    with suppress(RegistryError, SQLAlchemyError):  # the database is away, or the job is gone
        place.registry.training.remark(job.id, "warn", TOO_LONG if isinstance(error, Overdue) else NOT_MADE)


def _judge(place: Workplace, asked: Asked) -> None:
    gateway, most_s = place.settings.trainer_gateway, place.settings.trainer_verdict_s
    if gateway is None:
        raise TrainerError("SWITCHYARD_TRAINER_GATEWAY names no gateway")
    until_s = time.monotonic() + most_s

    def told(_done: int, _total: int) -> None:
        if place.stopping.is_set():
            raise Stopped("the trainer is to end")
        if time.monotonic() > until_s:
            raise Overdue(f"the comparison took longer than {most_s:,.0f} s")

    order = EvaluationOrder(asked.version, read_rows(asked.questions, MOST_ROWS), wish=asked.wish)
    made = judge_version(place.registry, order, gateway, told)
    figures = made.document["figures"]
    data = {"verdict": made.verdict, "certificate": made.digest, "figures": figures}
    level: Level = "info" if made.verdict in ("passed", "measured") else "warn"
    place.registry.training.remark(asked.job.id, level, sentence_of(made), data)
    place.say(f"{asked.job.id}: verdict: {made.verdict}")


def _version_of(registry: Registry, job: TrainingJob) -> VersionInfo | None:
    """What the job has published: its name stands for it."""
    if job.fine_tuned_model is None:
        return None
    target = registry.model_names.get(job.tenant, job.fine_tuned_model).target
    return registry.adapters.get(parse_ref(target, tenant=job.tenant))


def _wish_of(job: TrainingJob) -> Policy | None:
    gate = checked(job.order).gate
    return None if gate is None else gate.policy
