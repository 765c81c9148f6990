"""`GET /admin/v1/adapters/{tenant}/{adapter}`: versions with where they come from; why it may take no traffic."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from fastapi import APIRouter, Response
from pydantic import Field

from gateway.api.admin.adapters import AdapterDocument, document_of
from gateway.api.admin.aliases import AdapterName, Owner, ref_of
from gateway.api.admin.office import Office, in_json
from gateway.api.admin.quiet_books import reasons_in_books
from gateway.api.admin.shapes import Shape
from gateway.fleet.view import FleetView
from gateway.handoffs import Arm
from registry.adapters.proofs import ProofInfo
from registry.adapters.version_rows import VersionInfo
from registry.catalog.snapshot import Catalog, LimitEntry, VersionEntry
from registry.errors import NotFound
from registry.names import PRODUCTION

MOST_VERSIONS = 200
"""Of one answer, the newest ones."""


class ProofDocument(Shape):
    """What is known of a version's effect, in nats of a token's log-probability."""

    largest_effect: float = Field(description="The largest change that it makes to a probe's tokens.")
    noise: float = Field(description="What the same engine differs by from itself.")
    indistinguishable: bool = Field(description="Whether the effect is lost in the noise.")


class VersionDocument(AdapterDocument):
    """One version with what it was made of."""

    number: str = Field(description="1.0.")
    lineage: dict[str, Any] = Field(description="Data, recipe, base, seed, libraries and results, as they were told.")
    facts: dict[str, Any] = Field(description="What its files are: rank, modules, bytes.")
    proof: ProofDocument | None = Field(description="Null: nobody has measured what it does.")


class ReasonDocument(Shape):
    """A reason for which requests do not reach it, or not at once."""

    severity: Literal["bad", "warn", "info"] = Field(
        description="bad: requests for it fail. warn: some do. info: they are served; it is why they are few."
    )
    sentence: str = Field(description="What is the matter.")
    remedy: str = Field(description="What to do about it; a command where there is one.")


class OneAdapterDocument(Shape):
    """An adapter, as this worker's catalog and the registry have it."""

    adapter: str = Field(description="tenant/adapter.")
    versions: list[VersionDocument] = Field(description="Newest first, at most 200.")
    total: int = Field(description="How many versions there are.")
    quiet: list[ReasonDocument] = Field(description="Why it may take no traffic, the worst first; none: nothing is.")


def add_one_adapter(router: APIRouter, office: Office) -> None:
    """The route."""

    @router.get("/adapters/{tenant}/{adapter}", response_model=OneAdapterDocument)
    def show_adapter(tenant: Owner, adapter: AdapterName) -> Response:
        """One adapter: its versions with lineage, and why it may take no traffic."""
        ref = ref_of(tenant, adapter)
        catalog = office.house.catalog.current
        if (tenant, adapter) not in catalog.adapters:
            raise NotFound(f"adapter is {ref.adapter_name!r}; there is none of that name", param="adapter")
        found = [one for one in office.registry.adapters.of(ref) if one.id in catalog.versions_by_id]
        newest = sorted(found, key=lambda one: one.version, reverse=True)[:MOST_VERSIONS]
        gates = office.registry.gates.standings([one.id for one in newest])
        return in_json(
            OneAdapterDocument(
                adapter=ref.adapter_name,
                versions=[_version(one, catalog, office, gates.get(one.id)) for one in newest],
                total=len(found),
                quiet=_by_severity(
                    [
                        *reasons(tenant, adapter, catalog, office.worker.view(), gates),
                        *(ReasonDocument(**one._asdict()) for one in reasons_in_books(office.registry, ref, catalog)),
                    ]
                ),
            )
        )


def _version(info: VersionInfo, catalog: Catalog, office: Office, gate: str | None) -> VersionDocument:
    entry = catalog.versions_by_id[info.id]
    return VersionDocument(
        **document_of(entry, catalog, office, gate).model_dump(),
        number=str(info.version),
        lineage=info.lineage,
        facts=info.facts,
        proof=_proof(info.proof),
    )


def _proof(proof: ProofInfo | None) -> ProofDocument | None:
    return None if proof is None else ProofDocument.model_validate(proof)


def reasons(
    tenant: str, adapter: str, catalog: Catalog, view: FleetView, gates: dict[int, str]
) -> Iterator[ReasonDocument]:
    """Why an adapter takes no traffic, as catalog and fleet say. Pure."""
    yield from _of_keys(tenant, catalog)
    yield from _of_limits(tenant, adapter, catalog)
    yield from _of_production(tenant, adapter, catalog, view)
    yield from _of_newest(tenant, adapter, catalog, gates)


def _by_severity(found: list[ReasonDocument]) -> list[ReasonDocument]:
    order = {"bad": 0, "warn": 1, "info": 2}
    return sorted(found, key=lambda one: order[one.severity])


def _of_keys(tenant: str, catalog: Catalog) -> Iterator[ReasonDocument]:
    if not any(key.tenant == tenant and "inference" in key.scopes for key in catalog.keys.values()):
        yield ReasonDocument(
            severity="bad",
            sentence=f"No key of {tenant} is in force that may ask for adapters.",
            remedy=f"switchyard keys create {tenant}",
        )


def _of_limits(tenant: str, adapter: str, catalog: Catalog) -> Iterator[ReasonDocument]:
    for scope in (f"tenant:{tenant}", f"adapter:{tenant}/{adapter}"):
        limit = catalog.limits.get(scope)
        for name in _zeros(limit) if limit is not None else ():
            yield ReasonDocument(
                severity="bad",
                sentence=f"The limit {name} of {scope} is 0, so that all requests are refused.",
                remedy=f"switchyard limits set {scope} --{name.replace('_', '-')} …",
            )


def _zeros(limit: LimitEntry) -> list[str]:
    names = ("requests_per_minute", "tokens_per_minute", "concurrency", "daily_tokens", "monthly_tokens")
    return [name for name in names if getattr(limit, name) == 0]


def _of_production(tenant: str, adapter: str, catalog: Catalog, view: FleetView) -> Iterator[ReasonDocument]:
    entry, name = catalog.adapters[tenant, adapter], f"{tenant}/{adapter}"
    version = entry.aliases.get(PRODUCTION)
    if version is None:
        yield ReasonDocument(
            severity="bad",
            sentence=f"The alias production points at no version: requests for {name} get 404.",
            remedy=f"switchyard adapters promote {name}@{_newest(entry.versions.values()).number}",
        )
        return
    if version.quarantined is not None:
        yield ReasonDocument(
            severity="bad",
            sentence=f"{version.name}, which production points at, is quarantined: {version.quarantined}",
            remedy=f"Promote another version, or switchyard quarantine release {version.name} when the cause is gone.",
        )
    able = view.able(Arm(version.name, version.base_digest, version))
    if not able:
        base = next((one.name for one in catalog.bases.values() if one.digest == version.base_digest), "its base")
        yield ReasonDocument(
            severity="bad",
            sentence=f"No engine that serves {base} takes traffic.",
            remedy="switchyard fleet says what is wrong with each engine.",
        )
    elif version.quarantined is None and not any(version.id in engine.resident for engine in able):
        yield ReasonDocument(
            severity="info",
            sentence=f"{version.name} is on no engine now: the first request loads it, and waits for that.",
            remedy="Nothing to do; a promote, or traffic, keeps it there.",
        )


def _of_newest(tenant: str, adapter: str, catalog: Catalog, gates: dict[int, str]) -> Iterator[ReasonDocument]:
    entry = catalog.adapters[tenant, adapter]
    version, newest = entry.aliases.get(PRODUCTION), _newest(entry.versions.values())
    split = entry.splits.get(PRODUCTION)
    shared = split is not None and any(arm.version is not None and arm.version.id == newest.id for arm in split.arms)
    if version is None or version.id == newest.id or shared:
        return
    gate = gates.get(newest.id)
    waits = f", and production's gate says “{gate}” to it" if gate in ("failed", "undecided", "stale", "none") else ""
    yield ReasonDocument(
        severity="info",
        sentence=f"{newest.name} is newer than {version.name}, which production points at{waits}.",
        remedy=f"switchyard adapters promote {newest.name}",
    )


def _newest(versions: Any) -> VersionEntry:
    found: VersionEntry = max(versions, key=lambda one: tuple(map(int, one.number.split("."))))
    return found
