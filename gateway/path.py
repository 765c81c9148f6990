"""THE REQUEST PATH. Every proxied request passes through `serve`, and only this file knows the order of the steps."""

from __future__ import annotations

import time
from functools import partial
from typing import cast

from gateway.api.respond import Respond
from gateway.errors import ApiError, NotStored, Overloaded
from gateway.fleet.view import EngineView, Given
from gateway.handoffs import Admitted, Call, Principal, Sink, Usage
from gateway.house import House
from gateway.in_background import in_background
from gateway.keeping import KeptAnswer
from gateway.sealed_body import SEALED_FROM
from gateway.steps.admit import Stay
from gateway.steps.assign import assign, stands_in
from gateway.steps.attempt import attempt
from gateway.steps.authenticate import authenticate
from gateway.steps.hold import hold
from gateway.steps.keep import keep_broken_off
from gateway.steps.parse import parse, seal
from gateway.steps.recall import recall
from gateway.tries import FAULTS, Tries
from registry.catalog.snapshot import Catalog, ShadowEntry


async def serve(call: Call, house: House, respond: Respond) -> None:
    """Answer one request to a model. Raises `ApiError` for everything that the client should hear of."""
    known_by = house.catalog.current
    principal = respond.principal = authenticate(call.key, known_by)
    call.known(principal.tenant)
    house.admission.requests.look(principal.tenant)
    with await house.limits.enter(known_by, principal), Stay(house.admission, principal.tenant) as stay:
        body = await call.body(stay.held)
        respond.read_s = time.perf_counter()
        stay.has_body()
        request = await parse(house.desk, principal, call, body, house.caps, stay.held)
        del body
        respond.set_request(request)
        if request.keeping is not None:
            request = await recall(house, principal, request, request.keeping)
        catalog, principal = _as_of_now(call, house, known_by, principal)
        target = house.targets.of(principal, request.model, catalog)
        unit = house.units.of(call, request, target.split) if target.split else None
        arm, unit_hash = assign(target, unit, principal.key_id, request.metadata)
        # No await since the catalog was read: who knows of a newer one has counted every request on an older one.
        with Given(house.fleet.in_flight, arm):
            respond.describe(arm)
            request, bill = await hold(house, catalog, principal, arm, request)
            with bill:
                if request.body_bytes >= SEALED_FROM:
                    request = await seal(house.desk, principal, request, stay.held)
                respond.expect(request, bill.headers)
                if request.stream:
                    house.pings.watch(respond)
                tap = house.scorer.tap(call, target, arm, unit_hash)
                try:
                    admitted = Admitted(
                        call, principal, request, target, arm, bill, unit, unit_hash, tap, held=stay.held
                    )
                    await _begin(admitted, house, respond)
                finally:
                    if tap is not None:
                        house.scorer.untap(tap)


def _as_of_now(call: Call, house: House, known_by: Catalog, principal: Principal) -> tuple[Catalog, Principal]:
    """The catalog in force, and who asks as that has it: the body may have been a minute under way, and meanwhile even
    the key may have been revoked. Raises `Overloaded`, `Unauthenticated`.
    """
    if house.catalog.lapsed:
        raise Overloaded("This worker was out of touch and is catching up.", code="catalog_lapsed", retry_after_s=1)
    catalog = house.catalog.current
    return catalog, principal if catalog is known_by else authenticate(call.key, catalog)


async def _begin(admitted: Admitted, house: House, respond: Respond) -> None:
    """Answer while the client waits, or in the background."""
    keeping = admitted.request.keeping
    if keeping is None or not keeping.background:
        try:
            shadow = admitted.target.shadow
            if shadow is None:
                await _answer(admitted, house, respond, respond)
            else:
                await _answer_seen(admitted, house, respond, shadow)
        except ApiError as error:
            if keeping is not None and keeping.store and respond.relayed and not isinstance(error, NotStored):
                answered = cast("KeptAnswer", respond.reader).broken_off(error)
                keep_broken_off(house.archive, admitted, keeping, answered)
            raise
    else:
        answering = partial(_answer, admitted, house, respond, respond)
        with house.admission.background.place(admitted.principal.tenant):
            await in_background(admitted, keeping, house.archive, house.desk, respond, answering)


async def _answer_seen(admitted: Admitted, house: House, respond: Respond, shadow: ShadowEntry) -> None:
    """Answer, and perhaps let a candidate answer a copy."""
    watched = house.copies.watch(shadow, admitted, respond, partial(_copy, house))
    if watched is None:
        await _answer(admitted, house, respond, respond)
    else:
        with watched:
            await _answer(admitted, house, respond, watched)


async def _copy(house: House, admitted: Admitted, engine: EngineView, sink: Sink) -> Usage:
    return await attempt(admitted, engine, 0, sink, house)


async def _answer(admitted: Admitted, house: House, respond: Respond, sink: Sink, first: int = 0) -> None:
    """Try engines until one has answered, and where none can, by the arm that stands in; `first` numbers attempts. The
    sink is the client's, seen by others or not.
    """
    tries = Tries(admitted, house, first)
    while (seat := await tries.next_seat()) is not None:
        url = seat.engine.url
        respond.read_s += seat.waited_s  # the engines', and not the gateway's own part
        try:
            with seat:
                usage = await attempt(admitted, seat.engine, tries.number, sink, house, seat)
        except FAULTS as error:
            tries.failed(url, error, relayed=respond.relayed)
            respond.reset()
        else:
            tries.served(url)
            _observe(usage, admitted, house)  # before a client that has all of it can hang up
            await respond.end()
            return
    target = house.targets.of(admitted.principal, admitted.request.model, house.catalog.current)
    arm = stands_in(target, admitted.arm)
    if arm is None:
        raise tries.refusal()
    # No await since the catalog was read, as in `serve`: nobody is sent to a version that was replaced meanwhile.
    with Given(house.fleet.in_flight, arm):
        respond.describe_anew(arm)
        await _answer(admitted._replace(arm=arm), house, respond, sink, tries.number)


def _observe(usage: Usage, admitted: Admitted, house: House) -> None:
    if (tap := admitted.tap) is not None:
        house.scorer.offer(tap)
    if admitted.request.bounded_by_us and admitted.request.choices == 1:
        house.lengths.observe(admitted.principal.tenant, admitted.arm.model, usage)
