"""Which engine a request is tried on next, and what a failure means for the request, its client and the engine."""

from __future__ import annotations

import logging
import time
from collections.abc import Hashable
from functools import partial
from typing import Protocol

from gateway.dispute import Dispute
from gateway.engines.connection import AdapterMissing, CannotLoad, EngineTimeout, EngineUnreachable
from gateway.errors import AnswerTimeout, ApiError, EngineFailed, Overloaded
from gateway.fleet.abilities import who_cannot
from gateway.fleet.fair_share import Asker
from gateway.fleet.line import Seat
from gateway.fleet.view import EngineView
from gateway.handoffs import Admitted, EngineBroke, EngineLied
from gateway.settings import GatewaySettings
from gateway.steps.load import Fleet
from gateway.steps.place import Openings, place

log = logging.getLogger("switchyard.path")
ENGINE_RETRY_AFTER_S = 5
MOST_ATTEMPTS = 3
FAULTS = (ApiError, EngineUnreachable, EngineBroke)
"""What an attempt raises that another engine may do better."""


class Means(Protocol):
    """What is needed of the running gateway."""

    @property
    def fleet(self) -> Fleet:
        """Its engines."""

    @property
    def settings(self) -> GatewaySettings:
        """How much an engine takes, and how long to wait for one."""


class Tries:
    """The attempts at one request. Another engine only before the first byte: a begun answer is never replayed."""

    __slots__ = (
        "_admitted",
        "_asker",
        "_dispute",
        "_failure",
        "_fleet",
        "_line",
        "_most",
        "_openings",
        "_settings",
        "_unable",
        "number",
    )

    def __init__(self, admitted: Admitted, means: Means, first: int = 0) -> None:
        """`first` is the number of the first one: others have been made at another arm. Raises `EndpointMissing` or
        `BadRequest` when every engine of its base lacks what it needs.
        """
        self._admitted = admitted
        self._fleet, self._settings = means.fleet, means.settings
        request = admitted.request
        self._line = self._fleet.lines.of(admitted.arm.base_digest) if request.dialect.uses_tokens else None
        principal, settings = admitted.principal, self._settings
        patience_s = settings.turn_wait_batch_s if request.batch else settings.turn_wait_s
        self._asker = Asker(principal.tenant, principal.weight, request.batch, max(1, request.choices), patience_s)
        has_seat = _always if self._line is None else partial(self._line.has_seat, self._asker)
        self._openings = Openings(self._fleet.in_flight.by_engine, has_seat, self._fleet.slots.has_slot)
        self._dispute: Dispute | None = None
        """Since an engine has refused or failed it."""
        self._failure = "no healthy engine serves its base model"
        self._unable = self._lacking()
        """URLs of engines that lack what it needs, or have failed it."""
        self.number = first - 1
        """Of the attempt that is made now, from 0."""
        self._most = first + MOST_ATTEMPTS

    async def next_seat(self) -> Seat | None:
        """A seat on the engine to try now; `None` when there is none, or enough have been tried. Raises as `Tries`
        itself, and `NoTurn`.
        """
        self.number += 1
        if self.number == self._most:
            return None
        seat = await self._seat()
        if seat is None and (back := await self._comes_back()):
            self._unable = self._unable - back | self._lacking()
            seat = await self._seat()
        return seat

    async def _seat(self) -> Seat | None:
        """At once where one is free and nobody waits, else in turn."""
        line = self._line
        while (engine := self.engine()) is not None or not self.hopeless():
            if engine is not None and (line is None or not line.waiting):
                return Seat(line, engine, self._asker)
            assert line is not None  # else there is always a seat
            if (seat := await line.wait(self._asker, self)) is not None:
                return seat
        return None

    @property
    def where(self) -> Hashable:
        """Of two requests, for which this is the same, the same engines can serve both or none."""
        arm, request = self._admitted.arm, self._admitted.request
        return arm.version is None, frozenset(self._unable), request.dialect.asks, frozenset(request.needs)

    def hopeless(self) -> bool:
        """Whether no engine is left that could serve it, however long it waits."""
        able = self._fleet.view().able(self._admitted.arm)
        return all(engine.url in self._unable for engine in able)

    def engine(self) -> EngineView | None:
        """The engine that should serve it now; `None`: there is none, or all are full."""
        avoided = self._fleet.breaker.avoided(time.monotonic())
        return place(self._admitted.arm, self._fleet.view(), self._openings, self._unable, avoided)

    async def _comes_back(self) -> set[str]:
        return {*await self._fleet.comes_back(self._admitted.arm.base_digest, self._settings.cold_wait_s)}

    def _lacking(self) -> set[str]:
        return who_cannot(self._admitted.arm, self._fleet.view(), self._admitted.request)

    def failed(self, engine_url: str, error: Exception, *, relayed: bool) -> None:
        """Return when another engine may be tried. Raises what the client gets when not, as always when some of the
        answer was `relayed`, and when another one would be in vain.
        """
        if isinstance(error, ApiError):
            if relayed or error.in_vain:
                raise error
            self._disputed().refused(engine_url, error)
            self._unable.add(engine_url)
        elif isinstance(error, AdapterMissing):  # the engine may load it again, so it stays eligible
            self._fleet.lost(engine_url, error.engine_name)
            self._failure = "the engine lost the adapter"
        elif isinstance(error, EngineTimeout):  # it may still be working on it: a second engine would do it twice
            self._timed_out(engine_url, error)
        else:
            self._broke(engine_url, error, relayed)

    def _timed_out(self, engine_url: str, error: EngineTimeout) -> None:
        if not self._admitted.request.stream:
            raise _too_long(self._settings.answer_timeout_s) from error
        self._note_failure(engine_url)
        self._failure = "its engine did not begin an answer in time"
        raise self._unavailable() from error

    def _broke(self, engine_url: str, error: Exception, relayed: bool) -> None:
        request_id = self._admitted.call.request_id
        # The error's text names hosts and folders: for the operator only.
        log.warning("request %s, attempt %d, %s: %s", request_id, self.number, engine_url, error)
        if isinstance(error, EngineLied):
            self._fleet.lied(engine_url, error.breach, self._admitted.principal.tenant)
        if not isinstance(error, CannotLoad):
            self._note_failure(engine_url)
            self._disputed().failed(engine_url)
        if relayed:
            raise EngineFailed("The engine broke off in the middle of its answer.", code="engine_broke") from error
        self._unable.add(engine_url)
        self._failure = "its engine does not answer, or cannot load it"

    def _disputed(self) -> Dispute:
        if self._dispute is None:
            self._dispute = Dispute(self._fleet, self._admitted.principal.tenant, self._admitted.call.dialect.name)
        return self._dispute

    def _note_failure(self, engine_url: str) -> None:
        self._fleet.breaker.failed(engine_url, time.monotonic())
        self._fleet.wake()

    def served(self, engine_url: str) -> None:
        """The engine has answered."""
        self._fleet.breaker.forget(engine_url)
        if self._dispute is not None:
            self._dispute.served()

    def refusal(self) -> ApiError:
        """What the client gets when no engine is left."""
        return self._disputed().unless_settled(self._unavailable())

    def _unavailable(self) -> Overloaded:
        return Overloaded(
            f"{self._admitted.arm.public_name} cannot be served now: {self._failure}.",
            code="engine_unavailable",
            retry_after_s=ENGINE_RETRY_AFTER_S,
        )


def _always(_engine: EngineView) -> bool:
    return True


def _too_long(limit_s: float) -> AnswerTimeout:
    return AnswerTimeout(
        f"The answer was not complete after {limit_s:g} s, the most for an answer in one piece. Ask for it with "
        "'stream': true, which has no such limit, or for fewer tokens with 'max_tokens'.",
        code="answer_timeout",
    )
