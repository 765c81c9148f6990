"""Experiments whose plans want copies of requests: their shadows begin and end with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from registry.adapters.rows import Adapter
from registry.db import Database
from registry.errors import RegistryError
from registry.experiments.finding import version_of
from registry.experiments.plan import Plan
from registry.experiments.rows import Experiment
from registry.shadows.ending import end_shadow
from registry.shadows.rows import Shadow
from registry.shadows.store import begin_shadow
from registry.shadows.terms import terms_of

if TYPE_CHECKING:
    from registry.catalog.changes import WriteSession

GOES_ON = ("running", "paused")
"""States of an experiment in which its shadow does."""


def follow_experiments(db: Database) -> dict[int, str]:
    """Begin the shadows of experiments that run, and end those of experiments that have ended. By the experiment's id,
    why one could not begin: it is tried again at the next call.
    """
    of_one = select(Shadow.experiment_id).where(Shadow.experiment_id.is_not(None))
    running = select(Experiment.id, Experiment.plan).where(Experiment.state == "running", Experiment.id.not_in(of_one))
    over = (
        select(Shadow.id, Experiment.id, Experiment.state)
        .join(Experiment, Experiment.id == Shadow.experiment_id)
        .where(Shadow.ended_at_ms.is_(None), Experiment.state.not_in(GOES_ON))
    )
    with db.read() as session:
        wanted = [id_ for id_, plan in session.execute(running) if plan.get("shadow") is not None]
        ended = session.execute(over).all()
    for shadow_id, experiment_id, state in ended:
        with db.write() as session:
            end_shadow(session, session.get_one(Shadow, shadow_id), why=f"experiment {experiment_id} is {state}")
    refused = {}
    for experiment_id in wanted:
        try:
            with db.write() as session:
                _begin(session, session.get_one(Experiment, experiment_id))
        except RegistryError as error:
            refused[experiment_id] = error.message
    return refused


def _begin(session: WriteSession, row: Experiment) -> None:
    plan = Plan.stored(row.plan)
    terms = terms_of(plan)
    if terms is None or plan.copied_to is None:
        return
    adapter = session.get_one(Adapter, row.adapter_id)
    version = version_of(session, adapter, plan.copied_to)
    begin_shadow(session, adapter, version, terms, alias=row.alias, actor=row.actor, experiment_id=row.id)
