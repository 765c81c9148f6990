"""What the ledger keeps of each segment of a usage journal, so that its rows can be proven complete ever after."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from itertools import groupby
from typing import Any, NamedTuple

import orjson
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from registry.archive.rows import UsageArchive
from registry.db import Database
from registry.ledger.rows import USAGE, UsageSegment
from registry.ledger.usage_days import wrong_days
from registry.ledger.usage_record import COLUMNS, TOKENS, Values
from registry.names import SYSTEM
from registry.upsert import upsert


class Link(NamedTuple):
    """A segment's place in its writer's chain; a segment that is written to has no digests yet."""

    writer: str
    sequence: int
    segment: str
    digest: str | None
    previous_digest: str | None


@dataclass(frozen=True, slots=True)
class SegmentEntry:
    """A segment that was shipped whole."""

    segment: str
    """Its name, which its usage rows carry."""
    writer: str
    sequence: int
    """From 1, without a gap, for each writer."""
    records: int
    intents: int
    attempts: int
    """Settle records: as many usage rows carry the segment's name."""
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    digest: str
    """Of the checksums of its records."""
    previous_digest: str
    """Of the writer's segment before it; empty for the first."""
    last: bool
    """Whether the writer ended with it; then as many attempts ended in its segments as began."""
    faults: int
    """What was wrong with it on disk, such as lines that were altered."""
    rows_digest: str = ""
    """Of its usage rows (`RowsDigest`); empty in entries of earlier versions, which had none."""

    @property
    def link(self) -> Link:
        """Its place in the chain."""
        return Link(self.writer, self.sequence, self.segment, self.digest, self.previous_digest)


_BY_NAME = tuple(sorted((column.name, at) for at, column in enumerate(COLUMNS)))
"""Names of columns in the alphabet's order, and where they are: a new column does not change what others are made to.
"""


class RowsDigest:
    """A sum of one digest for each row, so that their order does not matter: whatever is changed in a row shows."""

    def __init__(self) -> None:
        self._sum = 0

    def add(self, row: Values) -> None:
        """One usage row; a column without a value counts as one that is not there yet."""
        known = {name: value for name, at in _BY_NAME if (value := row[at]) is not None}
        made = blake2b(orjson.dumps(known), digest_size=8).digest()
        self._sum = (self._sum + int.from_bytes(made)) % 2**64

    def add_sum(self, digest: str) -> None:
        """All rows of which another one was made."""
        self._sum = (self._sum + int(digest, 16)) % 2**64

    def __str__(self) -> str:
        return f"{self._sum:016x}"


ROWS_AT_ONCE = 5_000


def insert_entries(db: Database, entries: Sequence[SegmentEntry]) -> None:
    """Store entries, all or none; those stored before are left as they are."""
    if not entries:
        return
    with db.write() as session:
        upsert(session, UsageSegment, [asdict(entry) for entry in entries])


def audit_rows(db: Database, on_disk: Sequence[Link]) -> list[str]:
    """What is wrong with usage rows and segment entries, a sentence each; empty when all is right.

    `on_disk` are segments whose files are there; list them before calling this, because they may go meanwhile.
    """
    with db.read() as session:
        entries = [
            SegmentEntry(**{name: getattr(row, name) for name in SegmentEntry.__dataclass_fields__})
            for row in session.scalars(select(UsageSegment))
        ]
        archived = list(_archived(session))
        rows = _rows_by_segment(session, archived)
        changed = list(_changed(session, entries, archived))
        strangers = list(_without_segment(session, archived))
        summed_wrong = list(_summed_wrong(session))
    links = {(one.writer, one.sequence): one for one in on_disk}
    links |= {(one.writer, one.sequence): one.link for one in entries}
    found = [
        *_against_rows(entries, rows),
        *changed,
        *strangers,
        *summed_wrong,
        *_chain(sorted(links.values(), key=lambda one: one[:2])),
        *_balance(entries, {one.writer for one in on_disk}),
    ]
    known = {one.segment for one in links.values()}
    found += [
        f"segment {name}: the ledger has {rows[name][0]} attempts of it, and the segment is nowhere"
        for name in sorted(rows.keys() - known)
    ]
    return found


Archived = Mapping[str, Sequence[Any]]
"""Of each segment, what an archive has of it: see `UsageArchive.segments`."""


def _archived(session: Session) -> Iterator[Archived]:
    yield from session.scalars(select(UsageArchive.segments).where(UsageArchive.restored_at_ms.is_(None)))


def _rows_by_segment(session: Session, archived: Sequence[Archived]) -> dict[str, tuple[int, ...]]:
    """Attempts and sums of tokens, in the table and in archives."""
    row = USAGE.c
    sums = (func.coalesce(func.sum(row[name]), 0) for name in TOKENS)
    query = select(row.segment, func.count(), *sums).where(row.segment.is_not(None)).group_by(row.segment)
    found = {name: tuple(figures) for name, *figures in session.execute(query)}
    for name, figures in (item for of_archive in archived for item in of_archive.items() if item[0]):
        known = found.get(name, (0,) * (1 + len(TOKENS)))
        found[name] = tuple(a + b for a, b in zip(known, figures[:-1], strict=True))
    return found


def _against_rows(entries: Sequence[SegmentEntry], rows: Mapping[str, tuple[int, ...]]) -> Iterator[str]:
    for entry in entries:
        said = (entry.attempts, *(getattr(entry, name) for name in TOKENS))
        found = rows.get(entry.segment, (0,) * len(said))
        for what, expected, stored in zip(("attempts", *TOKENS), said, found, strict=True):
            if expected != stored:
                yield f"segment {entry.segment}: the journal had {expected} {what}, the ledger has {stored}"
        if entry.faults:
            yield f"segment {entry.segment}: {entry.faults} faults were found when it was shipped"


def _changed(session: Session, entries: Sequence[SegmentEntry], archived: Sequence[Archived]) -> Iterator[str]:
    """Rows that are not as the journal had them. What archives have of a segment was digested when it was recorded."""
    proven = {entry.segment: entry.rows_digest for entry in entries if entry.rows_digest}
    found = {segment: RowsDigest() for segment in proven}
    query = select(USAGE).where(USAGE.c.segment.is_not(None)).execution_options(yield_per=ROWS_AT_ONCE)
    for row in session.execute(query):
        if (digest := found.get(row.segment)) is not None:
            digest.add(tuple(row))
    for name, figures in (item for of_archive in archived for item in of_archive.items()):
        if (digest := found.get(name)) is not None:
            digest.add_sum(figures[-1])
    for segment, digest in found.items():
        if str(digest) != proven[segment]:
            yield f"segment {segment}: its usage rows are not as the journal had them"


def _summed_wrong(session: Session) -> Iterator[str]:
    for day in wrong_days(session):
        yield f"{day}: usage by day is not the sum of its attempts; `switchyard ledger resum` makes it so"


def _without_segment(session: Session, archived: Sequence[Archived]) -> Iterator[str]:
    """Every tenant's rows come by a journal; only what the controller asks engines itself does not."""
    query = select(func.count()).where(USAGE.c.segment.is_(None), USAGE.c.tenant != SYSTEM)
    count = session.scalars(query).one() + sum(of_archive[""][0] for of_archive in archived if "" in of_archive)
    if count:
        yield f"{count} attempts of tenants came by no journal"


def _chain(links: Sequence[Link]) -> Iterator[str]:
    for _, found in groupby(links, key=lambda one: one.writer):
        sequence, digest = 0, ""
        for link in found:
            for missing in range(sequence + 1, link.sequence):
                yield f"segment {missing} of writer {link.writer} is missing"
            follows = link.sequence == sequence + 1
            if follows and link.previous_digest is not None and link.previous_digest != digest:
                yield f"segment {link.segment}: it was not written after the segment that stands before it"
            sequence, digest = link.sequence, link.digest or ""


def _balance(entries: Sequence[SegmentEntry], on_disk: Collection[str]) -> Iterator[str]:
    """Writers that are not on disk any more have ended, and as many of their attempts ended as began."""
    newest = {entry.writer: entry for entry in sorted(entries, key=lambda entry: entry.sequence)}
    for writer in sorted(newest.keys() - set(on_disk)):
        running = sum(entry.intents - entry.attempts for entry in entries if entry.writer == writer)
        if not newest[writer].last:
            yield f"segment {newest[writer].sequence + 1} of writer {writer} is missing"
        elif running:
            yield f"writer {writer}: {running} more attempts began than ended"
