"""`GET /v1/models` and `GET /v1/models/{id}`: what this key can call, and nothing else. In OpenAI's form, and in
Anthropic's for who sends `anthropic-version`, as its clients do.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from gateway.api.cards import Card, Cards
from gateway.api.credentials import key_of
from gateway.api.held import SharedDocument
from gateway.api.listings import Listing, Listings
from gateway.api.tenants import may_train
from gateway.errors import BadRequest, Forbidden
from gateway.handoffs import Principal
from gateway.house import House
from gateway.steps.authenticate import authenticate
from gateway.training.models import version_of
from registry.errors import NotFound
from registry.names import MAX_EXTERNAL_MODEL_LENGTH
from registry.training.jobs import NotOfAJob

ANTHROPIC = "anthropic-version"
"""A header that only its clients send."""
PAGE, LONGEST_PAGE = 20, 1_000
"""Cards of one page of Anthropic's."""
Limit = Annotated[int, Query(ge=1, le=LONGEST_PAGE)]


def models_router(house: House) -> APIRouter:
    """The three routes."""
    router = APIRouter(prefix="/v1", tags=["models"])
    listings = Listings(house.desk)

    async def cards(request: Request) -> tuple[Principal, Cards, Listing | None]:
        """Who asks, and that key's, with the list of all where that is asked for. It counts as a request."""
        catalog, view = house.catalog.current, house.fleet.view()
        principal = authenticate(key_of(request.headers.raw), catalog)
        with await house.limits.enter(catalog, principal):
            listing = None if "model" in request.path_params else await listings.of(principal, catalog, view)
            return principal, Cards(principal, catalog, view), listing

    @router.get("/models")
    async def list_models(
        request: Request, limit: Limit = PAGE, after_id: str | None = None, before_id: str | None = None
    ) -> Any:
        """Every name that this key may send as `model`: aliases, versions, own mappings, and base models. The query is
        of Anthropic's form, which comes in pages.
        """
        principal, own, listing = await cards(request)
        assert listing is not None
        if ANTHROPIC in request.headers:
            return _page(own, listing, limit, after_id, before_id)
        return SharedDocument(house, principal, listing.document)

    @router.get("/models/{model:path}")
    async def retrieve_model(model: str, request: Request) -> dict[str, Any]:
        """One of them, by a name with or without slashes."""
        _, own, _ = await cards(request)
        card = own.one(model)
        return _as_anthropic_has_it(card) if ANTHROPIC in request.headers else card

    @router.delete("/models/{model:path}")
    async def delete_model(model: str, request: Request) -> dict[str, Any]:
        """Delete the name of a fine-tuned model. Its version is served no more, unless something else leads to it."""
        principal = may_train(house, request)  # another tenant's model looks like none
        tenant, catalog = principal.tenant, house.catalog.current
        if principal.adapters is not None:
            version_of(principal, model, catalog.external.get((tenant, model), model), catalog)
        forget = partial(house.workshop.jobs.forget_model, tenant, model[:MAX_EXTERNAL_MODEL_LENGTH])
        try:
            await house.workshop.do(tenant, partial(forget, actor=principal.key_id))
            await house.workshop.do(tenant, house.workshop.wait_until_served)
        except NotFound:
            if model not in catalog.bases:
                version_of(principal, model, model, catalog)
            raise _not_deletable(model) from None
        except NotOfAJob:
            raise _not_deletable(model) from None
        return {"id": model, "object": "model", "deleted": True}

    return router


def _not_deletable(model: str) -> Forbidden:
    return Forbidden(
        f"'{model[:200]}' is not the name of a job's fine-tuned model (ft:…), which alone can be deleted here. Other "
        "names are the operator's.",
        param="model",
        code="model_not_deletable",
    )


def _page(cards: Cards, listing: Listing, limit: int, after_id: str | None, before_id: str | None) -> dict[str, Any]:
    """Some cards in a row. Raises `BadRequest` for an id that is not listed."""
    places = listing.places
    begins, ends = 0, len(places)
    if after_id is not None:
        begins = _place(places, after_id, "after_id") + 1
    if before_id is not None:
        ends = _place(places, before_id, "before_id")
        if after_id is None:
            begins = max(0, ends - limit)
    shown = [_as_anthropic_has_it(cards.one(name)) for name in islice(places, begins, min(ends, begins + limit))]
    more = begins > 0 if before_id is not None and after_id is None else begins + len(shown) < ends
    return {
        "data": shown,
        "has_more": more,
        "first_id": shown[0]["id"] if shown else None,
        "last_id": shown[-1]["id"] if shown else None,
    }


def _place(places: Mapping[str, int], wanted: str, param: str) -> int:
    if wanted not in places:
        raise BadRequest(
            f"'{param}' is '{wanted[:200]}', which is not listed. Send an id of an earlier page.",
            param=param,
            code="invalid_value",
        )
    return places[wanted]


def _as_anthropic_has_it(card: Card) -> dict[str, Any]:
    created = datetime.fromtimestamp(card["created"], UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "type": "model",
        "id": card["id"],
        "display_name": card["id"],
        "created_at": created,
        "lifecycle": "active",
        "max_input_tokens": card["max_model_len"],
        "max_tokens": card["max_model_len"],
        **{name: card[name] for name in ("base", "endpoints", "features")},
    }
