"""`GET /admin/v1/fleet`: controller, workers, engines and swaps in one answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import APIRouter, Response
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from gateway.api.admin.engines import EngineDocument, engines_of
from gateway.api.admin.office import Office, in_json
from gateway.api.admin.shapes import Shape
from registry.fleet.leadership import Lease
from registry.fleet.workers import WorkerInfo


class ControllerDocument(Shape):
    """Who leads the fleet."""

    pid: int = Field(description="Its process, on its host.")
    token: int = Field(description="Number of its term; every later term has a higher one.")
    view_revision: int = Field(description="Changes of the routes that it has published in this term.")
    holder: str | None = Field(description="host-pid of the lease's holder; null while the lease changes hands.")
    address: str | None = Field(description="Where workers reach it.")
    lease_until_ms: int | None = Field(description="When its lease lapses unless renewed, in ms since the epoch.")


class WorkerDocument(Shape):
    """A process that serves."""

    id: str = Field(description="host-pid.")
    linked: bool = Field(description="Whether it has a link to the controller; without one it serves what is resident.")
    pid: int | None = Field(description="Its process, on its host; null when it is not linked.")
    view_revision: int | None = Field(description="The newest change of the routes that it has confirmed.")
    in_flight: int | None = Field(description="Requests on engines that it has reported.")
    url: str | None = Field(description="Where it serves; null before its first report to the registry.")
    catalog_revision: int | None = Field(description="The catalog that it has in force; null before its first report.")


class FleetDocument(Shape):
    """The fleet as its controller knows it now."""

    controller: ControllerDocument
    workers: list[WorkerDocument] = Field(description="Linked ones and those whose lease in the registry holds.")
    engines: list[EngineDocument]
    copies: dict[str, int] = Field(description="Versions with more than one home, and how many.")
    swaps: list[int] = Field(description="Ids of the swaps in progress.")
    duties: dict[str, str] = Field(
        description="What the controller does again and again, by name: ok, or what it failed of last."
    )
    catalog_revision: int = Field(description="The catalog in force in the worker that answers.")


def add_fleet(router: APIRouter, office: Office) -> None:
    """The route."""

    @router.get("/fleet", response_model=FleetDocument)
    async def show_fleet() -> Response:
        """Everything that the controller knows, with names of versions by this worker's catalog."""
        knowledge = await office.knowledge()

        def answer() -> Response:
            registry = office.registry
            lease, live, drains = registry.leadership.current(), registry.workers.live(), registry.drains.all()
            return in_json(
                FleetDocument(
                    controller=_controller(knowledge["controller"], lease),
                    workers=_workers(knowledge["workers"], live),
                    engines=engines_of(knowledge, office, drains),
                    copies={
                        office.name_of(int(version_id)) or f"version id {version_id}": number
                        for version_id, number in knowledge["copies"].items()
                    },
                    swaps=knowledge["swaps"],
                    duties=knowledge["duties"],
                    catalog_revision=office.house.catalog.current.revision,
                )
            )

        return await run_in_threadpool(answer)


def _controller(known: Mapping[str, Any], lease: Lease | None) -> ControllerDocument:
    held = lease if lease is not None and lease.token == known["token"] else None
    return ControllerDocument(
        **known,
        holder=held.holder if held else None,
        address=held.address if held else None,
        lease_until_ms=held.expires_at_ms if held else None,
    )


def _workers(linked: Sequence[Mapping[str, Any]], live: Sequence[WorkerInfo]) -> list[WorkerDocument]:
    links = {one["id"]: one for one in linked}
    reports = {one.id: one for one in live}
    found = []
    for worker in sorted(links.keys() | reports.keys()):
        link, report = links.get(worker, {}), reports.get(worker)
        found.append(
            WorkerDocument(
                id=worker,
                linked=worker in links,
                pid=link.get("pid"),
                view_revision=link.get("view_revision"),
                in_flight=link.get("in_flight"),
                url=report.url if report else None,
                catalog_revision=report.acknowledged_revision if report else None,
            )
        )
    return found
