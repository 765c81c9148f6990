"""The archives of attempts: which there are, and what is done with them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from sqlalchemy import func, select

from registry.archive.infos import ArchiveInfo, infos
from registry.archive.rows import UsageArchive
from registry.days import DAY_MS
from registry.db import Database, now_ms
from registry.errors import InvalidInput, NotFound, RegistryError
from registry.storage.blobs import BlobStore

LEAST_DAYS = 31
"""Younger attempts stay: lengths of answers are counted over 30 days, experiments and reconciling read rows too."""
PART = re.compile(r"\d{4}-\d\d(-\d\d)?")
"""A month or a day."""
Tell = Callable[[int, int], None]
"""Of so many pieces of work, how many are done and there are."""


class UsageArchives:
    """Of one installation. Every method blocks."""

    def __init__(self, db: Database, blobs: BlobStore) -> None:
        self._db = db
        self._blobs = blobs

    def all(self) -> list[ArchiveInfo]:
        """Every one, the oldest day first."""
        with self._db.read() as session:
            return [ArchiveInfo(**found) for found in session.execute(infos()).mappings()]

    def named(self, which: str) -> list[ArchiveInfo]:
        """The archive of this name, or those of a month or a day, `YYYY-MM` or `YYYY-MM-DD`. Raises `NotFound`."""
        known = self.all()
        found = [one for one in known if which in (one.name, one.name.rpartition("/")[2])]
        if PART.fullmatch(which):
            found = [one for one in known if one.date.startswith(which)]
        if not found:
            dates = sorted({one.date for one in known})
            there = f"there are archives of {dates[0]} to {dates[-1]}" if dates else "nothing is archived"
            raise NotFound(
                f"{which[:120]!r} is no archive, and no month or day (YYYY-MM, YYYY-MM-DD) that has one; {there}. "
                "`switchyard ledger archives` shows them",
                param="archive",
            )
        return found

    def attempts_before(self, before_ms: int) -> list[tuple[str, int]]:
        """Days, `YYYY-MM-DD`, and how many attempts of each would be archived."""
        from registry.archive.archiving import Archiver

        return [(one.date, one.attempts) for one in Archiver(self._db, self._blobs).days(before_ms)]

    def archive(self, before_ms: int, tell: Tell = lambda done, of: None) -> Iterator[ArchiveInfo]:
        """Move attempts of whole days before an instant to files, a file after the other, and give what is recorded.

        Raises `NotArchived`, `StorageFailed`, `InvalidInput` (no DuckDB); what was recorded before stays so.
        """
        from registry.archive.archiving import Archiver

        archiver = Archiver(self._db, self._blobs)
        days = archiver.days(before_ms)
        done, of = 0, sum(one.attempts for one in days)
        tell(done, of)
        for day in days:
            for info in archiver.archive(day.day):
                done += info.attempts
                tell(done, of)
                yield info

    def restore(self, archives: list[ArchiveInfo], tell: Tell = lambda done, of: None) -> list[ArchiveInfo]:
        """Bring attempts back to the table; those archives of which they were not there already.

        Raises `NotFound`, `CorruptBlob`, `StorageFailed`, `InvalidInput` (no DuckDB); what was brought back stays.
        """
        from registry.archive.restoring import restore

        brought = []
        for number, one in enumerate(archives):
            tell(number, len(archives))
            if one.restored_at_ms is None and restore(self._db, self._blobs, one.name, one.digest):
                brought.append(one)
        return brought

    def verify(self, tell: Tell = lambda done, of: None) -> list[str]:
        """What is wrong with the files of archives that are not brought back, a sentence each. Every one is read:
        whether its attempts, sums by day and segments are what was recorded of them.
        """
        from registry.archive.verifying import fault_in

        known = [one for one in self.all() if one.restored_at_ms is None]
        faults: list[str] = []
        for number, one in enumerate(known):
            tell(number, len(known))
            try:
                fault = fault_in(self._db, self._blobs, one)
            except InvalidInput as error:
                return [*faults, f"{len(known) - number} archives cannot be read here: {error.message}"]
            except RegistryError as error:
                fault = error.message
            if fault is not None:
                faults.append(f"attempts of {one.date} cannot be opened: {fault}")
        return faults

    def until_ms(self) -> int | None:
        """The first instant behind every attempt that is in an archive alone; `None`: none is."""
        query = select(func.max(UsageArchive.last_ms)).where(UsageArchive.restored_at_ms.is_(None))
        with self._db.read() as session:
            last_ms = session.scalar(query)
        return None if last_ms is None else last_ms + 1


def before_of(days: int) -> int:
    """The instant so many days ago, for `archive`. Raises `InvalidInput` for fewer than `LEAST_DAYS`."""
    if days < LEAST_DAYS:
        raise InvalidInput(
            f"older_than is {days} days; the least is {LEAST_DAYS}, as the last month is read row by row",
            param="older_than",
        )
    return now_ms() - days * DAY_MS
