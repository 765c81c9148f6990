"""What is in the tables of a tenant's own, and goes with it: rows of a table, a batch at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import ColumnElement, Select, Table, delete, func, select, tuple_
from sqlalchemy.orm import Session

from registry.adapters.rows import Adapter
from registry.experiments.rows import FEED, Experiment, ExperimentUnit
from registry.ledger.rows import CostJump
from registry.limits.rows import BudgetWarning
from registry.outcomes.rows import Outcome, OutcomeAmount
from registry.prices.rows import RetirementNotice
from registry.responses.rows import (
    BackgroundRun,
    Conversation,
    ConversationItem,
    ResponseEvents,
    StoredAmount,
    StoredResponse,
)
from registry.shadows.rows import PairVerdict, Shadow, ShadowPair
from registry.splits.rows import Split, SplitUnits
from registry.tenant_files.rows import TenantFile, Upload
from registry.training.rows import TrainingEvent, TrainingJobRow, TrainingMetadata
from registry.votes.rows import Ballot, BallotPair, PairVote
from registry.webhooks.rows import WebhookDelivery

Condition = Callable[[str], ColumnElement[bool]]
"""Which rows are a tenant's."""


@dataclass(frozen=True, slots=True)
class Content:
    """Rows of one table. `what` they are, as people are told; "" for what belongs to others that they are told of."""

    what: str
    table: Table
    of: Condition

    def count(self, session: Session, tenant: str) -> int:
        """How many there are."""
        return session.execute(select(func.count()).select_from(self.table).where(self.of(tenant))).scalar_one()

    def some(self, tenant: str, most: int) -> Select[Any]:
        """The primary keys of at most so many."""
        return select(*self.table.primary_key).where(self.of(tenant)).limit(most)

    def delete(self, session: Session, tenant: str, most: int) -> int:
        """Delete at most so many; how many that were. The tenant's row is locked, so nobody else does this now."""
        keys = session.execute(self.some(tenant, most)).all()
        if keys:
            columns = list(self.table.primary_key)
            ids = [tuple(key) for key in keys]
            these = columns[0].in_([one for (one,) in ids]) if len(columns) == 1 else tuple_(*columns).in_(ids)
            session.execute(delete(self.table).where(these))
        return len(keys)


def _rows(what: str, row: Any, of: Condition | None = None) -> Content:
    table = row if isinstance(row, Table) else cast("Table", row.__table__)
    return Content(what, table, of or (lambda tenant: table.c.tenant == tenant))


def _adapters(tenant: str) -> Select[int]:
    return select(Adapter.id).where(Adapter.tenant == tenant)


def _experiments(tenant: str) -> Select[int]:
    return select(Experiment.id).where(Experiment.adapter_id.in_(_adapters(tenant)))


def _jobs(tenant: str) -> Select[int]:
    return select(TrainingJobRow.number).where(TrainingJobRow.tenant == tenant)


def _of_shadows(tenant: str) -> ColumnElement[bool]:
    return PairVerdict.shadow_id.in_(select(Shadow.id).where(Shadow.adapter_id.in_(_adapters(tenant))))


def _of_splits(tenant: str) -> ColumnElement[bool]:
    return SplitUnits.split_id.in_(select(Split.id).where(Split.adapter_id.in_(_adapters(tenant))))


def _scopes(tenant: str) -> ColumnElement[bool]:
    """Keys' warnings stay: they have figures and the id of a key that is gone, as usage has."""
    return (BudgetWarning.scope == f"tenant:{tenant}") | BudgetWarning.scope.startswith(f"adapter:{tenant}/")


CONTENTS = (
    _rows("items of conversations", ConversationItem),
    _rows("conversations", Conversation),
    _rows("", BackgroundRun),
    _rows("", ResponseEvents),
    _rows("stored responses", StoredResponse),
    _rows("", StoredAmount),
    _rows("outcomes and feedback", Outcome),
    _rows("", OutcomeAmount),
    _rows("votes", PairVote),
    _rows("pairs to vote on", BallotPair),
    _rows("", Ballot),
    _rows("", PairVerdict, _of_shadows),
    _rows("shadow pairs", ShadowPair),
    _rows("webhook deliveries", WebhookDelivery),
    _rows("", RetirementNotice),
    _rows("", CostJump),
    _rows("", FEED, lambda tenant: FEED.c.experiment_id.in_(_experiments(tenant))),
    _rows("units of experiments", ExperimentUnit, lambda of: ExperimentUnit.experiment_id.in_(_experiments(of))),
    _rows("", SplitUnits, _of_splits),
    _rows("", BudgetWarning, _scopes),
    _rows("events of jobs", TrainingEvent, lambda tenant: TrainingEvent.job_number.in_(_jobs(tenant))),
    _rows("", TrainingMetadata, lambda tenant: TrainingMetadata.job_number.in_(_jobs(tenant))),
    _rows("uploads", Upload),
)
"""In the order in which they go: what belongs to others before them. What has bytes elsewhere is not among these."""
FILES = _rows("files", TenantFile)
JOBS = _rows("training jobs", TrainingJobRow)
