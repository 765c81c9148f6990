"""What is known of an archive without its file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, select

from registry.archive.rows import UsageArchive
from registry.days import date_of


@dataclass(frozen=True, slots=True)
class ArchiveInfo:
    """A file of attempts that began on one UTC day; instants are milliseconds since the epoch."""

    name: str
    """In the object storage."""
    day: int
    digest: str
    size_bytes: int
    attempts: int
    corrections: int
    first_ms: int
    """Begin of its first attempt."""
    last_ms: int
    """Begin of its last one."""
    archived_at_ms: int
    restored_at_ms: int | None
    """When its attempts were brought back to the table; `None`: they are in the file alone."""

    @property
    def date(self) -> str:
        """`YYYY-MM-DD` of its day."""
        return date_of(self.day)


FIELDS = tuple(ArchiveInfo.__dataclass_fields__)


def infos() -> Select[Any]:
    """The columns of an `ArchiveInfo`, which are much less than the whole row."""
    return select(*(getattr(UsageArchive, name) for name in FIELDS)).order_by(UsageArchive.name)
