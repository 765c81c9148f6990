"""`/admin/v1/adapters/{tenant}/{adapter}/aliases` and `…/history`: where aliases point, and who moved them.

They are moved by `POST /admin/v1/swaps`, which loads and proves first, and takes an alias's etag as If-Match.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import Field

from gateway.api.admin.office import Office, whole_adapter
from gateway.api.admin.shapes import Limit, Next, Shape
from registry.adapters.aliases import AliasInfo
from registry.names import AdapterRef
from registry.swaps.ways_back import WayBackInfo

Owner = Annotated[str, Path(max_length=63, description="A tenant's name.")]
AdapterName = Annotated[str, Path(max_length=63, description="An adapter's name inside the tenant.")]


class AliasDocument(Shape):
    """A movable name of a version."""

    alias: str = Field(description="Its name.")
    version: str = Field(description="What it points at, tenant/adapter@1.0.")
    etag: str = Field(description="Changes with every move; send it as If-Match with a promote or rollback.")
    arms: dict[str, int] = Field(description="Version → 1/10,000 of its traffic while it is split; else empty.")
    back_to: str | None = Field(
        description="What a rollback would give all of its traffic to, now: while it is split what it points at, else "
        "the version before. Null: a rollback would be refused."
    )
    why_not_back: str | None = Field(description="Why a rollback would be refused; null where it would not.")
    why_not_moved: str | None = Field(
        description="What else decides on its traffic, or is under way: while it is, neither a rollback nor a promote "
        "begins. Null: nothing."
    )


class AliasesDocument(Shape):
    """The aliases of an adapter, by name."""

    adapter: str = Field(description="tenant/adapter.")
    aliases: list[AliasDocument]


class MoveDocument(Shape):
    """One move of one alias."""

    alias: str = Field(description="Its name.")
    from_version: str | None = Field(description="Null for the first move.")
    to_version: str = Field(description="The version that it points at since.")
    actor: str = Field(description="Who ordered it.")
    reason: str = Field(description="Why, as it was given.")
    at_ms: int = Field(description="Milliseconds since the epoch.")


class HistoryDocument(Shape):
    """A page of moves, oldest first."""

    moves: list[MoveDocument]
    next: Next


def add_aliases(router: APIRouter, office: Office) -> None:
    """The routes. They block, so they are plain functions: Starlette runs them in its thread pool."""
    registry = office.registry

    @router.get("/adapters/{tenant}/{adapter}/aliases")
    def list_aliases(tenant: Owner, adapter: AdapterName) -> AliasesDocument:
        """Where every alias of an adapter points."""
        ref = ref_of(tenant, adapter)
        back = registry.swaps.ways_back(ref)
        found = [_alias(info, back[info.alias]) for info in registry.adapters.aliases(ref) if info.alias in back]
        return AliasesDocument(adapter=ref.adapter_name, aliases=found)

    @router.get("/adapters/{tenant}/{adapter}/history")
    def list_moves(
        tenant: Owner,
        adapter: AdapterName,
        after: Annotated[int | None, Query(ge=0, le=10**9, description="`next` of the page before.")] = None,
        limit: Limit = 200,
    ) -> HistoryDocument:
        """Every move of an adapter's aliases."""
        start = after or 0
        rest = registry.adapters.history(ref_of(tenant, adapter))[start:]
        following = str(start + limit) if len(rest) > limit else None
        return HistoryDocument(moves=[MoveDocument.model_validate(move) for move in rest[:limit]], next=following)


def _alias(info: AliasInfo, back: WayBackInfo) -> AliasDocument:
    return AliasDocument(**asdict(info), back_to=back.back_to, why_not_back=back.why_not, why_not_moved=back.held)


def ref_of(tenant: str, adapter: str) -> AdapterRef:
    """The adapter that a path names. Raises `InvalidInput`."""
    return whole_adapter(f"{tenant}/{adapter}", "adapter")
