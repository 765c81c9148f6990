"""Moves the usage journal to the ledger: this worker's as it grows, that of dead workers when they are found.

Rows are keyed by attempt id, and a segment is removed only after the ledger has all of its rows and an entry of its
own, so that whatever is interrupted can be done again.
"""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from gateway.journal.journal import Journal
from gateway.journal.records import INTENT, SETTLE
from gateway.journal.recovery import Estate, take_over
from gateway.journal.rows import row_of
from gateway.journal.segments import DAMAGED, SegmentReader, writer_and_sequence
from registry.errors import RegistryError
from registry.ledger.segments import RowsDigest, SegmentEntry
from registry.ledger.store import Ledger
from registry.ledger.usage_record import TOKENS, UsageRow

log = logging.getLogger("switchyard.journal")
T = TypeVar("T")
BLOCK_BYTES = 64 * 1024
NEVER = (OverflowError, IntegrityError, DataError)
"""What SQL says of rows that it will not take the next time either."""
BATCH_ROWS = 200
"""Shipped in one transaction: fewer cost more each, more keep the interpreter for longer than a millisecond."""
PAUSE_S = 0.0003
"""After each block the thread sleeps, so that the event loop, which may wait for the interpreter, goes first."""


@dataclass(slots=True)
class _Shipment:
    """How far a segment is in the ledger."""

    reader: SegmentReader
    awaits_ends: bool = True
    """Whether the segment stays until all attempts that began in it have ended."""
    rows: list[UsageRow] = field(default_factory=list)
    """Read, and not in the ledger yet."""
    ended: list[bytes] = field(default_factory=list)
    from_offset: int = 0
    tokens: dict[str, int] = field(default_factory=lambda: dict.fromkeys(TOKENS, 0))
    booked: RowsDigest = field(default_factory=RowsDigest)

    def entry(self) -> SegmentEntry:
        """What the ledger keeps of the segment when it is gone."""
        reader, closing = self.reader, self.reader.closing
        assert closing is not None
        writer, sequence = writer_and_sequence(reader.path)
        return SegmentEntry(
            segment=reader.path.stem,
            writer=writer,
            sequence=sequence,
            records=closing.records,
            intents=closing.intents,
            attempts=reader.settles,
            digest=closing.digest,
            previous_digest=closing.previous,
            last=closing.last,
            faults=len(reader.faults),
            rows_digest=str(self.booked),
            **self.tokens,
        )


class Shipper:
    """One thread of one worker."""

    def __init__(self, journal: Journal, ledger: Ledger, *, interval_s: float = 1.0) -> None:
        self._journal = journal
        self._ledger = ledger
        self._interval_s = interval_s
        self._shipments: dict[Path, _Shipment] = {}
        self._running: dict[bytes, Path] = {}
        """This worker's attempts without an end so far, with the segment that the intent is in."""
        self._estates: dict[str, Estate] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="usage-shipper", daemon=True)

    def recover(self) -> int:
        """Settle or mark every intent of dead workers, in the journal; how many are lost. `catch_up` ships them.

        Raises `OSError`. For the start, before there are requests: it does not pause.
        """
        found = take_over(self._journal.folder, {self._journal.writer, *self._estates})
        self._estates |= {estate.writer: estate for estate in found}
        lost = sum(estate.lost for estate in found)
        if found:
            log.info("took over the usage journal of %d dead worker(s); %d attempts are lost", len(found), lost)
        return lost

    def catch_up(self, within_s: float) -> bool:
        """Bring what `recover` took over to the ledger, for so long at most; whether the ledger has all of it.

        For the start, before budgets are read from the ledger. It does not pause and never fails: what is left, be it
        for want of a database, is shipped in the background.
        """
        until_s = time.monotonic() + within_s
        return self._quietly(lambda: self._ship_estates(pause_s=0.0, until_s=until_s)) or False

    def start(self) -> None:
        """Begin shipping."""
        self._thread.start()

    def stop(self) -> None:
        """Ship what is left and end; call it before the journal is closed."""
        self._stop.set()
        self._thread.join()
        self._quietly(self.ship)
        for estate in self._estates.values():
            estate.release()

    def _run(self) -> None:
        while not self._stop.wait(self._interval_s):
            self._quietly(self.ship)

    @staticmethod
    def _quietly(ship: Callable[[], T]) -> T | None:
        """What it returns, or `None` when it failed."""
        try:
            return ship()
        except (RegistryError, SQLAlchemyError, OSError) as error:
            log.warning("usage stays in the journal for now: %s", error)
        except Exception:
            log.exception("usage stays in the journal for now")
        return None

    def ship(self) -> None:
        """One round over this worker's segments and those of dead ones.

        Raises what the database or the disk raises; nothing is lost by it.
        """
        own = self._journal.tend()
        for path in self._journal.take_cut():
            self._begin_again(path)
        for path in own:
            self._ship_segment(path, ours=True)
        self._remove_own(own)
        self.recover()
        self._ship_estates()

    def _ship_estates(self, *, pause_s: float = PAUSE_S, until_s: float = math.inf) -> bool:
        """Whether the ledger has all that dead workers left, or it became too late."""
        for writer, found in list(self._estates.items()):
            estate = self._estates[writer] = found.restored()
            for path in estate.paths:
                if not self._ship_segment(path, ours=False, pause_s=pause_s, until_s=until_s):
                    return False
            if any(self._shipments[path].reader.closing is None for path in estate.paths):
                self._give_back(estate)
                continue
            self._remove(estate.paths)
            del self._estates[estate.writer]
            estate.release()
        return True

    def _begin_again(self, path: Path) -> None:
        """It was cut short, and may have intents whose ends are gone: nothing waits for those of its attempts."""
        if (before := self._shipments.get(path)) is not None:
            self._journal.shipped(-before.from_offset)
        self._shipments[path] = _Shipment(SegmentReader(path), awaits_ends=False)
        self._running = {name: where for name, where in self._running.items() if where != path}

    def _give_back(self, estate: Estate) -> None:
        """Somebody cut it short after it was ended: the next round takes over what is left, and ends that."""
        for path in estate.paths:
            log.error("%s was cut short; what is left of it is taken over anew", path)
            del self._shipments[path]
        del self._estates[estate.writer]
        estate.release()

    def _ship_segment(self, path: Path, *, ours: bool, pause_s: float = PAUSE_S, until_s: float = math.inf) -> bool:
        """Whether the ledger has all that is in the segment by now, or it became too late."""
        shipment = self._shipments.setdefault(path, _Shipment(SegmentReader(path)))
        reader, segment = shipment.reader, path.stem
        while True:
            if len(shipment.rows) >= BATCH_ROWS:
                self._record(shipment, ours)
            if time.monotonic() > until_s:
                return False
            known = len(reader.faults)
            records = reader.read(BLOCK_BYTES)
            for fault in reader.faults[known:]:
                log.error("%s: %s", path.name, fault)
            if not records:
                break
            for type_, attempt_id, kind, values in records:
                if type_ == SETTLE:
                    shipment.rows.append(row_of(attempt_id, kind, values, segment))
                    shipment.ended.append(attempt_id)
                elif ours and type_ == INTENT and shipment.awaits_ends:
                    self._running[attempt_id] = path
            time.sleep(pause_s)
        self._record(shipment, ours)
        return True

    def _record(self, shipment: _Shipment, ours: bool) -> None:
        """Rows that the ledger does not take now are tried again in the next round."""
        try:
            self._ledger.book([row.values() for row in shipment.rows])
        except NEVER:
            self._record_one_by_one(shipment)
        for row in shipment.rows:
            for name in TOKENS:
                shipment.tokens[name] += getattr(row.end, name) or 0
            shipment.booked.add(row.values())
        for attempt_id in shipment.ended:
            self._running.pop(attempt_id, None)
        shipment.rows.clear()
        shipment.ended.clear()
        if ours:
            self._journal.shipped(shipment.reader.offset - shipment.from_offset)
            shipment.from_offset = shipment.reader.offset

    def _record_one_by_one(self, shipment: _Shipment) -> None:
        """One that the ledger can never take is a fault of its segment, which is kept; nothing else waits for it."""
        taken = []
        for row in shipment.rows:
            try:
                self._ledger.book([row.values()])
                taken.append(row)
            except NEVER as error:
                fault = f"attempt {row.attempt_id}: its row cannot be booked: {error}"
                log.error("%s: %s", shipment.reader.path.name, fault)
                shipment.reader.faults.append(fault)
        shipment.rows[:] = taken

    def _remove_own(self, paths: list[Path]) -> None:
        """Closed segments, oldest first, up to one that has an intent without an end: a settle record must not go
        before its intent, or a crash would find the attempt lost.
        """
        awaited = set(self._running.values())
        for path in paths[:-1]:
            if path in awaited or self._shipments[path].reader.closing is None:
                break
            self._remove((path,))
            self._journal.forget_oldest()

    def _remove(self, paths: tuple[Path, ...]) -> None:
        """The ledger's entries first; damaged segments are kept under another name."""
        shipments = [self._shipments[path] for path in paths]
        self._ledger.close_segments([shipment.entry() for shipment in shipments])
        for shipment in shipments:
            path = shipment.reader.path
            if shipment.reader.faults:
                os.replace(path, path.with_name(DAMAGED + path.name))
            else:
                path.unlink()
            del self._shipments[path]
