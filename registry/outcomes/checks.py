"""What each adapter wants to have found in its answers, in its row."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from registry.adapters.rows import Adapter
from registry.adapters.version_rows import require_adapter
from registry.db import Database
from registry.errors import Conflict
from registry.experiments.rows import Experiment
from registry.names import AdapterRef
from registry.outcomes.forms import AnswerChecks
from registry.tenants.actions import record_action


class AdapterChecks:
    """Those of all adapters."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def get(self, ref: AdapterRef) -> AnswerChecks | None:
        """What an adapter wants; `None`: nothing. Raises `NotFound`."""
        with self._db.read() as session:
            return AnswerChecks.of(require_adapter(session, ref).answer_checks)

    def set(self, ref: AdapterRef, checks: AnswerChecks | None, *, actor: str) -> None:
        """From the next request on; `None`: nothing any more. Raises `NotFound`, `InvalidInput`; and
        `Conflict` while an experiment runs, whose answers would be held to one form now and to another one then.
        """
        document = None if checks is None else checks.checked().document
        with self._db.write() as session:
            adapter = session.get_one(Adapter, require_adapter(session, ref).id, with_for_update=True)
            before = AnswerChecks.of(adapter.answer_checks) or AnswerChecks()
            if before.declared != (checks or AnswerChecks()).declared:
                _refuse_during_experiments(session, adapter)
            adapter.answer_checks = document
            said = {} if document is None else {"share": document["share"], "digest": _digest(document)}
            record_action(session, actor, "metrics.set", ref.tenant, ref.adapter_name, **said)


def _refuse_during_experiments(session: Session, adapter: Adapter) -> None:
    goes_on = Experiment.started_at_ms.is_not(None) & Experiment.ended_at_ms.is_(None)
    running = select(Experiment.name).where(Experiment.adapter_id == adapter.id, goes_on)
    if (name := session.scalars(running.limit(1)).first()) is not None:
        raise Conflict(
            f"the form of answers of {adapter.tenant}/{adapter.name} cannot change while experiment {name} runs; "
            "stop it first",
            param="pattern",
        )


def _digest(document: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:16]
