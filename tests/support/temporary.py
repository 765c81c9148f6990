"""Where tests keep their files: in memory, where the machine has room for them there.

Much of what tests wait for is a disk that makes sure of bytes which nobody reads after the test.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

MEMORY = Path("/dev/shm")
ROOM_BYTES = 6 << 30
"""Several times what a whole run keeps there."""


def pytest_configure() -> None:
    """Before pytest chooses the root of its temporary folders; processes that share tests out inherit it."""
    if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= ROOM_BYTES:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))
