"""Programs that the publish tests run as processes of their own: publishers in parallel, and one that keeps dying.

python -m tests.registry.publishing many STATE GO FOLDER…    publish every folder from a thread each, after GO is there
python -m tests.registry.publishing dying STATE FOLDER       publish one folder, dying one step later each time
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.orm import Session

import registry.adapters.inspect  # noqa: F401  publishing imports it late; here every child would do so anew
from registry.service import Registry
from registry.settings import RegistrySettings
from registry.storage.blobs import BlobStore

KILLED = 9
MOST_STEPS = 100


def publish(registry: Registry, folder: Path) -> str:
    published = registry.adapters.publish(tenant="acme", adapter="triage", folder=folder, base="tiny", lineage={})
    return published.version.name


def many(state: Path, go: Path, folders: list[Path]) -> None:
    with Registry.open(RegistrySettings(state_dir=state)) as registry, ThreadPoolExecutor(len(folders)) as pool:
        deadline = time.monotonic() + 30
        while not go.exists() and time.monotonic() < deadline:
            time.sleep(0.005)
        print(json.dumps(list(pool.map(lambda folder: publish(registry, folder), folders))))


class Countdown:
    """Ends the process, as kill -9 would, at the step of this number."""

    def __init__(self, step: int) -> None:
        self._left = step

    def step(self, *_: Any, **__: Any) -> None:
        if self._left == 0:
            os._exit(KILLED)
        self._left -= 1


class DyingBlobStore(BlobStore):
    """Counts a step before and after every write."""

    countdown: Countdown

    def _create(self, path: str, data: bytes) -> None:
        self.countdown.step()
        super()._create(path, data)
        self.countdown.step()


def dying(state: Path, folder: Path) -> None:
    """Print one line for each death: the exit status, and what the database held afterwards."""
    with Registry.open(RegistrySettings(state_dir=state)) as registry:
        registry.tenants.all()  # imports and maps once what every child would otherwise
    for step in range(MOST_STEPS):
        child = os.fork()
        if child == 0:
            publish_dying_at(step, state, folder)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(json.dumps({"status": status, **look(state)}))
        if status != KILLED:
            return


def publish_dying_at(step: int, state: Path, folder: Path) -> None:
    countdown = Countdown(step)
    registry = Registry(RegistrySettings(state_dir=state))
    blobs = DyingBlobStore((state / "blobs").as_uri())
    blobs.countdown = countdown
    registry.blobs = blobs
    event.listen(Engine, "before_cursor_execute", countdown.step)
    event.listen(Engine, "commit", countdown.step)
    event.listen(Session, "after_commit", countdown.step)
    publish(registry, folder)


def look(state: Path) -> dict[str, Any]:
    connection = sqlite3.connect(state / "registry.db")
    try:
        rows = {
            table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("adapters", "versions")
        }
        revision = connection.execute("SELECT value FROM catalog_revision").fetchone()[0]
        sound = connection.execute("PRAGMA integrity_check").fetchone()[0]
        return {**rows, "revision": revision, "integrity": sound}
    finally:
        connection.close()


if __name__ == "__main__":
    mode, state_folder, *rest = sys.argv[1:]
    if mode == "many":
        many(Path(state_folder), Path(rest[0]), [Path(text) for text in rest[1:]])
    else:
        dying(Path(state_folder), Path(rest[0]))
