"""Write the journal of a busy worker that is killed: `python -m tests.bars.support.big_journal FOLDER ATTEMPTS`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from gateway.cost.journal import Journal
from tests.registry.usage import usage_row

RUNNING = 100
"""Attempts that have no end."""
TEND_EVERY = 10_000
MANY_BYTES = 1 << 40
"""None of it is shipped: the usual bound would stop it at 200,000 attempts."""


def main() -> None:
    """Never returns: the process ends without closing anything."""
    journal = Journal(Path(sys.argv[1]), "killed", max_unshipped_bytes=MANY_BYTES)
    attempts = int(sys.argv[2])
    for number in range(attempts):
        row = usage_row(f"{os.urandom(16).hex()}-0", version_digest=f"sha256:{0:064x}", usage_source="engine")
        journal.intent({**row, "outcome": "lost"})
        if number >= RUNNING:
            journal.settle(row)
        if number % TEND_EVERY == 0:
            journal.tend()
    os._exit(0)


if __name__ == "__main__":
    main()
