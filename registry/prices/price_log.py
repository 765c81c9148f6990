"""The log of baselines: appended to, chained by digests, never changed.

A line is a price of one component, or a fact (`status`, `substitute` …). The lines up to one have a version,
`p<seq>-<8 hex digits>` of the digest of the last of them, which is over all before it: what was worked out with
a version is worked out again with it, whatever was added since.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from registry.backends import PRICE_LOG_LOCK, number_in_order
from registry.errors import NotFound
from registry.prices.rows import BaselineLine
from registry.storage.blobs import canonical_json, digest_of

NOTHING = "p0"
"""The version of a log without lines."""
_VERSION = re.compile(r"p([0-9]{1,18})(?:-([0-9a-f]{8}))?")


@dataclass(frozen=True, slots=True)
class Said:
    """What a line says, before it has a place in the log. A price has `nano`; `None`, as a price, is that there is none
    from then on.
    """

    name: str
    field: str
    """A component, or a fact."""
    effective_from_ms: int
    source: str
    origin: str
    nano: int | None = None
    text: str | None = None
    retrieved_at_ms: int | None = None
    stated_from_ms: int | None = None
    correction: bool = False
    note: str = ""


def lock(session: Session) -> None:
    """From here to the end of the transaction nobody else adds lines."""
    number_in_order(session, PRICE_LOG_LOCK)


def append(session: Session, said: Said, at_ms: int) -> BaselineLine:
    """Write a line down; the log must be locked."""
    last = last_line(session)
    seq, previous = (1, "") if last is None else (last.seq + 1, last.digest)
    line = BaselineLine(
        seq=seq, added_at_ms=at_ms, digest=digest_after(previous, seq, at_ms, asdict(said)), **asdict(said)
    )
    session.add(line)
    session.flush()
    return line


def digest_after(previous: str, seq: int, at_ms: int, said: Mapping[str, Any]) -> str:
    """The digest of a line with all before it, whose last has `previous`."""
    return digest_of(canonical_json({**said, "seq": seq, "added_at_ms": at_ms, "previous": previous}))


def last_line(session: Session) -> BaselineLine | None:
    """The newest."""
    return session.scalars(select(BaselineLine).order_by(BaselineLine.seq.desc()).limit(1)).first()


def version_of(line: BaselineLine | None) -> str:
    """The version of the log that ends with a line."""
    return NOTHING if line is None else f"p{line.seq}-{line.digest.removeprefix('sha256:')[:8]}"


def seq_of(session: Session, version: str) -> int:
    """The last line of a version. Raises `NotFound` for one that this log never had."""
    form = _VERSION.fullmatch(version)
    if version == NOTHING:
        return 0
    line = session.get(BaselineLine, int(form[1])) if form else None
    if line is None or version_of(line) != version:
        newest = version_of(last_line(session))
        raise NotFound(
            f"price_version is {version[:40]!r}, which this price log never had; the newest is {newest}, "
            "and a report names the one that it was made with",
            param="price_version",
        )
    return line.seq


def faults_in(session: Session) -> list[str]:
    """What is wrong with the log, a sentence each; empty when nobody has touched it."""
    faults: list[str] = []
    previous = ""
    for number, line in enumerate(session.scalars(select(BaselineLine).order_by(BaselineLine.seq)), 1):
        said = {name: getattr(line, name) for name in Said.__dataclass_fields__}
        if line.seq != number:
            return [*faults, f"line {number} of the price log is missing"]
        if digest_after(previous, line.seq, line.added_at_ms, said) != line.digest:
            faults.append(f"line {number} of the price log is not what was written: its digest is another one")
        previous = line.digest
    return faults
