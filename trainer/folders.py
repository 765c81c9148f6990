"""Folders that appear complete or not at all, or are removed with their process, and the end of an unbounded file."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK = "worker.lock"


@contextmanager
def built_beside(target: Path) -> Iterator[Path]:
    """A temporary sibling that becomes `target` by one rename at the end; nothing stays behind after a failure."""
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    folder.chmod(0o755)
    try:
        yield folder
        if target.exists():  # an earlier, incomplete copy, or an empty folder
            shutil.rmtree(target)
        os.replace(folder, target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def end_of(file: Path, most_bytes: int) -> str:
    """The last bytes of a log as text, however long it is. Raises OSError."""
    with file.open("rb") as log:
        log.seek(max(0, file.stat().st_size - most_bytes))
        return log.read(most_bytes).decode("utf-8", "replace")


@contextmanager
def own_folder(among: Path, name: str) -> Iterator[Path]:
    """A folder of this process's own, for the time of the block. Those of processes that have died are removed."""
    among.mkdir(parents=True, exist_ok=True, mode=0o700)
    for left in among.glob("[!.]*"):
        _remove_if_left(left)
    folder, beside = among / name, among / f".{name}"
    beside.mkdir(mode=0o700)
    with (beside / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        beside.rename(folder)  # whoever finds it finds it locked
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _remove_if_left(folder: Path) -> None:
    """A living process holds the lock in its folder."""
    try:
        with (folder / LOCK).open("r") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
    except OSError:  # it lives
        return
