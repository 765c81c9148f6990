"""Folders that appear complete or not at all, and the end of a file that nobody bounds."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
