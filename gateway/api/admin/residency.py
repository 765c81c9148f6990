"""`GET /admin/v1/residency`: which version lives where, and where it should."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from gateway.api.admin.office import Office, in_json, page_of
from gateway.api.admin.shapes import After, Limit, Next, Shape
from gateway.engines.kinds import takes_adapters


class Cell(Shape):
    """One version on one engine."""

    resident: bool = Field(description="Whether the engine holds it, proven, and may serve it.")
    home: bool = Field(description="Whether it is meant to live there.")
    in_flight: int = Field(description="Requests on it there, as workers reported last.")
    idle_s: float | None = Field(description="Seconds since its newest request there; null when it is not resident.")
    strength: float | None = Field(
        description="Part of the trained effect shown there; null: not resident or no proof."
    )


class Row(Shape):
    """One version on every engine that serves its base model."""

    version: str = Field(description="tenant/adapter@1.0.")
    wanted: bool = Field(description="Whether an alias or a split sends traffic to it.")
    copies: int = Field(description="Engines that it is meant to live on; more when it is hot.")
    homes: list[str] = Field(description="URLs of these engines, the first home first; none while no engine is up.")
    engines: dict[str, Cell] = Field(description="By engine URL.")


class ResidencyDocument(Shape):
    """A page of the grid, by name."""

    engines: list[str] = Field(description="URLs of all engines: the columns.")
    rows: list[Row] = Field(description="Versions that are resident somewhere, or wanted.")
    next: Next


def add_residency(router: APIRouter, office: Office) -> None:
    """The route."""

    @router.get("/residency", response_model=ResidencyDocument)
    async def residency(
        tenant: Annotated[str | None, Query(description="Only this tenant's.")] = None,
        after: After = None,
        limit: Limit = 200,
    ) -> Response:
        """The grid of versions and engines."""
        knowledge = await office.knowledge()
        return await run_in_threadpool(lambda: in_json(_grid(knowledge, office, tenant, after, limit)))


def _grid(
    knowledge: Mapping[str, Any], office: Office, tenant: str | None, after: str | None, limit: int
) -> ResidencyDocument:
    catalog, homes = office.house.catalog.current, office.worker.view().homes
    engines = knowledge["engines"]
    held = {engine["url"]: {entry["version_id"]: entry for entry in engine["resident"]} for engine in engines}
    shown = catalog.wanted.keys() | set().union(*held.values())
    page, following = page_of(catalog, after, limit, tenant=tenant, only=lambda version: version.id in shown)
    rows = []
    for version in page:
        able = [
            engine["url"]
            for engine in engines
            if engine["base_digest"] == version.base_digest and takes_adapters(engine["kind"])
        ]
        copies = int(knowledge["copies"].get(str(version.id), 1))
        living = [url for url in homes.order(version.name) if url in able][:copies]
        rows.append(
            Row(
                version=version.name,
                wanted=version.id in catalog.wanted,
                copies=copies,
                homes=living,
                engines={url: _cell(held[url].get(version.id), url in living) for url in able},
            )
        )
    return ResidencyDocument(engines=[engine["url"] for engine in engines], rows=rows, next=following)


def _cell(entry: Mapping[str, Any] | None, home: bool) -> Cell:
    if entry is None:
        return Cell(resident=False, home=home, in_flight=0, idle_s=None, strength=None)
    return Cell(
        resident=True,
        home=home,
        in_flight=entry["in_flight"],
        idle_s=entry["idle_s"],
        strength=entry["strength"],
    )
