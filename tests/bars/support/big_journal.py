"""Write the journal of a busy worker that is killed: `python -m tests.bars.support.big_journal FOLDER ATTEMPTS`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from gateway.handoffs import Usage
from gateway.journal.journal import Journal
from gateway.journal.rows import begun, ended, kind_of

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
            f"tenant-{number}",
            f"key-{number}",
            "triage",
            f"tenant-{number}/triage@1.0",
            f"sha256:{number:064x}",
            None,
            None,
            None,
            "chat",
            None,
            False,
            "http://127.0.0.1:8001",
        )
        for number in range(TENANTS)
    ]
    for number in range(attempts):
        kind = kinds[number % TENANTS]
        attempt_id = f"{os.urandom(16).hex()}-0".encode()
        journal.intent(attempt_id, kind, begun(STARTED_MS))
        if number >= RUNNING:
            used = Usage(10, 0, 5, "engine")
            journal.settle(attempt_id, kind, ended(STARTED_MS, STARTED_MS + 1_000, "ok", used, 123_456, 42.1))
        if number % TEND_EVERY == 0:
            journal.tend()
    os._exit(0)


if __name__ == "__main__":
    main()
