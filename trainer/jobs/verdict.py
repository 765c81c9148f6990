"""The last thing that is done for a job: its result is compared with the version in production, if anybody asks for it.

The job has ended and its version is published by then; whatever goes wrong here takes nothing of that away.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from registry.adapters.version_rows import VersionInfo
from registry.errors import RegistryError
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

NOT_MADE = (
    "No verdict: the new model could not be compared with the one in production; the operator can do so later with "
    "`switchyard evaluate`."
)


class Stopped(TrainerError):
    """The worker is to end."""


def give_verdict(place: Workplace, job: TrainingJob, questions: Path) -> None:
    """Compare what the job has published, and note the verdict as an event of it. Raises nothing that is expected.

    `questions` are its held-out rows. Nothing is said where nobody has asked for a verdict.
    """
    registry = place.registry
    try:
        version = _version_of(registry, job)
        wish = _wish_of(job)
        if version is None or not is_judged(registry, version, wish):
            return
        _judge(place, job, EvaluationOrder(version, read_rows(questions, MOST_ROWS), wish=wish))
    except (TrainerError, RegistryError, SQLAlchemyError) as error:
        place.say(f"{job.id}: no verdict: {str(error).splitlines()[0]}")
        registry.training.remark(job.id, "warn", NOT_MADE)


def _judge(place: Workplace, job: TrainingJob, order: EvaluationOrder) -> None:
    gateway = place.settings.trainer_gateway
    if gateway is None:
        raise TrainerError("SWITCHYARD_TRAINER_GATEWAY names no gateway")

    def told(_done: int, _total: int) -> None:
        if place.stopping.is_set():
            raise Stopped("the trainer is to end")

    made = judge_version(place.registry, order, gateway, told)
    figures = made.document["figures"]
    data = {"verdict": made.verdict, "certificate": made.digest, "figures": figures}
    level: Level = "info" if made.verdict in ("passed", "measured") else "warn"
    place.registry.training.remark(job.id, level, sentence_of(made), data)
    place.say(f"{job.id}: verdict: {made.verdict}")


def _version_of(registry: Registry, job: TrainingJob) -> VersionInfo | None:
    """What the job has published: its name stands for it."""
    if job.fine_tuned_model is None:
        return None
    target = registry.model_names.get(job.tenant, job.fine_tuned_model).target
    return registry.adapters.get(parse_ref(target, tenant=job.tenant))


def _wish_of(job: TrainingJob) -> Policy | None:
    gate = checked(job.order).gate
    return None if gate is None else gate.policy
