"""Whether a file of attempts is what was recorded of it."""

from __future__ import annotations

from registry.archive.contents import contents_of, segments_of
from registry.archive.infos import ArchiveInfo
from registry.archive.reading import halves_of
from registry.archive.restoring import verified_bytes
from registry.archive.rows import UsageArchive
from registry.db import Database
from registry.storage.blobs import BlobStore


def fault_in(db: Database, blobs: BlobStore, archive: ArchiveInfo) -> str | None:
    """What is wrong with its file, if something is. Raises what `verified_bytes` raises, and `InvalidInput` without the
    extra.
    """
    with db.read() as session:
        record = session.get_one(UsageArchive, archive.name)
        halves = halves_of(session)
    stored = contents_of(verified_bytes(blobs, archive.name, archive.digest), halves)
    if (len(stored.rows), stored.corrected) != (record.attempts, record.corrections):
        return (
            f"{archive.name} has {len(stored.rows)} attempts and {stored.corrected} corrections, and it is recorded "
            f"with {record.attempts} and {record.corrections}"
        )
    if [{name: one[name] for name in said} for one, said in zip(stored.sums, record.sums, strict=False)] != record.sums:
        return f"the sums of {archive.name} are not those that are recorded of it"
    if segments_of(stored.rows) != record.segments:
        return f"the attempts of {archive.name} are not those of the journal's segments that are recorded of it"
    return None
