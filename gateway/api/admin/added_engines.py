"""`POST /admin/v1/engines` and `DELETE`: engines that come and go while the gateway serves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from gateway.api.admin.office import Office
from gateway.api.admin.shapes import Actor, ActorQuery, Order, Shape
from gateway.engines.address import engine_url
from gateway.engines.engine import VLLM, Engine, Platform
from gateway.engines.kinds import require_kind
from gateway.fleet.sources import declared_base, document_of, require_engine_url
from gateway.settings import ENGINE_KEY_VARIABLE, GatewaySettings, engine_key_in
from registry.errors import Conflict, InvalidInput, NotFound
from registry.service import Registry

MAX_URL = 200


class NewEngineOrder(Order):
    """Have the fleet serve from an engine; what is left out is as the gateway's settings say of every engine."""

    url: str = Field(max_length=MAX_URL, description="http://host:port.")
    base: str | None = Field(None, description="Public name of the base model that it serves.")
    platform: Platform | None = Field(None, description="Its hardware.")
    max_cpu_loras: int | None = Field(None, ge=3, le=100_000, description="Its --max-cpu-loras.")
    max_num_seqs: int | None = Field(
        None, gt=0, le=1_000_000, description="Its --max-num-seqs: requests that it runs at once."
    )
    prompt_logprobs: bool | None = Field(None, description="Whether it survives log-probabilities of prompts.")
    key_variable: str | None = Field(
        None,
        pattern=ENGINE_KEY_VARIABLE,
        max_length=100,
        description="Environment variable in which every gateway process has its --api-key.",
    )
    kind: str = Field(VLLM, max_length=40, description="What it is: vllm.")
    id: str | None = Field(
        None, min_length=1, max_length=200, description="What usage rows know it by, wherever it is; default: its URL."
    )
    pool: str | None = Field(
        None, min_length=1, max_length=63, description="Engines that are paid for together, for `switchyard cost`."
    )
    actor: Actor


class AddedEngineDocument(Shape):
    """An engine that an operator has added."""

    url: str = Field(description="The engine.")
    base_digest: str = Field(description="Digest of its base model.")
    platform: Platform = Field(description="Its hardware.")
    places: int = Field(description="Adapters that it can hold: its --max-cpu-loras.")
    max_num_seqs: int | None = Field(description="Requests that it runs at once; null: it is found out.")
    prompt_logprobs: bool = Field(description="Whether it survives log-probabilities of prompts.")
    key_variable: str | None = Field(description="Where its key is, if it has one of its own.")
    kind: str = Field(description="What it is.")
    id: str | None = Field(description="What usage rows know it by; null: its URL.")
    pool: str | None = Field(description="Engines that are paid for together; null: it is in none.")
    actor: str = Field(description="Who added it.")
    added_at_ms: int = Field(description="When, in milliseconds since the epoch.")


class RemovedEngineDocument(Shape):
    """An engine that is to leave."""

    url: str = Field(description="The engine; it takes no new requests.")
    removed_at_ms: int = Field(description="When that was ordered first, in milliseconds since the epoch.")


def add_added_engines(router: APIRouter, office: Office) -> None:
    """The routes."""

    @router.post("/engines", status_code=201)
    async def add_engine(order: NewEngineOrder) -> AddedEngineDocument:
        """Serve from one more engine: it is met at once, and takes traffic when it has shown what it is.

        To repeat it is no error, and takes a removal back.
        """
        url = engine_url(order.url)
        require_engine_url(url, param="url")
        if any(engine.url == url and engine.source == "settings" for engine in office.worker.engines()):
            raise Conflict(f"engine {url} is in the gateway's settings already", param="url")
        if order.id is not None:
            _require_new_id(order.id, url, office.worker.engines())
        added = await run_in_threadpool(_add, order, url, office.registry, office.house.settings)
        office.worker.wake()
        return added

    @router.delete("/engines")
    async def remove_engine(
        url: Annotated[str, Query(max_length=MAX_URL, description="The engine, as `GET /engines` shows it.")],
        actor: ActorQuery,
    ) -> RemovedEngineDocument:
        """Take an engine out of traffic, and out of the fleet when no request runs on it any more."""
        removed = await run_in_threadpool(_remove, engine_url(url), office, actor)
        office.worker.wake()
        return removed


def _add(order: NewEngineOrder, url: str, registry: Registry, settings: GatewaySettings) -> AddedEngineDocument:
    variable = order.key_variable
    if variable is not None and engine_key_in(variable) is None:
        raise InvalidInput(
            f"key_variable is {variable!r}, and this gateway's environment has no key there; set it for every gateway "
            "process before it starts",
            param="key_variable",
        )
    require_kind(order.kind)
    base = declared_base(registry, order.base or settings.engine_base)
    platform = order.platform or settings.engine_platform
    engine = Engine(
        url,
        base.digest,
        platform,
        order.max_cpu_loras or settings.engine_max_cpu_loras,
        settings.survives_prompt_logprobs(order.prompt_logprobs, platform),
        variable,
        kind=order.kind,
        source="admin",
        id=order.id,
        max_num_seqs=order.max_num_seqs or settings.engine_max_num_seqs,
        pool=order.pool,
    )
    row = registry.added_engines.add(url, document_of(engine), actor=order.actor)
    return AddedEngineDocument(**row.declared, actor=row.actor, added_at_ms=row.added_at_ms)


def _require_new_id(id_: str, url: str, engines: Iterable[Engine]) -> None:
    """Usage rows of two engines must not be taken for one's. Raises `Conflict`."""
    holder = next((one.url for one in engines if one.id == id_ and one.url != url), None)
    if holder is not None:
        raise Conflict(f"id is {id_!r}, which is that of engine {holder}; an id is of one engine", param="id")


def _remove(url: str, office: Office, actor: str) -> RemovedEngineDocument:
    declared = next((engine for engine in office.worker.engines() if engine.url == url), None)
    if declared is not None and declared.source == "settings":
        raise Conflict(
            f"engine {url} is in the gateway's settings (SWITCHYARD_ENGINES), which no order can change: take it out "
            f"there and restart the gateway. Until then `switchyard engines drain {url}` keeps it out of traffic",
            param="url",
        )
    try:
        return RemovedEngineDocument.model_validate(office.registry.added_engines.remove(url, actor=actor))
    except NotFound:
        known = ", ".join(engine.url for engine in office.worker.engines())
        raise NotFound(f"there is no engine {url!r}; the fleet has {known or 'none'}", param="url") from None
