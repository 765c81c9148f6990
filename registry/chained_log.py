"""A log in a table: appended to, chained by digests, never changed.

A line has a number, says something, and has a digest of that and of the digest of the line before it, so of all before
it. The lines up to one have a version, a letter, the number and 8 hex digits of the digest of the last of them, such as
`p57-1f0c9a3e`: what was worked out with a version is worked out again with it, whatever was added since.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Generic, Protocol, TypeVar, cast

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from registry.backends import number_in_order
from registry.errors import NotFound
from registry.storage.blobs import canonical_json, digest_of

_FORM = re.compile(r"([a-z])([0-9]{1,18})(?:-([0-9a-f]{8}))?")


class Line(Protocol):
    """A row of such a log, which has what it says in columns of the same names too."""

    seq: Any
    added_at_ms: Any
    digest: Any


Row = TypeVar("Row", bound=Line)
Said = TypeVar("Said")


@dataclass(frozen=True, slots=True)
class ChainedLog(Generic[Row, Said]):
    """One log, in the table of `row`; lines say what `said`, a dataclass, has."""

    row: type[Row]
    said: type[Said]
    letter: str
    """Versions begin with it."""
    name: str
    """For people: `price log`."""
    param: str
    """What a version is called where one is asked for."""
    order: int
    """Of `registry.backends.number_in_order`."""

    def lock(self, session: Session) -> None:
        """From here to the end of the transaction nobody else adds lines."""
        number_in_order(session, self.order)

    def append(self, session: Session, said: Said, at_ms: int) -> Row:
        """Write a line down; the log must be locked."""
        (line,) = self.append_all(session, (said,), at_ms)
        return line

    def append_all(self, session: Session, said: Sequence[Said], at_ms: int) -> list[Row]:
        """Write lines down at once, in this order; the log must be locked."""
        last = self.last(session)
        before, digest = (0, "") if last is None else (last.seq, last.digest)
        lines = []
        for seq, one in enumerate(said, before + 1):
            told = self._told(one)
            digest = digest_after(digest, seq, at_ms, told)
            lines.append(self.row(seq=seq, added_at_ms=at_ms, digest=digest, **told))  # type: ignore[call-arg]
        session.add_all(lines)
        session.flush()
        return lines

    def last(self, session: Session) -> Row | None:
        """The newest line."""
        return session.scalars(select(self.row).order_by(self._seq.desc()).limit(1)).first()

    def version(self, session: Session) -> str:
        """Of all lines that there are."""
        last = self.last(session)
        return self.nothing if last is None else self.version_of(last.seq, last.digest)

    @property
    def nothing(self) -> str:
        """The version of a log without lines."""
        return f"{self.letter}0"

    def version_of(self, seq: int, digest: str) -> str:
        """Of the lines up to the one with this number and digest."""
        return f"{self.letter}{seq}-{digest.removeprefix('sha256:')[:8]}"

    def seq_of(self, session: Session, version: str) -> int:
        """The last line of a version. Raises `NotFound` for one that this log never had."""
        form = _FORM.fullmatch(version)
        if version == self.nothing:
            return 0
        line = session.get(self.row, int(form[2])) if form and form[1] == self.letter else None
        if line is None or self.version_of(line.seq, line.digest) != version:
            raise NotFound(
                f"{self.param} is {version[:40]!r}, which this {self.name} never had; the newest is "
                f"{self.version(session)}, and a report names the one that it was made with",
                param=self.param,
            )
        return int(line.seq)

    def faults(self, session: Session) -> list[str]:
        """What is wrong with the log, a sentence each; empty when nobody has touched it."""
        faults: list[str] = []
        previous = ""
        for number, line in enumerate(session.scalars(select(self.row).order_by(self._seq)), 1):
            if line.seq != number:
                return [*faults, f"line {number} of the {self.name} is missing"]
            if digest_after(previous, line.seq, line.added_at_ms, self._told(line)) != line.digest:
                faults.append(f"line {number} of the {self.name} is not what was written: its digest is another one")
            previous = line.digest
        return faults

    def _told(self, of: Said | Row) -> dict[str, Any]:
        return {field.name: getattr(of, field.name) for field in fields(self.said)}  # type: ignore[arg-type]

    @property
    def _seq(self) -> ColumnElement[int]:
        return cast("ColumnElement[int]", self.row.seq)


def digest_after(previous: str, seq: int, at_ms: int, said: Mapping[str, Any]) -> str:
    """The digest of a line with all before it, whose last has `previous`."""
    return digest_of(canonical_json({**said, "seq": seq, "added_at_ms": at_ms, "previous": previous}))
