"""One controller for one state folder: two would load and unload behind each other's back."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from registry.errors import Conflict


@contextmanager
def only_controller(state_dir: Path) -> Iterator[None]:
    """Hold the controller's lock; the kernel gives it back however the process ends. Raises `Conflict` when taken."""
    state_dir.mkdir(parents=True, exist_ok=True)
    fd = os.open(state_dir / "controller.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(
                f"another gateway runs on {state_dir.absolute()}; "
                "stop it, or give this one a SWITCHYARD_STATE_DIR of its own"
            ) from None
        yield
    finally:
        os.close(fd)
