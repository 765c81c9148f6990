"""What each adapter wants to have found in its answers, in its row."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from registry.adapters.rows import Adapter
from registry.adapters.version_rows import require_adapter
from registry.db import Database
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
        """From the next request on; `None`: nothing any more. Raises `NotFound`, `InvalidInput`."""
        document = None if checks is None else checks.checked().document
        with self._db.write() as session:
            adapter = session.get_one(Adapter, require_adapter(session, ref).id, with_for_update=True)
            adapter.answer_checks = document
            said = {} if document is None else {"share": document["share"], "digest": _digest(document)}
            record_action(session, actor, "metrics.set", ref.tenant, ref.adapter_name, **said)


def _digest(document: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:16]
