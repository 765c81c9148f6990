"""Checkpoints in the blob store: one object each, from which any worker can go on."""

from __future__ import annotations

import hashlib
import shutil
import tarfile
from pathlib import Path
from secrets import token_hex

from registry.service import Registry
from registry.storage.blobs import BlobStore
from registry.training.jobs import STATES_FOLDER, NoSuchJob

SWEPT_AT_ONCE = 100


class TornState(Exception):
    """What is stored of a checkpoint is not what was written."""


def put_state(blobs: BlobStore, job: str, step: int, folder: Path, scratch: Path) -> str:
    """Store the checkpoint in a folder; the name of its object. Raises `StorageFailed`, `OSError`."""
    packed = scratch / f"state-{token_hex(4)}.tar"
    try:
        with tarfile.open(packed, "w") as archive:
            archive.add(folder, arcname=".")
        with packed.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        name = (
            f"{STATES_FOLDER}/{job}/{step}-{digest}-{token_hex(4)}.tar"  # of two workers' the same one may be removed
        )
        blobs.write_file(name, packed)
    finally:
        packed.unlink(missing_ok=True)
    return name


def get_state(blobs: BlobStore, name: str, target: Path, scratch: Path) -> None:
    """Lay a checkpoint out in a new folder. Raises `NotFound`, `TornState`, `StorageFailed`, `OSError`."""
    packed = scratch / f"state-{token_hex(4)}.tar"
    try:
        blobs.read_file(name, packed)
        with packed.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest not in name:
            raise TornState(name)
        shutil.rmtree(target, ignore_errors=True)
        with tarfile.open(packed) as archive:
            archive.extractall(target, filter="data")
    finally:
        packed.unlink(missing_ok=True)


def sweep_states(registry: Registry, worker: str) -> int:
    """Remove what no job goes on from any more, and all of jobs that have ended; how many were removed.

    Raises `StorageFailed`; what was not removed then is swept next time.
    """
    spent = registry.training.spent_states(SWEPT_AT_ONCE, worker)
    if not spent:
        return 0
    registry.blobs.remove(spent)
    registry.training.forget_states(spent)
    for job in {name.split("/")[1] for name in spent}:
        if _has_ended(registry, job):  # a worker that died between an object and its row has left one without the other
            registry.blobs.remove(registry.blobs.names_below(f"{STATES_FOLDER}/{job}"))
    return len(spent)


def _has_ended(registry: Registry, job: str) -> bool:
    try:
        return registry.training.get(None, job).has_ended
    except NoSuchJob:
        return True
