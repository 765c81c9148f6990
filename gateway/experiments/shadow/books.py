"""What came of copies, on its way to the database, and the permission to send more: both in a thread, now and then."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from gateway.complaints import Complaint
from gateway.experiments.shadow.answers import Kept
from gateway.experiments.shadow.diff import diff, fits_format, is_json
from gateway.experiments.shadow.texts import Read, read_answer
from gateway.handoffs import Admitted
from registry.days import day_number
from registry.db import now_ms
from registry.shadows.pair_store import Allowance, ShadowPairs
from registry.shadows.pairs import PAIRED, AnswerFigures, AnswerText, Content, CopiedPair
from registry.shadows.store import Grant, Shadows

log = logging.getLogger("switchyard.shadow")
UNRECORDED = Complaint(log)
EVERY_S = 1.0
"""Between two writings, at least."""
AT_ONCE = 8
"""Copies that a worker is permitted at a time: so many may be sent when the dollars of a shadow are spent."""
PATIENCE_S = 2.0
"""How long a copy waits for the permission."""
IDLE_S = 10.0
"""Permissions that were not used for so long are given back."""
MOST_WAITING, MOST_WAITING_BYTES = 1_024, 32 * 1024 * 1024
"""Pairs that wait to be compared and stored, and bytes of their answers."""
UNPERMITTED, UNRECORDABLE, TOO_LONG, UNREADABLE = "not_permitted", "not_recorded", "too_long", "unreadable"


@dataclass(frozen=True, slots=True)
class Finished:
    """A request that was copied, when both its answers have ended; `candidate` is `None` where no copy was sent."""

    shadow_id: int
    asked: Admitted
    """The tenant's own request."""
    candidate_name: str
    at_ms: int
    cause: str | None
    control: Kept
    candidate: Kept
    keeps_texts: bool

    @property
    def bytes(self) -> int:
        """About how much memory it takes."""
        answers = (self.control.data, self.candidate.data)
        return self.asked.request.body_bytes + sum(len(one or b"") for one in answers)


@dataclass(slots=True)
class _Permission:
    left: int
    day: int
    granted_at_ms: int
    used_s: float


class ShadowBooks:
    """Of one process."""

    def __init__(
        self,
        shadows: Shadows,
        pairs: ShadowPairs,
        allowance: Allowance,
        on_result: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`on_result` is told what became of each request that was to be copied."""
        self._on_result = on_result
        self._shadows = shadows
        self._pairs = pairs
        self._allowance = allowance
        self._finished: list[Finished] = []
        self._waiting_bytes = 0
        self._counts: Counter[tuple[int, str]] = Counter()
        self._permissions: dict[int, _Permission] = {}
        self._asking: dict[int, asyncio.Task[Grant]] = {}
        self._something = asyncio.Event()

    def count(self, shadow_id: int, cause: str) -> None:
        """A request that was to be copied and of which there is no pair."""
        self._on_result(cause)
        self._counts[shadow_id, cause] += 1
        self._something.set()

    def add(self, finished: Finished) -> None:
        """Let it be compared and stored."""
        size = finished.bytes
        if len(self._finished) >= MOST_WAITING or self._waiting_bytes + size > MOST_WAITING_BYTES:
            self.count(finished.shadow_id, UNRECORDABLE)
            return
        self._on_result(finished.cause or PAIRED)
        self._waiting_bytes += size
        self._finished.append(finished)
        self._something.set()

    # Permission

    async def permitted(self, shadow_id: int) -> str:
        """ "" when one more copy may be sent; else why not. May wait for the database, for a short while."""
        loop_s = asyncio.get_running_loop().time()
        while True:
            held = self._permissions.get(shadow_id)
            if held is not None and held.left > 0 and held.day == day_number(now_ms()):
                held.left, held.used_s = held.left - 1, loop_s
                return ""
            try:
                async with asyncio.timeout(PATIENCE_S):
                    grant = await asyncio.shield(self._ask(shadow_id))
            except (TimeoutError, SQLAlchemyError):
                return UNPERMITTED
            if not grant.number:
                return grant.why

    def _ask(self, shadow_id: int) -> asyncio.Task[Grant]:
        """One question at a time, for all who wait."""
        asking = self._asking.get(shadow_id)
        if asking is None:
            asking = self._asking[shadow_id] = asyncio.create_task(self._take(shadow_id), name=f"shadow {shadow_id}")
            asking.add_done_callback(lambda done: self._asked(shadow_id, done))
        return asking

    async def _take(self, shadow_id: int) -> Grant:
        at_ms = now_ms()
        grant = await asyncio.to_thread(self._shadows.take, shadow_id, AT_ONCE)
        if grant.number:
            used_s = asyncio.get_running_loop().time()
            self._permissions[shadow_id] = _Permission(grant.number, day_number(at_ms), at_ms, used_s)
        return grant

    def _asked(self, shadow_id: int, done: asyncio.Task[Grant]) -> None:
        self._asking.pop(shadow_id, None)
        if not done.cancelled():
            done.exception()  # seen, were nobody there any more

    async def _give_back(self, *, all_of_them: bool) -> None:
        now_s = asyncio.get_running_loop().time()
        for shadow_id, held in list(self._permissions.items()):
            if all_of_them or now_s - held.used_s > IDLE_S or not held.left:
                del self._permissions[shadow_id]
                if held.left:
                    await asyncio.to_thread(self._shadows.give_back, shadow_id, held.left, held.granted_at_ms)

    # Recording

    async def run(self) -> None:
        """Write again and again, when there is something; until cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(IDLE_S):
                    await self._something.wait()
            self._something.clear()
            await self.write()
            await asyncio.sleep(EVERY_S)

    async def write(self, *, closing: bool = False) -> None:
        """Store what there is; what the database cannot take now is tried again."""
        finished, self._finished = self._finished, []
        counts, self._counts = self._counts, Counter()
        size, self._waiting_bytes = self._waiting_bytes, 0
        try:
            if finished or counts:
                await asyncio.to_thread(self._record, finished, counts)
            await self._give_back(all_of_them=closing)
        except SQLAlchemyError as error:
            UNRECORDED.report("what came of copies of requests cannot be written down", error)
            self._finished = finished + self._finished
            self._counts.update(counts)
            self._waiting_bytes += size
            self._something.set()

    def _record(self, finished: Sequence[Finished], counts: Mapping[tuple[int, str], int]) -> None:
        """In the thread."""
        self._pairs.record([pair_of(one) for one in finished], counts, self._allowance)


def pair_of(one: Finished) -> CopiedPair:
    """The pair of two answers that have ended: compared, where both are whole."""
    asked = one.asked
    control, candidate = _read(asked, one.control), _read(asked, one.candidate)
    cause = one.cause or _why_not_compared(one.control, control) or _why_not_compared(one.candidate, candidate)
    names = asked.arm.public_name, one.candidate_name
    sides = [
        _side(name, kept, read, asked)
        for name, kept, read in zip(names, (one.control, one.candidate), (control, candidate), strict=True)
    ]
    pair = CopiedPair(
        shadow_id=one.shadow_id,
        request_id=asked.call.request_id,
        tenant=asked.principal.tenant,
        at_ms=one.at_ms,
        endpoint=asked.call.dialect.name,
        cause=cause,
        control=sides[0],
        candidate=sides[1],
        diff=None,
        content=None,
    )
    if cause is not None or control is None or candidate is None:
        return pair
    tokens = sides[0].completion_tokens, sides[1].completion_tokens
    content = Content({**asked.request.body}, control.said, candidate.said) if one.keeps_texts else None
    return replace(pair, diff=diff(control.said, candidate.said, tokens), content=content)


def _read(asked: Admitted, kept: Kept) -> Read | None:
    data = kept.data
    if kept.outcome != "ok" or data is None:
        return None
    try:
        return read_answer(asked.call.dialect.name, data, stream=asked.request.stream)
    except (ValueError, TypeError, AttributeError):
        return None


def _why_not_compared(kept: Kept, read: Read | None) -> str | None:
    if read is not None:
        return None
    return TOO_LONG if kept.data is None else UNREADABLE


def _side(name: str, kept: Kept, read: Read | None, asked: Admitted) -> AnswerFigures:
    attempt = kept.attempt
    said: AnswerText | None = None if read is None else read.said
    figures: dict[str, Any] = {}
    if attempt is not None:
        usage = attempt.usage
        figures = {
            "prompt_tokens": usage.prompt_tokens,
            "cached_tokens": usage.cached_tokens,
            "completion_tokens": usage.completion_tokens,
            "cost_nano": attempt.nano,
        }
    return AnswerFigures(
        name,
        kept.outcome,
        "" if attempt is None else attempt.engine_url,
        kept.in_flight,
        **figures,
        ttft_ms=kept.first_byte_ms if asked.request.stream else None,
        total_ms=round(kept.took_s * 1000, 1) if kept.took_s else None,
        finish_reason=None if read is None else read.finish_reason,
        chars=None if said is None else len(said.text),
        is_json=None if said is None else is_json(said),
        fits_schema=None if said is None else fits_format(said, asked.request.body.get("response_format")),
    )
