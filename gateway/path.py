"""THE REQUEST PATH. Every proxied request passes through `serve`, and only this file knows the order of the steps."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from gateway.api.pings import Pings
from gateway.api.request import Caps, InferenceRequest
from gateway.api.respond import Respond
from gateway.catalog_watch import CatalogWatch
from gateway.desk import Desk
from gateway.dispute import Dispute
from gateway.engines.abilities import who_cannot
from gateway.engines.connection import EngineBroke, EngineTimeout, EngineUnreachable
from gateway.errors import AnswerTimeout, ApiError, EngineFailed, Overloaded
from gateway.fleet.view import CannotLoad
from gateway.handoffs import Arm, Call, Principal, Usage
from gateway.journal.journal import Journal
from gateway.limits.limits import Bill, Limits
from gateway.limits.output_lengths import OutputLengths
from gateway.limits.prompt_tokens import PromptTokens
from gateway.limits.refusal_counts import RefusalCounts
from gateway.metrics import Metrics
from gateway.request_log import RequestLog
from gateway.settings import GatewaySettings
from gateway.splits.units import Units
from gateway.steps.admit import Admission
from gateway.steps.assign import assign
from gateway.steps.authenticate import authenticate
from gateway.steps.forward import AdapterMissing, Forward
from gateway.steps.hold import hold
from gateway.steps.load import Fleet, Load
from gateway.steps.meter import Meter
from gateway.steps.parse import parse
from gateway.steps.place import Attempt, EngineLoad, place
from gateway.steps.resolve import resolve
from registry.catalog.snapshot import Catalog

log = logging.getLogger("switchyard.path")
ENGINE_RETRY_AFTER_S = 5
MAX_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class House:
    """What the path needs of the running gateway; made once, at the start."""

    settings: GatewaySettings
    caps: Caps
    catalog: CatalogWatch
    fleet: Fleet
    admission: Admission
    desk: Desk
    limits: Limits
    lengths: OutputLengths
    prompts: PromptTokens
    units: Units
    journal: Journal
    pings: Pings
    metrics: Metrics
    refused: RefusalCounts
    requests: RequestLog


async def serve(call: Call, house: House, respond: Respond) -> None:
    """Answer one chat or completion request. Raises `ApiError` for everything that the client should hear of."""
    catalog = house.catalog.current
    principal = respond.principal = authenticate(call.authorization, catalog)
    admission = house.admission
    admission.requests.look(principal.tenant)
    with await house.limits.enter(catalog, principal):
        with admission.bodies.place(principal.tenant):
            body = await call.body()
        with admission.requests.place(principal.tenant):
            request = await parse(house.desk, principal, call.endpoint, body, house.caps)
            respond.model = request.model
            await _serve_request(call, request, len(body), catalog, principal, house, respond)


async def _serve_request(
    call: Call,
    request: InferenceRequest,
    body_bytes: int,
    known_by: Catalog,
    principal: Principal,
    house: House,
    respond: Respond,
) -> None:
    """From a checked request to its answer; `principal` is who asks as the catalog had it when the request came."""
    # Its body may have been a minute under way: what counts is what is in force now, the key's own standing too.
    catalog = house.catalog.current
    if house.catalog.lapsed:
        raise Overloaded("This worker was out of touch and is catching up.", code="catalog_lapsed", retry_after_s=1)
    if catalog is not known_by:
        principal = authenticate(call.authorization, catalog)
    target = resolve(principal, request.model, catalog)
    arm = assign(target, house.units.of(call, request, target.split) if target.split else None)
    # No await since the catalog was read: who has heard of a newer one counts every request on what it replaced.
    with house.fleet.in_flight.given(arm.version.id if arm.version else None):
        respond.describe(arm)
        respond.streams = request.stream
        request, bill = await hold(
            house.limits, house.lengths, house.prompts, house.desk, catalog, principal, arm, request, body_bytes
        )
        with bill:
            respond.say(bill.headers)
            if request.bounded_by_us:
                respond.say(((b"x-switchyard-max-tokens", b"%d" % (request.max_output_tokens or 0)),))
            house.pings.watch(respond)
            await _attempt_until_served(call, principal, request, arm, bill, house, respond)


async def _attempt_until_served(
    call: Call,
    principal: Principal,
    request: InferenceRequest,
    arm: Arm,
    bill: Bill,
    house: House,
    respond: Respond,
) -> None:
    """Try engines until one has answered. Another one only before the first byte: a begun answer is never replayed."""
    unable = _lacking(arm, request, house)
    failure = "no healthy engine serves its base model, or all are full"
    dispute = Dispute(house.fleet, principal.tenant, call.endpoint)
    load = EngineLoad(house.fleet.in_flight.by_engine, house.settings.engine_max_in_flight)
    for number in range(MAX_ATTEMPTS):
        avoided = house.fleet.breaker.avoided(time.monotonic())
        attempt = place(arm, house.fleet.view(), load, unable, avoided, number)
        if attempt is None and (back := await house.fleet.comes_back(arm.base_digest, house.settings.cold_wait_s)):
            unable = unable - back | _lacking(arm, request, house)
            attempt = place(arm, house.fleet.view(), load, unable, avoided, number)
        if attempt is None:
            break
        meter = Meter(house.journal, call, principal, request, arm, attempt.engine.url, number, bill)
        try:
            with meter as usage:
                respond.attempt = meter
                async with (
                    Load(house.fleet, attempt.engine.url, arm, wait_s=house.settings.cold_wait_s) as engine_name,
                    _forward(
                        call, principal, request, arm, bill, attempt, engine_name, usage, house.settings
                    ) as answer,
                ):
                    async for chunk in answer.chunks():
                        await respond.feed(chunk)
        except ApiError as refusal:
            if respond.relayed:
                raise
            dispute.refused(attempt.engine.url, refusal)
            respond.forget()
            unable.add(attempt.engine.url)
        except AdapterMissing as missing:  # the engine lost it: it may load it again, so it stays eligible
            house.fleet.lost(attempt.engine.url, missing.engine_name)
            failure = "the engine lost the adapter"
        except EngineTimeout as error:  # it may still be working on it: a second engine would do the work twice
            if not request.stream:
                raise _too_long(house.settings.answer_timeout_s) from error
            _note_failure(house, attempt.engine.url)
            raise _unavailable(arm, "its engine did not begin an answer in time") from error
        except (EngineUnreachable, EngineBroke) as error:  # its text names hosts and folders: for the operator only
            log.warning("request %s, attempt %d, %s: %s", call.request_id, number, attempt.engine.url, error)
            if not isinstance(error, CannotLoad):
                _note_failure(house, attempt.engine.url)
                dispute.failed(attempt.engine.url)
            if respond.relayed:
                raise EngineFailed("The engine broke off in the middle of its answer.", code="engine_broke") from error
            respond.forget()
            unable.add(attempt.engine.url)
            failure = "its engine does not answer, or cannot load it"
        else:
            house.fleet.breaker.forget(attempt.engine.url)
            dispute.served()
            await respond.end()  # the settle record is written by now
            house.metrics.used(usage)
            if request.bounded_by_us and request.choices == 1:
                house.lengths.saw(principal.tenant, arm.public_name, usage)
            return
    raise dispute.unless_settled(_unavailable(arm, failure))


def _lacking(arm: Arm, request: InferenceRequest, house: House) -> set[str]:
    return who_cannot(arm, house.fleet.view(), request.needs) if request.needs else set()


def _note_failure(house: House, engine_url: str) -> None:
    house.fleet.breaker.failed(engine_url, time.monotonic())
    house.fleet.wake()


def _too_long(limit_s: float) -> AnswerTimeout:
    return AnswerTimeout(
        f"The answer was not complete after {limit_s:g} s, the most for an answer in one piece. Ask for it with "
        "'stream': true, which has no such limit, or for fewer tokens with 'max_tokens'.",
        code="answer_timeout",
    )


def _unavailable(arm: Arm, failure: str) -> Overloaded:
    return Overloaded(
        f"{arm.public_name} cannot be served now: {failure}.",
        code="engine_unavailable",
        retry_after_s=ENGINE_RETRY_AFTER_S,
    )


def _forward(
    call: Call,
    principal: Principal,
    request: InferenceRequest,
    arm: Arm,
    bill: Bill,
    attempt: Attempt,
    engine_name: str,
    usage: Usage,
    settings: GatewaySettings,
) -> Forward:
    return Forward(
        attempt.engine.client,
        call.endpoint,
        request.body,
        engine_name=engine_name,
        public_name=arm.public_name,
        cache_salt=principal.tenant,
        request_id=call.engine_request_id,
        shows_usage=request.shows_usage,
        shows_cost=request.shows_cost,
        price=bill.price,
        choices=request.choices,
        usage=usage,
        head_timeout_s=settings.head_timeout_s if request.stream else settings.answer_timeout_s,
        idle_timeout_s=settings.idle_timeout_s,
        context=attempt.engine.max_model_len,
    )
