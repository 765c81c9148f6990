"""Base models on a node: where the worker has them, if the node sees that folder, else copies that are kept here."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from typing import IO

from registry.bases.files import find_files
from registry.bases.model import describe_base
from registry.errors import InvalidInput
from trainer.errors import BaseModelError

MOST_KEPT = 4
"""Copies on a node; of more the one that was not used for longest is removed, but none that a job uses."""
SMALL_FILES = (".json", ".jinja", ".txt", ".model")
"""Endings of what lies beside the weights and is copied too."""
CACHE, USED = "digests.json", "used"


def files_of(base: Path) -> list[tuple[str, Path]]:
    """What a node needs of a base, by names relative to its folder. Raises `InvalidInput` for a folder without one."""
    folder = base.resolve()
    beside = (file for file in folder.iterdir() if file.suffix in SMALL_FILES and file.is_file())
    return [(file.relative_to(folder).as_posix(), file) for file in sorted({*find_files(folder), *beside})]


class NodeBases:
    """The copies of a node, by digest, each complete by one rename. One that is used is locked."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        self._used: IO[bytes] | None = None

    def find(self, digest: str, elsewhere: Path) -> Path | None:
        """A folder that holds the base of this digest, by its bytes: the worker's own, or a copy that is kept here."""
        if self._digest(elsewhere) == digest:
            return elsewhere
        copy = self._copy(digest) / elsewhere.name
        return copy if self._use(digest) and self._digest(copy) == digest else None

    def incoming(self) -> Path:
        """A new folder to copy a base into."""
        return Path(tempfile.mkdtemp(prefix=".incoming-", dir=self._folder))

    def keep(self, digest: str, incoming: Path, name: str) -> Path:
        """What was copied is complete, in a folder of that name. Raises BaseModelError when it is another base."""
        try:
            if self._digest(incoming / name) != digest:
                raise BaseModelError(f"what was copied is not the base {digest}; order the job again")
            (incoming / USED).touch()
            self._put(digest, incoming)
        finally:
            shutil.rmtree(incoming, ignore_errors=True)
        if not self._use(digest):
            raise BaseModelError(f"the copy of the base {digest} was removed at once; order the job again")
        self._make_room()
        return self._copy(digest) / name

    def close(self) -> None:
        """The base is used no more."""
        if self._used is not None:
            self._used.close()

    def _put(self, digest: str, incoming: Path) -> None:
        """In its place, and in that of one that is not what it should be; of two that are good the first one stays."""
        try:
            os.rename(incoming, self._copy(digest))
        except OSError:
            names = [folder for folder in self._copy(digest).iterdir() if folder.is_dir()]
            if not any(self._digest(folder) == digest for folder in names):
                shutil.rmtree(self._copy(digest))
                os.rename(incoming, self._copy(digest))

    def _copy(self, digest: str) -> Path:
        return self._folder / digest.replace(":", "-")

    def _digest(self, folder: Path) -> str | None:
        try:
            return describe_base(folder, self._folder / CACHE).digest
        except InvalidInput:
            return None

    def _use(self, digest: str) -> bool:
        """Until `close` nobody removes the copy."""
        try:
            used = (self._copy(digest) / USED).open("ab")
        except OSError:
            return False
        fcntl.flock(used, fcntl.LOCK_SH)
        os.utime(used.fileno())
        self.close()
        self._used = used
        return (self._copy(digest) / USED).exists()

    def _make_room(self) -> None:
        copies = [folder for folder in self._folder.glob("[!.]*") if (folder / USED).exists()]
        for spare in sorted(copies, key=lambda folder: (folder / USED).stat().st_mtime)[:-MOST_KEPT]:
            with (spare / USED).open("ab") as used:
                try:
                    fcntl.flock(used, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:  # a job trains on it
                    continue
                shutil.rmtree(spare, ignore_errors=True)
