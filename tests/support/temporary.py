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


ROOT = "PYTEST_DEBUG_TEMPROOT"
"""The variable that tells pytest where to keep them."""


def pytest_configure() -> None:
    """Before pytest chooses the root of its temporary folders; processes that share tests out inherit it."""
    if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= ROOM_BYTES:
        os.environ.setdefault(ROOT, str(MEMORY))


def files_root() -> str:
    """The folder in which tests make folders of their own; its path is short."""
    return os.environ.get(ROOT, "/tmp")
