"""Experiments of all tenants: made, started, steered and decided on. Who decides by the plan calls `decide` too.

A decision and what it changes are one transaction. Where traffic must move it is a swap, and the experiment's state
changes in the swap's flip; a swap that fails leaves everything as it was, with a line in the log.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.orm import Session

from registry.adapters.rows import Adapter
from registry.adapters.version_rows import require_adapter
from registry.db import Database, now_ms
from registry.errors import Conflict
from registry.etags import require_match
from registry.experiments.analysis import AnalysisBooks
from registry.experiments.finding import adapters_of, experiment_info, find_row
from registry.experiments.infos import Decision, DecisionInfo, ExperimentInfo
from registry.experiments.log import append, decision_info, faults_of
from registry.experiments.moving import carry_out, check_can_start, frozen, plan_against
from registry.experiments.plan import Plan, check_experiment_name
from registry.experiments.rows import Experiment, ExperimentDecision
from registry.experiments.traffic import TrafficBooks
from registry.experiments.units import ExperimentUnits
from registry.fleet.leadership import check_fence
from registry.names import PRODUCTION, AdapterRef, check_name
from registry.splits.salts import new_salt

if TYPE_CHECKING:
    from registry.catalog.changes import WriteSession

MOST_DECISIONS = 5_000
"""Of one experiment: beyond them only what ends it is taken."""


class Experiments:
    """The experiments of all adapters; at most one decides on an alias's traffic at a time."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self.units = ExperimentUnits(db)
        """Who was in them."""
        self.analysis = AnalysisBooks(db)
        """What their analysis reads and writes."""
        self.traffic = TrafficBooks(db)
        """What adapters' traffic was like."""

    def create(
        self,
        ref: AdapterRef,
        plan: Plan,
        *,
        alias: str = PRODUCTION,
        name: str | None = None,
        actor: str,
        draft: bool = False,
    ) -> ExperimentInfo:
        """A new experiment, which starts at once unless it is a draft; without a name it gets one by number.

        Raises `NotFound` for what it would try and is not there, `InvalidInput` for a plan that cannot be, `Conflict`
        while something else decides on the alias's traffic, `GateClosed`.
        """
        check_name(alias, "alias")
        if name is not None:
            check_experiment_name(name)
        with self._db.write() as session:
            adapter = require_adapter(session, ref)
            row = Experiment(
                adapter_id=adapter.id,
                alias=alias,
                name=name or _next_name(session, adapter),
                state="draft",
                plan=frozen(session, adapter, alias, plan).document,
                salt=plan.salt or new_salt(),
                step=-1,
                decisions=0,
                actor=actor[:100],
                created_at_ms=now_ms(),
            )
            if not session.add_new(row):
                raise Conflict(f"experiment {row.name!r} of {ref.adapter_name} exists already", param="name")
            if not draft:
                self._decide(session, row, Decision("start", "created", actor=actor))
            return experiment_info(session, row)

    def preview(self, ref: AdapterRef, plan: Plan, *, alias: str = PRODUCTION) -> Plan:
        """The plan as `create` would freeze it, and nothing done. Raises as `create`."""
        with self._db.read() as session:
            adapter = require_adapter(session, ref)
            done = frozen(session, adapter, alias, plan)
            check_can_start(session, adapter, alias, done)
            return done

    def completed(self, ref: AdapterRef, plan: Plan, *, alias: str = PRODUCTION) -> Plan:
        """The plan with what it left open, whatever runs now. Raises `NotFound`, `InvalidInput`."""
        with self._db.read() as session:
            return plan_against(session, require_adapter(session, ref), alias, plan)

    def get(self, experiment_id: int) -> ExperimentInfo:
        """One of them. Raises `NotFound`."""
        with self._db.read() as session:
            return experiment_info(session, find_row(session, str(experiment_id)))

    def find(self, text: str) -> ExperimentInfo:
        """The one that is called so: an id, `tenant/adapter:NAME`, or `tenant/adapter` for its newest that has not
        ended, else its newest. Raises `NotFound`.
        """
        with self._db.read() as session:
            return experiment_info(session, find_row(session, text))

    def page(
        self,
        before: int | None,
        limit: int,
        *,
        ref: AdapterRef | None = None,
        tenant: str | None = None,
        not_ended: bool = False,
    ) -> list[ExperimentInfo]:
        """Newest first, those with an id below `before`, of one adapter, one tenant or all."""
        query = select(Experiment).order_by(Experiment.id.desc()).limit(limit)
        if before is not None:
            query = query.where(Experiment.id < before)
        if not_ended:
            query = query.where(Experiment.ended_at_ms.is_(None))
        with self._db.read() as session:
            if ref is not None:
                query = query.where(Experiment.adapter_id == require_adapter(session, ref).id)
            if tenant is not None:
                query = query.where(Experiment.adapter_id.in_(adapters_of(tenant)))
            return [experiment_info(session, row) for row in session.scalars(query)]

    def under_way(self) -> list[ExperimentInfo]:
        """Those whose units have arms, whoever decides: all that have started and not ended, oldest first."""
        started = Experiment.started_at_ms.is_not(None) & Experiment.ended_at_ms.is_(None)
        with self._db.read() as session:
            rows = session.scalars(select(Experiment).where(started).order_by(Experiment.id))
            return [experiment_info(session, row) for row in rows]

    def decisions(self, experiment_id: int, after: int = 0, limit: int | None = None) -> list[DecisionInfo]:
        """The log after line `after`, oldest first. Raises `NotFound`."""
        line = ExperimentDecision
        query = select(line).where(line.experiment_id == experiment_id, line.seq > after).order_by(line.seq)
        with self._db.read() as session:
            find_row(session, str(experiment_id))
            return [decision_info(one) for one in session.scalars(query.limit(limit))]

    def faults(self, experiment_id: int) -> list[str]:
        """What is wrong with its log, a sentence each: lines that were changed, or are gone. Raises `NotFound`."""
        with self._db.read() as session:
            return faults_of(session, find_row(session, str(experiment_id)))

    def decide(
        self,
        experiment_id: int,
        decision: Decision,
        *,
        fence: int | None = None,
        expected: Collection[str] | None = None,
    ) -> DecisionInfo:
        """Write a decision down and begin what follows from it, in one transaction.

        `fence` is the token of the controller that decides; one whose term is over gets a `Conflict`. `expected` are
        etags that the experiment may have: `Stale` when something else was decided meanwhile. Raises `NotFound`;
        `Conflict` when it cannot follow the state, or a swap of the alias is under way; `GateClosed` where the alias's
        gate says no; `InvalidInput`.
        """
        with self._db.write() as session:
            if fence is not None:
                check_fence(session, fence)
            row = find_row(session, str(experiment_id), lock=True)
            require_match(str(row.decisions), expected, f"experiment {experiment_id}")
            return self._decide(session, row, decision)

    def _decide(self, session: WriteSession, row: Experiment, decision: Decision) -> DecisionInfo:
        if row.decisions >= MOST_DECISIONS and decision.kind not in ("promote", "rollback", "stop"):
            raise Conflict(
                f"experiment {row.id} has made {row.decisions} decisions, and {MOST_DECISIONS} is the most; promote, "
                "roll back or stop it",
                param="kind",
            )
        before = row.state
        consequence = carry_out(session, row, decision)
        return append(
            session,
            row,
            decision,
            from_state=before,
            to_state=consequence.to_state,
            step=consequence.step,
            weights=consequence.weights,
            swap_id=consequence.swap_id,
        )


def _next_name(session: Session, adapter: Adapter) -> str:
    """Taken by nobody: the adapter's experiments are counted, and names given by hand passed over."""
    taken = set(session.scalars(select(Experiment.name).where(Experiment.adapter_id == adapter.id)))
    number = len(taken) + 1
    while f"experiment-{number}" in taken:
        number += 1
    return f"experiment-{number}"
