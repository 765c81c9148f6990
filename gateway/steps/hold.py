"""What can this request use at most? Hold that, or refuse it.

An answer's bound is `max_tokens` times the number of answers. Where tokens or dollars are counted, a request that names
none gets one: what about one answer in a hundred reaches, or less if the limits never have room for that. What is held
is also what the engine is told, so that the hold bounds what is spent.

A prompt counts for the rate as a quarter of the body's bytes, about right for English. For budgets it counts as the
most that the base's tokenizer makes of all of them, by what was measured of it when it was registered
(`registry.bases.token_bound`), and what its chat template says by itself: so a budget is never overshot. To
that comes what templates and normalisation add (`gateway.added_bytes`). Where that would refuse a request, or nearly,
an engine counts the prompt as it is going to serve it (`gateway.limits.prompt_tokens`).

What has a price or is counted is so asked that the engine counts as it goes on: who leaves half way has used that.
"""

from __future__ import annotations

from functools import partial
from typing import Protocol

from gateway.added_bytes import additions
from gateway.desk import Desk
from gateway.handoffs import Arm, InferenceRequest, Principal
from gateway.limits.fitting import decided_by_prompt, longest_answers
from gateway.limits.holds import NOTHING, Reservation
from gateway.limits.limits import FREE, Bill, Limits, Standing
from gateway.limits.output_lengths import OutputLengths
from gateway.limits.prompt_tokens import PromptTokens
from gateway.limits.sizes import Size
from gateway.sealed_request import says, with_fields
from registry.catalog.snapshot import Catalog, TariffEntry

BYTES_PER_TOKEN = 4
TEMPLATE_TOKENS = 128
"""For what a chat template puts around the messages, at least: a base whose own renderings are longer gets so many.
Default system prompts have 20 to 60 tokens, some 400.
"""
LEAST_BODY_BYTES = 56
"""Of a request with one short message, without the name of its model."""


class Accounts(Protocol):
    """What knows how much a request may use, and who counts it."""

    @property
    def limits(self) -> Limits:
        """Who has how much left."""

    @property
    def lengths(self) -> OutputLengths:
        """How long answers are."""

    @property
    def prompts(self) -> PromptTokens:
        """How long prompts are."""

    @property
    def desk(self) -> Desk:
        """Where what takes long about large bodies is done."""


async def hold(
    accounts: Accounts, catalog: Catalog, principal: Principal, arm: Arm, request: InferenceRequest
) -> tuple[InferenceRequest, Bill]:
    """The request as it may go to the engine, and its bill. Raises what `Limits.open` raises."""
    limits = accounts.limits
    standing = limits.standing(catalog, principal, arm)
    free = not request.dialect.uses_tokens
    if not free and standing.counts_use:
        return await _hold_use(accounts, principal, arm, request, standing)
    price = FREE if free else standing.price
    asked = request if price is None else request.dialect.counted(request)
    if not standing.counters:
        return asked, Bill(limits, standing, None, price)
    return asked, await limits.open(standing, NOTHING, free=free)


async def _hold_use(
    accounts: Accounts, principal: Principal, arm: Arm, request: InferenceRequest, standing: Standing
) -> tuple[InferenceRequest, Bill]:
    tenant, body_bytes, most = principal.tenant, request.body_bytes, request.max_output_tokens
    bound, known_template = standing.base.tokens, standing.base.template_tokens
    template = max(TEMPLATE_TOKENS, known_template)
    work = partial(additions, request.dialect, request.body, bound)
    more, by_template = await accounts.desk.ask(tenant, body_bytes, work)
    rate_prompt = -(-(body_bytes + more) // BYTES_PER_TOKEN)
    prompts = max(1, request.choices // (request.body.get("n") or 1))
    prompt = by_bytes = template + bound.most(body_bytes + more + by_template, prompts)
    answers = (accounts.lengths.bound(tenant, arm.model) if most is None else most) * request.choices
    least = LEAST_BODY_BYTES + len(request.model) + template
    least_answers = request.choices if most is None else answers
    if decided_by_prompt(standing.counters, prompt, answers, least_answers, standing.price):
        counted = await accounts.prompts.count(tenant, arm, request)
        if counted is not None:
            prompt, least = counted, known_template or TEMPLATE_TOKENS
        prompt = min(prompt, accounts.prompts.most(arm, request) or prompt)
    if most is None:
        fits = longest_answers(standing.counters, rate_prompt, prompt, standing.price, answers)
        request = _bounded(request, max(1, fits // request.choices))
    size = _size(rate_prompt, prompt, least, request, standing.price)._replace(bound_prompt=by_bytes)
    reservation = Reservation(size.most("rate_tokens"), size.most("tokens"), size.most("nano"), size)
    asked = request.dialect.counted(request)
    return asked, await accounts.limits.open(standing, reservation)


def _size(rate_prompt: int, prompt: int, least: int, request: InferenceRequest, price: TariffEntry | None) -> Size:
    answers = request.body.get("n") or 1
    return Size(
        rate_prompt,
        prompt,
        request.max_output_tokens or 0,
        answers,
        max(1, request.choices // answers),
        _bound(request),
        says(request, "tools"),
        min(rate_prompt, -(-(LEAST_BODY_BYTES + len(request.model)) // BYTES_PER_TOKEN)),
        min(prompt, least),
        price,
    )


def _bound(request: InferenceRequest) -> str | None:
    """What the client can say to have shorter answers."""
    names = [] if request.bounded_by_us else _named_bound(request)
    if (request.body.get("min_tokens") or 0) > 1:
        names.append(request.dialect.public_field("min_tokens"))
    return " and ".join(names) or None


def _named_bound(request: InferenceRequest) -> list[str]:
    bounds = [name for name in ("max_completion_tokens", "max_tokens") if request.body.get(name) is not None]
    named = [request.dialect.public_field(name) for name in bounds]
    if not named and (default := request.dialect.default_output_tokens) is not None:
        return [f"max_tokens (without one it is {default})"]
    return named[:1]


def _bounded(request: InferenceRequest, most: int) -> InferenceRequest:
    most = max(most, request.body.get("min_tokens") or 0)
    bounded = with_fields(request, max_completion_tokens=most)
    return bounded._replace(max_output_tokens=most, bounded_by_us=True)
