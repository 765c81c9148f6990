"""`/admin/v1/engines`: every engine as the controller knows it; out of traffic and back by order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Response
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from gateway.api.admin.office import Office, in_json
from gateway.api.admin.shapes import Actor, Order, Reason, Shape
from gateway.engines.address import engine_url
from gateway.engines.engine import EngineState, Source
from registry.errors import NotFound
from registry.fleet.drains import Drain


class DrainDocument(Shape):
    """An order to keep an engine out of traffic."""

    url: str = Field(description="The engine.")
    actor: str = Field(description="Who ordered it.")
    reason: str = Field(description="Why.")
    since_ms: int = Field(description="When, in milliseconds since the epoch.")


class ResidentDocument(Shape):
    """An adapter version that an engine holds and that may take traffic there."""

    version: str | None = Field(description="tenant/adapter@1.0; null when this worker's catalog does not show it yet.")
    version_id: int = Field(description="Its id in the registry.")
    name: str = Field(description="What it is called on the engine, for this load only.")
    strength: float | None = Field(
        description="Part of the trained effect that the engine showed, 1 is all of it; null: it has no effect proof."
    )
    fully_proven: bool = Field(description="Whether every probe of the proof was replayed, and not only the first.")
    in_flight: int = Field(description="Requests on it now, as workers reported last (4 times a second).")
    idle_s: float | None = Field(description="Seconds since its newest request began, or it was loaded.")
    requests_per_s: float = Field(description="Requests a second on the version, on all engines, averaged over ~10 s.")


class BarredDocument(Shape):
    """A version that an engine refuses and that others prove: it is not loaded there for a while."""

    version: str | None = Field(description="tenant/adapter@1.0; null when this worker's catalog does not show it yet.")
    version_id: int = Field(description="Its id in the registry.")
    reason: str = Field(description="What the engine said.")
    for_s: float = Field(description="Seconds until it may be tried again.")


class ProbesDocument(Shape):
    """What the controller's own questions have cost an engine in this term; the ledger has them under `_system`."""

    asked: int = Field(description="Proofs of effect, questions about its base, signs of life.")
    unanswered: int = Field(description="Of them, those of which the engine did not say what they cost.")
    dropped: int = Field(description="Of them, those that could not be booked, as the ledger was away for too long.")
    prompt_tokens: int = Field(description="Read for them, as the engine counted.")
    completion_tokens: int = Field(description="Made for them, as the engine counted.")


class LoadsDocument(Shape):
    """What has become of loads of adapters on an engine since the leader's term began."""

    ok: int = Field(description="Loaded, and proven.")
    failed: int = Field(description="Ended without the adapter.")
    evictions: int = Field(
        description="Adapters that it had to give up to have room for others. Many of them, and it has too few places."
    )


class LineDocument(Shape):
    """A tenant that waits for engines that are full."""

    tenant: str = Field(description="Who waits.")
    weight: int = Field(description="Its share, beside that of others.")
    running: int = Field(description="What runs of it on engines of this base, over all workers.")
    waiting: int = Field(description="Its requests that wait.")


class EngineDocument(Shape):
    """One engine."""

    url: str = Field(description="http://host:port.")
    kind: str = Field(description="What it is: vllm.")
    id: str | None = Field(description="What usage rows know it by when its URL changes; null: by its URL.")
    source: Source = Field(
        "settings", description="Who declares it: the settings of the gateway that leads, or an operator's order."
    )
    removed: bool = Field(False, description="Whether it is to leave the fleet when no request runs on it any more.")
    key_variable: str | None = Field(None, description="Environment variable in which its own key is, if in one.")
    state: EngineState = Field(description="Only `up` and `slow` take new requests.")
    fault: str | None = Field(description="What is wrong with it, in words.")
    drain: DrainDocument | None = Field(description="The order that keeps it out of traffic, if there is one.")
    version: str = Field(description="vLLM's version; `unknown` before it answered.")
    platform: str = Field(description="cpu or gpu, as declared.")
    base: str | None = Field(description="Public name of its base model.")
    base_digest: str = Field(description="Digest of its base model.")
    base_distance_nats: float | None = Field(
        None, description="How far its base answers from the registered one; null: there is nothing to compare with."
    )
    chat_template: str | None = Field(
        None,
        description="`same` when it renders conversations as its registered base does, else what differs or why that "
        "is unverified; null: its controller is older.",
    )
    boot_s: float | None = Field(description="When its process began, in seconds since the epoch.")
    in_flight: int = Field(description="Requests that workers have on it.")
    max_num_seqs: int | None = Field(
        None, description="Requests that it runs at once, as declared; null: it is found out."
    )
    line_waiting: int = Field(
        0,
        description="Answers that wait in the gateway until an engine of its base has room, of a request one or as "
        "many as it wants (`n`), as workers reported.",
    )
    line: list[LineDocument] = Field([], description="Of whom they are: who is next comes first.")
    running: int | None = Field(description="Requests in its batch, as it says itself; of anybody.")
    waiting: int | None = Field(description="Requests in its queue, as it says itself; of anybody.")
    kv_usage: float | None = Field(description="Part of its KV cache in use, 0 to 1.")
    steps: float | None = Field(description="Its count of progress; one that stands still under requests hangs.")
    max_loras: int | None = Field(None, description="Different adapters in one batch, as it says itself: --max-loras.")
    prompt_tokens: int | None = Field(None, description="Read since its boot, as it says itself; for anybody.")
    generation_tokens: int | None = Field(None, description="Made since its boot, as it says itself; for anybody.")
    probes: ProbesDocument | None = Field(None, description="Our own questions; null: its controller is older.")
    breaches: dict[str, int] = Field(
        {},
        description="Answers that no engine gives, by what was wrong with them, since the controller's term began: "
        "after engine_breaches of them within engine_breach_window_s it is refused.",
    )
    places: int = Field(description="Adapters that it can hold: its --max-cpu-loras.")
    places_used: int | None = Field(
        description="Places taken, with the zero adapter, what is leaving and strangers; null while it is down."
    )
    loads: LoadsDocument | None = Field(None, description="Loads and evictions; null: its controller is older.")
    leaving: list[str] = Field(description="Names out of the routes, unloaded when nobody uses them any more.")
    barred: list[BarredDocument] = Field([], description="What it refuses and others prove; not loaded there now.")
    foreign: list[str] = Field(description="Adapters that somebody else has put there; they take places.")
    resident: list[ResidentDocument] = Field(description="What it can serve at once.")


class EnginesDocument(Shape):
    """Every engine: those of the settings in their order, then those that were added."""

    engines: list[EngineDocument]


class DrainOrder(Order):
    """Take an engine out of traffic."""

    url: str = Field(description="The engine's URL, as `GET /engines` shows it.")
    reason: Reason = ""
    actor: Actor


class ResumeOrder(Order):
    """Let an engine take traffic again."""

    url: str = Field(description="The engine's URL, as `GET /engines` shows it.")


class Resumed(Shape):
    """What a resume did."""

    url: str = Field(description="The engine.")
    was_drained: bool = Field(description="False when it was in traffic already.")


def add_engines(router: APIRouter, office: Office) -> None:
    """The routes."""

    @router.get("/engines", response_model=EnginesDocument)
    async def list_engines() -> Response:
        """Every engine: health, boot, queue, KV use, places, and what it holds."""
        knowledge = await office.knowledge()

        def answer() -> Response:
            return in_json(EnginesDocument(engines=engines_of(knowledge, office, office.registry.drains.all())))

        return await run_in_threadpool(answer)

    @router.post("/engines/drain")
    async def drain(order: DrainOrder) -> DrainDocument:
        """No new requests for an engine; those on it finish. The order outlives restarts of engine and gateway."""
        url = await _known(order.url, office)
        done = await run_in_threadpool(office.registry.drains.order, url, actor=order.actor, reason=order.reason)
        office.worker.wake()
        return DrainDocument.model_validate(done)

    @router.post("/engines/resume")
    async def resume(order: ResumeOrder) -> Resumed:
        """Let an engine take traffic again; to repeat it is no error."""
        url = engine_url(order.url)
        was_drained = await run_in_threadpool(office.registry.drains.lift, url)
        if not was_drained:  # an engine that is declared no more may still have an order to be lifted
            await _known(url, office)
        office.worker.wake()
        return Resumed(url=url, was_drained=was_drained)


def engines_of(knowledge: Mapping[str, Any], office: Office, drains: Mapping[str, Drain]) -> list[EngineDocument]:
    """The engines of the controller's document, with names for ids and the orders in force."""
    bases = office.base_names()
    return [
        EngineDocument.model_validate(
            {
                **engine,
                "base": bases.get(engine["base_digest"]),
                "drain": drains.get(engine["url"]),
                **{
                    held: [{**entry, "version": office.name_of(entry["version_id"])} for entry in engine.get(held, ())]
                    for held in ("resident", "barred")
                },
            }
        )
        for engine in knowledge["engines"]
    ]


async def _known(url: str, office: Office) -> str:
    """The URL as the fleet knows it; before any controller was heard of, as settings and registry say.

    Raises `NotFound`.
    """
    wanted = engine_url(url)
    known = [engine.url for engine in office.worker.engines()]
    if not office.worker.informed.is_set():
        added = await run_in_threadpool(office.registry.added_engines.all)
        known = [one.url for one in office.house.settings.declared_engines()] + [one.url for one in added]
    if wanted not in known:
        raise NotFound(f"there is no engine {url[:200]!r}; the fleet has {', '.join(known) or 'none'}", param="url")
    return wanted
