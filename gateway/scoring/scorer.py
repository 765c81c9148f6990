"""Which answers are looked at, and what becomes of what is found. Of requests that are not it costs one comparison."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence

from sqlalchemy.exc import SQLAlchemyError

from gateway.complaints import Complaint
from gateway.handoffs import Arm, Call, Target
from gateway.scoring.looking import Finding, Looking
from gateway.tap import MOST_ANSWER_BYTES, Tap
from registry.outcomes.said import NewOutcome, Said, Subject
from registry.outcomes.store import Outcomes

TEXT = ("chat", "completions")
"""What engines are asked for that answer in words."""
MOST_QUEUED, MOST_QUEUED_BYTES = 512, 64 * 1024 * 1024
"""Answers that wait: those beyond are not looked at."""
MOST_TAPPED = 128
"""Answers that are kept while they are made."""
MOST_A_SECOND = 50
"""Answers of one adapter that are kept in a second by one process; all arms of an experiment share them, so that they
are as likely looked at in each.
"""
MOST_AT_ONCE, MOST_BYTES_AT_ONCE = 32, 4 * 1024 * 1024
GATHER_S = 0.2
"""After the first of a group."""
PAUSE_S = 0.002
"""Between groups: the event loop goes first."""
IDLE_S = 60.0
"""Without an answer to look at the process ends."""
RANDOM_DIGITS = 4
"""Of a request's id, the last: they are random (`gateway.api.request_ids`)."""
FAILED = Complaint(logging.getLogger("switchyard.scoring"))


class Scorer:
    """Of one process."""

    def __init__(
        self,
        outcomes: Outcomes,
        most: int,
        became: Counter[str],
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """`most`: outcomes that a tenant may have; `became`: of answers that were to be looked at, how many of which
        it was.
        """
        self._outcomes = outcomes
        self._most = most
        self.became = became
        self._clock_s = clock_s
        self._second = 0
        self._kept: dict[int, int] = {}
        """Answers of each adapter in this second."""
        self._too_many: dict[int, int] = {}
        """Adapters of which as many are kept as may be, and how many came since then."""
        self._queue: deque[Tap] = deque()
        self._queued_bytes = 0
        self._more = asyncio.Event()
        self._looking = Looking()
        self.tapped = 0
        """Requests under way whose answers are kept."""

    def tap(self, call: Call, target: Target, arm: Arm, unit_hash: str | None) -> Tap | None:
        """What keeps the answer to a request, if it is to be looked at, until `untap`. `unit_hash`: of the unit by
        which a split has chosen the arm.
        """
        split = target.split if unit_hash is not None else None
        if split is None or split.policy is None:
            checks = target.checks
            if checks is None or not _by_chance(call.request_id, checks.share):
                return None
        version = target.version
        assert version is not None  # checks and experiments are an adapter's
        too_many = self._too_many.get(version.adapter_id)
        if too_many is not None and self._clock_s() < self._second + 1:  # as of most that come in floods
            self._too_many[version.adapter_id] = too_many + 1
            return None
        if call.dialect.asks not in TEXT:
            if call.dialect.uses_tokens:
                self.became["not text"] += 1
            return None
        if self.tapped >= MOST_TAPPED:
            self.became["dropped"] += 1
            return None
        self._keep(version.adapter_id)
        self.tapped += 1
        return Tap(call.request_id, target, arm, unit_hash)

    def untap(self, tap: Tap) -> None:
        """The request has ended, with a whole answer or without."""
        self.tapped -= 1
        if not tap.is_whole:
            self.became["broken off"] += 1

    def _keep(self, adapter: int) -> None:
        """One more answer of this adapter is kept in this second."""
        second = int(self._clock_s())
        if second != self._second:
            self._second = second
            self._kept.clear()
            self._count_too_many()
            self._too_many.clear()
        self._kept[adapter] = kept = self._kept.get(adapter, 0) + 1
        if kept >= MOST_A_SECOND:
            self._too_many[adapter] = 0

    def _count_too_many(self) -> None:
        """Among what became of answers, those that came since this was done last."""
        self.became["too many"] += sum(self._too_many.values())
        self._too_many = dict.fromkeys(self._too_many, 0)

    def offer(self, tap: Tap) -> None:
        """An answer is complete."""
        tap.is_whole = True
        length = max(0, MOST_ANSWER_BYTES - tap.left)
        if len(self._queue) >= MOST_QUEUED or self._queued_bytes + length > MOST_QUEUED_BYTES:
            self.became["dropped"] += 1
            return
        self._queue.append(tap)
        self._queued_bytes += length
        self._more.set()

    async def run(self) -> None:
        """Look at what is offered, for ever."""
        try:
            while True:
                try:
                    async with asyncio.timeout(IDLE_S):
                        await self._more.wait()
                except TimeoutError:
                    self._count_too_many()
                    await asyncio.to_thread(self._looking.rest)
                    await self._more.wait()
                await asyncio.sleep(GATHER_S)
                self._more.clear()
                while group := self._next_group():
                    await self._look_at(group)
                    await asyncio.sleep(PAUSE_S)
        finally:
            self._looking.rest()

    def close(self) -> None:
        """What looks at answers ends, and what it is at is lost."""
        self._looking.close()

    def _next_group(self) -> list[Tap]:
        group: list[Tap] = []
        length = 0
        while self._queue and len(group) < MOST_AT_ONCE and length < MOST_BYTES_AT_ONCE:
            tap = self._queue.popleft()
            length += max(0, MOST_ANSWER_BYTES - tap.left)
            group.append(tap)
        self._queued_bytes -= length
        return group

    async def _look_at(self, group: Sequence[Tap]) -> None:
        """Count what becomes of each, also where that cannot be found out. Raises what `_look` raises."""
        became = ["failed"] * len(group)
        try:
            became = await asyncio.to_thread(self._look, group)
        finally:
            self.became.update(became)

    def _look(self, group: Sequence[Tap]) -> list[str]:
        """What becomes of each. In a thread."""
        whole = [tap for tap in group if tap.left >= 0]
        seen = list(zip(whole, self._looking.look(whole), strict=True))
        seen += [(tap, Finding({}, "too long")) for tap in group if tap.left < 0]
        rows = [one for tap, finding in seen for one in _outcomes_of(tap, finding)]
        try:
            full = self._outcomes.add("automatic", rows, self._most)
        except SQLAlchemyError as error:
            FAILED.report("what was found in answers cannot be stored", error)
            return ["not stored" for _ in group]
        return ["no room" if _tenant_of(tap) in full else finding.unscored or "scored" for tap, finding in seen]


def _by_chance(request_id: str, share: float) -> bool:
    digits = int(request_id[-RANDOM_DIGITS:], 16)
    return digits < share * float(16**RANDOM_DIGITS)


def _tenant_of(tap: Tap) -> str:
    return "" if tap.target.version is None else tap.target.version.tenant


def _outcomes_of(tap: Tap, finding: Finding) -> list[tuple[str, NewOutcome]]:
    """By tenant; also of an answer that could not be looked at: what is missing is not 0."""
    version = tap.target.version
    assert version is not None  # else there is no tap
    by = (None, None, None) if (to := tap.arm.assignment) is None else (to.split_id, to.arm, tap.unit_hash)
    about = Subject(version.adapter_id, tap.request_id, *by)
    values = {**finding.found, "unscored": float(finding.unscored is not None)}
    return [(version.tenant, NewOutcome(about, Said(name, "number", value))) for name, value in values.items()]
