"""`POST /admin/v1/playground`: an operator asks one version, whoever's it is.

No tenant's key, limit or bill has to do with it: it is booked as copies of requests are, ends when a tenant's request
needs its place, and there are few at a time. What it loads is loaded like a request's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Literal

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from pydantic import Field

from gateway.api.admin.office import Office, exact_version
from gateway.api.admin.shapes import Actor, Order
from gateway.api.dialects import DIALECTS
from gateway.api.request_ids import REQUEST_ID
from gateway.bytes_in_flight import HeldBytes
from gateway.engines.connection import EngineUnreachable
from gateway.errors import ApiError, EngineFailed, Overloaded, Quarantined
from gateway.experiments.shadow.crowding import crowding_of, why_stop
from gateway.fleet.view import EngineView
from gateway.handoffs import CLIENT_GONE, Admitted, AnswerReader, Arm, Booked, Call, EngineBroke, Principal, Target
from gateway.limits.limits import Bill
from gateway.steps.attempt import attempt
from gateway.steps.load import Load
from gateway.steps.place import Openings, place
from registry.catalog.snapshot import VersionEntry
from registry.errors import NotFound

MOST_AT_ONCE = 4
"""Of one worker: two people who compare two versions each."""
LONGEST_S = 120.0
LOOK_S = 0.05
"""How often it is looked whether a tenant's request needs the place."""
KEY_ID = "playground"
"""What usage rows have in the place of a tenant's key."""
DIALECT = DIALECTS["chat"]
END = b""


class TurnOrder(Order):
    """One turn of the conversation."""

    role: Literal["system", "user", "assistant"] = Field(description="Whose turn it is.")
    content: str = Field(max_length=32_000, description="Its text.")


class PlaygroundOrder(Order):
    """What to ask, and whom."""

    version: str = Field(description="tenant/adapter@1.0; quarantined ones are not asked.")
    messages: Annotated[list[TurnOrder], Field(min_length=1, max_length=32, description="The conversation.")]
    max_tokens: int = Field(256, ge=1, le=1024, description="Tokens of the answer at most.")
    temperature: float = Field(0.0, ge=0, le=2, description="0: the likeliest token each time.")
    actor: Actor


class _Answer:
    """Where the attempt's answer goes: a few pieces of it wait to be read."""

    def __init__(self) -> None:
        self.pieces: asyncio.Queue[bytes] = asyncio.Queue(maxsize=64)

    def begin(self, attempt: Booked) -> None:
        """It is in the books."""

    def read_by(self, reader: AnswerReader) -> None:
        """Its pieces go through as they are."""

    async def feed(self, chunk: bytes) -> None:
        """Some of it."""
        await self.pieces.put(chunk)

    def feed_now(self, chunk: bytes) -> bool:
        """The same, if there is room."""
        if self.pieces.full():
            return False
        self.pieces.put_nowait(chunk)
        return True


class Playground:
    """Of one worker."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._running = 0

    async def ask(self, order: PlaygroundOrder, request_id: str) -> AsyncIterator[bytes]:
        """The events of the answer, once it has begun. Raises `ApiError` or `RegistryError` before."""
        if self._running >= MOST_AT_ONCE:
            raise Overloaded(
                f"{MOST_AT_ONCE} answers of the playground are under way on this worker; wait for one to end.",
                code="playground_full",
                retry_after_s=2,
            )
        version = self._version(order.version)
        admitted = self._admitted(order, version, request_id)
        self._running += 1
        answer = _Answer()
        task = asyncio.create_task(self._run(admitted, answer), name=f"playground {request_id}")
        task.add_done_callback(self._ended)
        try:
            first = await _next(task, answer)
        except BaseException:
            task.cancel(CLIENT_GONE)
            raise
        return _events(task, answer, first)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running -= 1
        if not task.cancelled():
            task.exception()  # who reads the answer is told; nobody else needs to be

    def _version(self, name: str) -> VersionEntry:
        ref = exact_version(name, "version")
        adapter = self._office.house.catalog.current.adapters.get((ref.tenant, ref.adapter))
        version = None if adapter is None else adapter.versions.get(str(ref.version))
        if version is None:
            raise NotFound(f"version is {name[:80]!r}; there is none of that name", param="version")
        if version.quarantined is not None:
            raise Quarantined(version.name, version.quarantined)
        return version

    def _admitted(self, order: PlaygroundOrder, version: VersionEntry, request_id: str) -> Admitted:
        house = self._office.house
        body = orjson.dumps(
            {
                "model": version.name,
                "messages": [turn.model_dump() for turn in order.messages],
                "max_tokens": order.max_tokens,
                "temperature": order.temperature,
                "stream": True,
                "stream_options": {"include_usage": True},
            }
        )

        async def read(_held: HeldBytes) -> bytes:
            return body

        principal = Principal(version.tenant, KEY_ID, frozenset(), allow_unknown_fields=False)
        call = Call(DIALECT, None, None, read, request_id, f"{request_id}-{KEY_ID}")
        request = DIALECT.parse(body, caps=house.caps, allow_unknown=False)
        arm = Arm(version.name, version.base_digest, version)
        standing = house.limits.standing(house.catalog.current, principal, arm)
        bill = Bill(house.limits, standing, None, standing.price)
        target = Target(version.name, None, None, version, None, None)
        return Admitted(call, principal, DIALECT.counted(request), target, arm, bill, shadow=True)

    async def _run(self, admitted: Admitted, answer: _Answer) -> None:
        try:
            async with asyncio.timeout(LONGEST_S):
                engine = await self._engine_with(admitted.arm)
                trying = asyncio.create_task(attempt(admitted, engine, 0, answer, self._office.house))
                try:
                    await self._while_there_is_room(trying, engine, admitted.arm)
                finally:
                    if not trying.done():
                        trying.cancel(CLIENT_GONE)
                        await asyncio.wait({trying})
        except TimeoutError:
            raise EngineFailed(f"The answer was not complete after {LONGEST_S:g} s.", code="playground_slow") from None
        except (EngineUnreachable, EngineBroke) as error:
            raise EngineFailed(f"{admitted.arm.public_name}: {error}.", code="engine_failed") from error
        await answer.pieces.put(END)

    async def _engine_with(self, arm: Arm) -> EngineView:
        """One that holds the version, and has loaded it if need be."""
        house = self._office.house
        fleet = house.fleet
        openings = Openings(fleet.in_flight.by_engine, fleet.lines.room.has_seat, fleet.slots.has_slot)
        engine = place(arm, fleet.view(), openings, (), ())
        if engine is None:
            raise Overloaded(
                f"No engine that serves the base of {arm.public_name} takes traffic now; see GET /admin/v1/engines.",
                code="engine_unavailable",
                retry_after_s=5,
            )
        async with Load(fleet, engine.url, arm, wait_s=house.settings.cold_wait_s):
            pass  # it is there now, and a copy's hold on it follows
        return fleet.view().engine(engine.url) or engine

    async def _while_there_is_room(self, trying: asyncio.Task[object], engine: EngineView, arm: Arm) -> None:
        house = self._office.house
        version = arm.version
        assert version is not None
        while not trying.done():
            await asyncio.wait({trying}, timeout=LOOK_S)
            crowding = crowding_of(house.fleet, house.settings.shadow_engine_in_flight, {engine.url: 1})
            name = engine.resident.get(version.id)
            if (
                not trying.done()
                and name is not None
                and why_stop(version.id, engine.url, name, house.fleet.view(), crowding)
            ):
                raise Overloaded(
                    "Tenants' requests need the place; try again when the engine has fewer of them.",
                    code="playground_yields",
                    retry_after_s=5,
                )
        await trying


async def _next(task: asyncio.Task[None], answer: _Answer) -> bytes:
    """The next piece, `END` behind the last one. Raises what ended it before."""
    if task.done() and answer.pieces.empty():
        task.result()
        return END
    getting = asyncio.ensure_future(answer.pieces.get())
    try:
        await asyncio.wait({task, getting}, return_when=asyncio.FIRST_COMPLETED)
        if getting.done():
            return getting.result()
        if answer.pieces.empty():
            task.result()
        return await getting
    finally:
        getting.cancel()


async def _events(task: asyncio.Task[None], answer: _Answer, first: bytes) -> AsyncIterator[bytes]:
    try:
        piece = first
        while piece != END:
            yield piece
            piece = await _next(task, answer)
    except ApiError as error:
        yield DIALECT.error_event(error)
    finally:
        task.cancel(CLIENT_GONE)


def add_playground(router: APIRouter, office: Office) -> None:
    """The route."""
    playground = Playground(office)

    @router.post(
        "/playground",
        response_class=StreamingResponse,
        responses={200: {"content": {"text/event-stream": {}}, "description": "Chunks as of /v1/chat/completions."}},
    )
    async def ask(order: PlaygroundOrder, request: Request) -> StreamingResponse:
        """Ask a version, and read its answer as it comes: a stream of events as /v1/chat/completions has it.

        It is no tenant's use: not limited, not billed, booked as a copy. It ends when a tenant needs its place.
        """
        events = await playground.ask(order, request.scope[REQUEST_ID])
        return StreamingResponse(events, media_type="text/event-stream", headers={"cache-control": "no-store"})
