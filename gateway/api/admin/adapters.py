"""`GET /admin/v1/adapters`: every version, what points at it, whether it may be served, and where it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from pydantic import Field

from gateway.api.admin.office import Office, in_json, page_of
from gateway.api.admin.shapes import After, Limit, Next, Shape
from registry.catalog.snapshot import Catalog, VersionEntry
from registry.names import PRODUCTION, VersionNumber


class AdapterDocument(Shape):
    """One version."""

    version: str = Field(description="tenant/adapter@1.0: what clients see as `model`.")
    aliases: list[str] = Field(description="Aliases that point at it.")
    shares: dict[str, float] = Field(description="Alias → percent of its traffic that a split sends here.")
    state: Literal["ok", "quarantined"] = Field(description="A quarantined version is kept from every engine.")
    reason: str | None = Field(description="Why it is quarantined.")
    gate: str | None = Field(
        description="What production's gate says to it: `in place`, `passed`, `failed`, `undecided`, `stale`, or "
        "`none` without a certificate; null where no gate is set."
    )
    resident_on: list[str] = Field(description="URLs of engines in traffic that hold it, as this worker routes.")
    base: str | None = Field(description="Public name of its base model.")
    manifest_digest: str = Field(description="Names all of its bytes.")
    created_at_s: int = Field(description="When it was published, in seconds since the epoch.")
    versions: int = Field(description="How many versions its adapter has.")


Search = Annotated[
    str | None,
    Query(max_length=200, description="Only names that have all of these words in them, whatever their case."),
]


class AdaptersDocument(Shape):
    """A page of versions, by name, as this worker's catalog has them."""

    adapters: list[AdapterDocument]
    next: Next


def add_adapters(router: APIRouter, office: Office) -> None:
    """The route."""

    @router.get("/adapters", response_model=AdaptersDocument)
    def list_adapters(
        tenant: Annotated[str | None, Query(description="Only this tenant's.")] = None,
        search: Search = None,
        each: Annotated[
            Literal["version", "adapter"],
            Query(description="`adapter`: one version of each, production's or else the newest."),
        ] = "version",
        after: After = None,
        limit: Limit = 200,
    ) -> Response:
        """Versions; without a controller too."""
        catalog = office.house.catalog.current
        words = (search or "").casefold().split()

        def counts(version: VersionEntry) -> bool:
            return _is_meant(version, words) and (each == "version" or _stands_for(version, catalog))

        page, following = page_of(catalog, after, limit, tenant=tenant, only=counts)
        gates = office.registry.gates.standings([version.id for version in page])
        bases = office.base_names()
        documents = [document_of(version, catalog, office, gates.get(version.id), bases) for version in page]
        return in_json(AdaptersDocument(adapters=documents, next=following))


def _is_meant(version: VersionEntry, words: Sequence[str]) -> bool:
    return all(word in version.name.casefold() for word in words)


def _stands_for(version: VersionEntry, catalog: Catalog) -> bool:
    """Whether it is the one version of its adapter that a list of adapters shows."""
    adapter = catalog.adapters[version.tenant, version.adapter]
    shown = adapter.aliases.get(PRODUCTION)
    if shown is None:
        shown = max(adapter.versions.values(), key=lambda one: VersionNumber.parse(one.number))
    return shown.id == version.id


def document_of(
    version: VersionEntry, catalog: Catalog, office: Office, gate: str | None, bases: dict[str, str] | None = None
) -> AdapterDocument:
    """One version; `bases` are names by digest, if they are at hand."""
    bases = office.base_names() if bases is None else bases
    adapter = catalog.adapters[version.tenant, version.adapter]
    return AdapterDocument(
        version=version.name,
        aliases=sorted(alias for alias, pointed_at in adapter.aliases.items() if pointed_at.id == version.id),
        shares={
            alias: arm.weight / 100
            for alias, split in adapter.splits.items()
            for arm in split.arms
            if arm.version is not None and arm.version.id == version.id
        },
        state="ok" if version.quarantined is None else "quarantined",
        reason=version.quarantined,
        gate=gate,
        resident_on=[engine.url for engine in office.worker.view().engines if version.id in engine.resident],
        base=bases.get(version.base_digest),
        manifest_digest=version.manifest_digest,
        created_at_s=version.created_at_s,
        versions=len(adapter.versions),
    )
