"""Write the journal of a busy worker that is killed: `python -m tests.bars.support.big_journal FOLDER ATTEMPTS`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from gateway.journal.journal import Journal
from gateway.journal.rows import begun, ended, kind_of
from registry.ledger.usage_record import UsageEnd, UsageKind

RUNNING = 100
"""Attempts that have no end."""
TEND_EVERY = 10_000
STARTED_MS = 1_767_225_600_000
TENANTS = 1_000


def main() -> None:
    """Never returns: the process ends without closing anything."""
    journal = Journal(Path(sys.argv[1]), "killed")
    attempts = int(sys.argv[2])
    kinds = [
        kind_of(
            UsageKind(
                f"tenant-{number}",
                f"key-{number}",
                "triage",
                f"tenant-{number}/triage@1.0",
                "chat",
                "http://127.0.0.1:8001",
                version_digest=f"sha256:{number:064x}",
                bounded_by_us=False,
            )
        )
        for number in range(TENANTS)
    ]
    for number in range(attempts):
        kind = kinds[number % TENANTS]
        attempt_id = f"{os.urandom(16).hex()}-0".encode()
        journal.intent(attempt_id, kind, begun(STARTED_MS, None))
        if number >= RUNNING:
            end = UsageEnd(STARTED_MS, STARTED_MS + 1_000, "ok", 10, 0, 5, "engine", 123_456, 42.1)
            journal.settle(attempt_id, kind, ended(end))
        if number % TEND_EVERY == 0:
            journal.tend()
    os._exit(0)


if __name__ == "__main__":
    main()
