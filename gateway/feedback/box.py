"""Where feedback is put: what it is about is looked up, and it is stored once. It is off the path of requests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from gateway.errors import BadRequest, RateLimited
from gateway.feedback.body import Piece
from gateway.feedback.faults import FAULTS, said_of, unknown_answer
from gateway.handoffs import Principal, Target
from gateway.responses.lookups import Lookups
from gateway.splits.assignment import hash_of
from gateway.told import told
from gateway.turns import Few
from registry.outcomes.said import KeyOfOtherFeedback, NewOutcome, Subject, TakenFeedback
from registry.outcomes.store import Outcomes
from registry.outcomes.subjects import Subjects
from registry.request_times import arrived_ms

T = TypeVar("T")
YOUNG_S = 900.0
"""An answer that was asked for so long ago may have ended just now: its usage row may be under way."""
LONGEST_WAIT_S = 3.0
"""For that row: a worker ships its rows every second."""
LOOK_S = 0.2
MOST_WAITING = 64
"""Requests of one tenant that wait so."""


@dataclass(frozen=True, slots=True)
class _Salted:
    """What the units of a model are hashed with."""

    adapter_id: int
    split_id: int
    salt: bytes

    def subject(self, unit: str) -> Subject:
        """A unit of it."""
        return Subject(self.adapter_id, None, self.split_id, None, hash_of(self.salt, unit).hex())


@dataclass(frozen=True, slots=True)
class FeedbackBox:
    """Of one process. `outcomes` and `subjects` block: they are asked in threads."""

    outcomes: Outcomes
    subjects: Subjects
    most: int
    """Pieces of feedback that are kept of a tenant."""
    threads: Lookups
    _waiting: Few = field(default_factory=lambda: Few(MOST_WAITING))

    async def do(self, tenant: str, work: Callable[[], T]) -> T:
        """What `work` returns, in a thread, in this tenant's turn. Raises `ApiError`."""
        with told(FAULTS, said_of):
            return await self.threads.do(tenant, work)

    async def give(
        self,
        principal: Principal,
        pieces: Sequence[Piece],
        target_of: Callable[[str], Target],
        is_for: Callable[[int | None], bool],
    ) -> list[TakenFeedback]:
        """Store all of them or none. `target_of` says what a model is to this key, `is_for` whether the key is for an
        adapter, by its id. Raises `ApiError`.
        """
        tenant = principal.tenant
        answers = await self._answers(tenant, pieces)
        models: dict[str, _Salted] = {}
        new = []
        for piece in pieces:
            if piece.unit is None:
                subject = answers[piece.request_id or ""]
                if not is_for(subject.adapter_id):
                    raise unknown_answer(piece.response_id or "", f"{piece.path}response_id")
            else:
                model = piece.model or ""
                if model not in models:
                    models[model] = await self._salted(tenant, piece, target_of)
                subject = models[model].subject(piece.unit)
            new.append(NewOutcome(subject, piece.said, piece.key))
        return await self.do(tenant, partial(self._give, tenant, pieces, new))

    def _give(self, tenant: str, pieces: Sequence[Piece], new: Sequence[NewOutcome]) -> list[TakenFeedback]:
        try:
            return self.outcomes.give(tenant, new, self.most)
        except KeyOfOtherFeedback as error:
            error.param = f"{pieces[error.number].path}{error.param}"
            raise

    async def _answers(self, tenant: str, pieces: Sequence[Piece]) -> dict[str, Subject]:
        """What each answer's request was, by the request's id. Raises `ApiError` for one that is not the tenant's."""
        about = [piece for piece in pieces if piece.unit is None]
        wanted = {piece.request_id for piece in about if piece.request_id is not None}
        found: dict[str, Subject] = {}
        if all(piece.request_id is not None for piece in about):
            found = await self._found(tenant, wanted) if wanted else {}
        for piece in about:
            if piece.request_id not in found:
                raise unknown_answer(piece.response_id or "", f"{piece.path}response_id")
        return found

    async def _found(self, tenant: str, wanted: set[str]) -> dict[str, Subject]:
        """Those that are in the ledger; for young ones it waits a moment."""
        look = partial(self.subjects.of_requests, tenant, wanted)
        found = await self.do(tenant, look)
        if found.keys() == wanted or not any(map(_is_young, wanted - found.keys())):
            return found
        if (leave := self._waiting.take(tenant)) is None:
            raise RateLimited(
                f"{MOST_WAITING} pieces of feedback of this tenant wait for answers that are being booked.",
                code="concurrency_limit",
                retry_after_s=1,
            )
        try:
            until_s = time.monotonic() + LONGEST_WAIT_S
            while found.keys() != wanted and time.monotonic() < until_s:
                await asyncio.sleep(LOOK_S)
                found = await self.do(tenant, look)
        finally:
            leave()
        return found

    async def _salted(self, tenant: str, piece: Piece, target_of: Callable[[str], Target]) -> _Salted:
        """The split that runs on the model's alias, or ran there last. Raises `ApiError`."""
        param, model = f"{piece.path}model", piece.model or ""
        target = target_of(model)
        if target.version is None or target.alias is None:
            raise _no_units(param, f"'{model}', which is no alias of an adapter")
        salted = await self.do(tenant, partial(self.subjects.salt, target.version.adapter_id, target.alias))
        if salted is None:
            raise _no_units(param, f"'{model}', whose traffic was never split")
        return _Salted(target.version.adapter_id, *salted)

    def close(self) -> None:
        """End the threads when their work is done."""
        self.threads.close()


def _is_young(request_id: str) -> bool:
    return abs(time.time() - arrived_ms(request_id) / 1000) < YOUNG_S


def _no_units(param: str, why: str) -> BadRequest:
    return BadRequest(
        f"'{param}' is {why}: units belong to the split of an alias. Send the answer's id as 'response_id' instead.",
        param=param,
        code="no_units",
    )
