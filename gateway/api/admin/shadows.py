"""`/admin/v1/shadows`: copies of a tenant's requests to a candidate, and what came of them."""

from __future__ import annotations

from dataclasses import asdict
from operator import attrgetter
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import Field

from gateway.api.admin.office import Office, exact_version, one_page, whole_adapter
from gateway.api.admin.quarantine import WAIT_S
from gateway.api.admin.shapes import Actor, After, Dollars, InForce, Limit, Name, Next, Order, Reason, Shape
from gateway.api.admin.swaps import MAX_ID
from registry.money import dollars_to_nano
from registry.names import PRODUCTION
from registry.shadows.summary import summarise
from registry.shadows.terms import MOST_DAYS, MOST_REQUESTS, USUAL_REQUESTS_PER_DAY, Terms
from registry.splits.ranges import FULL_WEIGHT

ShadowId = Annotated[int, Path(ge=1, le=MAX_ID, description="A shadow's id.")]


class ShadowOrder(Order):
    """A shadow to begin."""

    version: str = Field(max_length=200, description="The candidate, tenant/adapter@1.1.")
    alias: Name = Field(PRODUCTION, description="The alias whose requests are copied.")
    share: int = Field(strict=True, ge=1, le=FULL_WEIGHT, description="In 1/10,000 of them.")
    lasts_s: int = Field(strict=True, ge=1, le=MOST_DAYS * 86_400, description="How long it goes on, in seconds.")
    requests_per_day: int = Field(
        USUAL_REQUESTS_PER_DAY, strict=True, ge=1, le=MOST_REQUESTS, description="Copies a UTC day at most."
    )
    budget: Dollars | None = Field(None, description="Dollars that all copies may cost; then it ends. null: no bound.")
    actor: Actor


class ShadowEnd(Order):
    """Why a shadow is ended."""

    reason: Reason = "stopped by hand"
    actor: Actor


class ShadowDocument(Shape):
    """A shadow."""

    id: int = Field(description="Its number.")
    adapter: str = Field(description="tenant/adapter.")
    alias: str = Field(description="The alias whose requests are copied.")
    candidate: str = Field(description="tenant/adapter@1.1.")
    share: int = Field(description="In 1/10,000.")
    requests_per_day: int = Field(description="Copies that it may send on a UTC day, at most.")
    budget_nano: int | None = Field(description="In nano-dollars; null: no bound.")
    until_ms: int = Field(description="Milliseconds since the epoch.")
    experiment_id: int | None = Field(description="The experiment whose plan has begun it.")
    actor: str = Field(description="Who began it.")
    started_at_ms: int = Field(description="Milliseconds since the epoch.")
    ended_at_ms: int | None = Field(description="Milliseconds since the epoch; null: it has not ended.")
    ended_why: str | None = Field(description="Why it has ended; null: it has not.")
    sent_today: int = Field(description="Copies that workers were allowed to send on this UTC day.")
    spent_nano: int = Field(description="What its copies have cost, which no tenant pays.")
    counts: dict[str, int] = Field(
        description="Of the requests that were to be copied: `paired`, and by cause those of which a side is missing."
    )


class ShadowsDocument(Shape):
    """A page of shadows, newest first."""

    shadows: list[ShadowDocument]
    next: Next


class ShadowOutcome(ShadowDocument):
    """The shadow as it is now."""

    in_force: InForce


class PairDocument(Shape):
    """Two answers to one request."""

    request_id: str = Field(description="Of the tenant's request; usage rows of both answers have it.")
    at_ms: int = Field(description="Milliseconds since the epoch.")
    endpoint: str = Field(description="Of the gateway, such as `chat`.")
    cause: str | None = Field(description="Why a side is missing or broken off; null: both are whole.")
    control: dict[str, Any] = Field(description="Figures of the tenant's own answer.")
    candidate: dict[str, Any] = Field(description="Figures of the copy's.")
    diff: dict[str, Any] = Field(description="What tells the two apart; empty without two whole answers.")
    content: dict[str, Any] | None = Field(description="The texts, where asked for and still kept.")
    verdicts: list[dict[str, Any]] = Field(description="What judges have said of it, each asked in both orders.")


class SummaryDocument(Shape):
    """All stored pairs of a shadow, taken together."""

    summary: dict[str, Any] = Field(description="Figures of both sides, how they differ, what judges said.")


class PairsDocument(Shape):
    """A page of pairs, oldest first."""

    pairs: list[PairDocument]
    next: Next


def add_shadows(router: APIRouter, office: Office) -> None:
    """The routes. They block, so they are plain functions: Starlette runs them in its thread pool."""
    _add_steering(router, office)
    _add_pairs(router, office)


def _add_steering(router: APIRouter, office: Office) -> None:
    registry = office.registry

    @router.get("/shadows")
    def list_shadows(
        adapter: Annotated[str | None, Query(max_length=200, description="tenant/adapter. Default: all.")] = None,
        after: Annotated[int | None, Query(ge=1, le=MAX_ID, description="`next` of the page before.")] = None,
        limit: Limit = 100,
    ) -> ShadowsDocument:
        """Shadows, newest first."""
        ref = None if adapter is None else whole_adapter(adapter, "adapter")
        page, following = one_page(registry.shadows.page(ref, after, limit + 1), limit, attrgetter("id"))
        return ShadowsDocument(
            shadows=[ShadowDocument.model_validate(info) for info in page],
            next=following,
        )

    @router.post("/shadows", status_code=201)
    def begin_shadow(order: ShadowOrder) -> ShadowOutcome:
        """Copy some of an alias's requests to a candidate, if the tenant consents."""
        budget_nano = None if order.budget is None else dollars_to_nano(order.budget, "budget")
        terms = Terms(order.share, order.lasts_s * 1000, order.requests_per_day, budget_nano)
        ref = exact_version(order.version, "version")
        info = registry.shadows.begin(ref, terms, alias=order.alias, actor=order.actor)
        document = ShadowDocument.model_validate(info)
        return ShadowOutcome(**dict(document), in_force=registry.wait_until_served(WAIT_S))

    @router.get("/shadows/{shadow_id}")
    def show_shadow(shadow_id: ShadowId) -> ShadowDocument:
        """One shadow."""
        return ShadowDocument.model_validate(registry.shadows.get(shadow_id))

    @router.post("/shadows/{shadow_id}/stop")
    def stop_shadow(shadow_id: ShadowId, order: ShadowEnd) -> ShadowOutcome:
        """End it; no copy begins from then on, and those that run end."""
        document = ShadowDocument.model_validate(registry.shadows.end(shadow_id, why=order.reason, actor=order.actor))
        return ShadowOutcome(**dict(document), in_force=registry.wait_until_served(WAIT_S))


def _add_pairs(router: APIRouter, office: Office) -> None:
    registry = office.registry

    @router.get("/shadows/{shadow_id}/summary")
    def summarise_pairs(shadow_id: ShadowId) -> SummaryDocument:
        """All stored pairs taken together: figures of both sides, how they differ, what judges said."""
        registry.shadows.get(shadow_id)
        return SummaryDocument(summary=asdict(summarise(registry.pairs.all(shadow_id))))

    @router.get("/shadows/{shadow_id}/pairs")
    def list_pairs(
        shadow_id: ShadowId,
        after: After = None,
        limit: Limit = 100,
        texts: Annotated[bool, Query(description="With what was asked and answered, where that is kept.")] = False,
    ) -> PairsDocument:
        """Pairs and those of which a side is missing, the oldest first."""
        registry.shadows.get(shadow_id)
        found = registry.pairs.page(shadow_id, after, limit + 1, with_content=texts)
        page, following = one_page(found, limit, attrgetter("request_id"))
        documents = [PairDocument.model_validate(asdict(pair)) for pair in page]
        return PairsDocument(pairs=documents, next=following)
