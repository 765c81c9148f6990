"""`/admin/v1/tenants`: customers, their settings, and the model names that their code sends."""

from __future__ import annotations

from operator import attrgetter
from typing import Annotated, cast

from fastapi import APIRouter, Path, Response
from pydantic import Field

from gateway.api.admin.etags import IfMatch, IfNoneMatch, expected_by, tag
from gateway.api.admin.office import Office, one_page
from gateway.api.admin.quarantine import WAIT_S
from gateway.api.admin.shapes import Actor, ActorQuery, After, InForce, Limit, Name, Next, Order, Shape
from registry.days import MOST_DAYS
from registry.errors import InvalidInput
from registry.names import MAX_EXTERNAL_MODEL_LENGTH
from registry.tenants.store import MOST, MOST_STORED, MOST_WEIGHT, TenantSettings

TenantName = Annotated[str, Path(max_length=63, description="A tenant's name.")]
External = Annotated[
    str, Path(max_length=MAX_EXTERNAL_MODEL_LENGTH, description="The name that the tenant's code sends as `model`.")
]


class TenantDocument(Shape):
    """A tenant."""

    name: str = Field(description="1 to 63 characters a-z, 0-9 and '-'.")
    allow_unknown_fields: bool = Field(
        description="Whether request fields that the gateway does not know pass to the engine; else they are refused."
    )
    response_days: int | None = Field(
        description="How long its responses and conversations are kept; 0: never; null: as the gateway's setting."
    )
    max_stored_records: int | None = Field(
        description="Most responses, conversations and items of conversations that are kept for it; null: as the "
        "gateway's setting."
    )
    max_stored_bytes: int | None = Field(description="Likewise, their bytes in the database.")
    shadow_consent: bool = Field(description="Whether its requests may be copied to a candidate version.")
    pair_days: int | None = Field(
        description="How long the texts of copied requests are kept; 0: only figures are; null: as the gateway's "
        "setting."
    )
    weight: int = Field(description="Its share of engines that are full, beside that of others: 1 to 1,000.")
    created_at_ms: int = Field(description="Milliseconds since the epoch.")
    etag: str = Field(description="Names these settings; send it as If-Match to change only these.")


class TenantsDocument(Shape):
    """A page of tenants, by name."""

    tenants: list[TenantDocument]
    next: Next


class NewTenant(Order):
    """A tenant to add."""

    name: Name = Field(description="1 to 63 characters a-z, 0-9 and '-'.")
    allow_unknown_fields: bool = Field(
        False, strict=True, description="Pass request fields that the gateway does not know on to the engine."
    )
    actor: Actor


class TenantChange(Order):
    """Settings to change; what is not named stays."""

    allow_unknown_fields: bool = Field(
        False,
        strict=True,
        description="Pass request fields that the gateway does not know on to the engine, or refuse them.",
    )
    response_days: int | None = Field(
        None,
        strict=True,
        ge=0,
        le=MOST_DAYS,
        description="How long its responses and conversations are kept; 0: never; null: as the gateway's setting.",
    )
    max_stored_records: int | None = Field(
        None,
        strict=True,
        ge=0,
        le=MOST_STORED,
        description="Most responses, conversations and items of conversations that are kept for it; null: as the "
        "gateway's setting.",
    )
    max_stored_bytes: int | None = Field(
        None, strict=True, ge=0, le=MOST_STORED, description="Likewise, their bytes in the database."
    )
    shadow_consent: bool = Field(
        False,
        strict=True,
        description="Whether its requests may be copied to a candidate version. When it is withdrawn, nothing more is "
        "copied, and the texts of what was are deleted.",
    )
    pair_days: int | None = Field(
        None,
        strict=True,
        ge=0,
        le=MOST_DAYS,
        description="How long the texts of copied requests are kept; 0: only figures are; null: as the gateway's "
        "setting.",
    )
    weight: int = Field(
        1,
        strict=True,
        ge=1,
        le=MOST_WEIGHT,
        description="Its share of engines that are full: of what they run, a tenant with 2 gets twice what one with 1 "
        "does, while both have requests that wait.",
    )
    actor: Actor


class TenantOutcome(TenantDocument):
    """The tenant as it is now."""

    in_force: InForce


class DeletionDocument(Shape):
    """A tenant that is deleted, or would be."""

    tenant: str = Field(description="Its name, which nobody gets again.")
    deleted_at_ms: int | None = Field(description="Milliseconds since the epoch; null: it is there, as before.")
    keys_in_force: int = Field(description="Keys, which end with it.")
    left: dict[str, int] = Field(
        description="What is still to be removed, by what it is; the leader does it beside its work."
    )


class DeletionOutcome(DeletionDocument):
    """What is left of it now."""

    in_force: InForce


class MappingDocument(Shape):
    """An external model name and what it stands for."""

    tenant: str = Field(description="Whose it is.")
    external: str = Field(description="The name that the tenant's code sends, such as gpt-4o-mini-2024-07-18.")
    target: str = Field(description="An adapter of the tenant, optionally @version or @alias, or a base model.")
    created_at_ms: int = Field(description="When it was mapped, in milliseconds since the epoch.")
    etag: str = Field(description="Names this mapping; send it as If-Match to change or delete only this one.")


class MappingsDocument(Shape):
    """A page of a tenant's mappings, by external name."""

    models: list[MappingDocument]
    next: Next


class MappingOrder(Order):
    """What a name is to stand for."""

    target: str = Field(
        max_length=200, description="An adapter of the tenant, optionally @version or @alias, or a base model's name."
    )
    actor: Actor


class MappingOutcome(MappingDocument):
    """The mapping as it is now, or as it was before it was forgotten."""

    in_force: InForce


def add_tenants(router: APIRouter, office: Office) -> None:
    """The routes. They block, so they are plain functions: Starlette runs them in its thread pool."""
    _add_customers(router, office)
    _add_deletions(router, office)
    _add_model_names(router, office)


def _add_customers(router: APIRouter, office: Office) -> None:
    registry = office.registry

    @router.get("/tenants")
    def list_tenants(after: After = None, limit: Limit = 200) -> TenantsDocument:
        """Every tenant."""
        page, following = one_page(registry.tenants.page(after, limit + 1), limit, attrgetter("name"))
        return TenantsDocument(
            tenants=[TenantDocument.model_validate(info) for info in page],
            next=following,
        )

    @router.post("/tenants", status_code=201)
    def create_tenant(order: NewTenant, response: Response) -> TenantOutcome:
        """Add a tenant; 409 when the name is taken."""
        info = registry.tenants.create(order.name, allow_unknown_fields=order.allow_unknown_fields, actor=order.actor)
        tag(response, info.etag)
        document = TenantDocument.model_validate(info)
        return TenantOutcome(**dict(document), in_force=registry.wait_until_served(WAIT_S))

    @router.get("/tenants/{tenant}")
    def show_tenant(tenant: TenantName, response: Response) -> TenantDocument:
        """One tenant."""
        info = registry.tenants.get(tenant)
        tag(response, info.etag)
        return TenantDocument.model_validate(info)

    @router.patch("/tenants/{tenant}")
    def change_tenant(
        tenant: TenantName, order: TenantChange, response: Response, if_match: IfMatch = None
    ) -> TenantOutcome:
        """Change a tenant's settings; gateways obey at once."""
        settings = cast("TenantSettings", order.model_dump(exclude_unset=True, exclude={"actor"}))
        if not settings:
            raise InvalidInput(
                f"the body names no setting; name one of allow_unknown_fields, shadow_consent, {', '.join(MOST)}",
                param="allow_unknown_fields",
            )
        info = registry.tenants.change(tenant, settings, actor=order.actor, expected=expected_by(if_match))
        tag(response, info.etag)
        document = TenantDocument.model_validate(info)
        return TenantOutcome(**dict(document), in_force=registry.wait_until_served(WAIT_S))


def _add_deletions(router: APIRouter, office: Office) -> None:
    registry = office.registry

    @router.get("/tenants/{tenant}/deletion")
    def show_deletion(tenant: TenantName) -> DeletionDocument:
        """What a deletion would remove; of a deleted tenant, what is left. 404 when nothing can come any more."""
        return DeletionDocument.model_validate(registry.deletions.look(tenant))

    @router.delete("/tenants/{tenant}")
    def delete_tenant(tenant: TenantName, actor: ActorQuery, if_match: IfMatch = None) -> DeletionOutcome:
        """Delete a tenant with all that is its own: its keys end at once, and what it has stored is removed beside
        other work. The books stay. Once more is no error before all is removed, and shows what is left.
        """
        found = registry.deletions.order(tenant, actor=actor, expected=expected_by(if_match))
        document = DeletionDocument.model_validate(found)
        return DeletionOutcome(**dict(document), in_force=registry.wait_until_served(WAIT_S))


def _add_model_names(router: APIRouter, office: Office) -> None:
    registry = office.registry

    @router.get("/tenants/{tenant}/models")
    def list_models(tenant: TenantName, after: After = None, limit: Limit = 200) -> MappingsDocument:
        """The external model names of a tenant."""
        page, following = one_page(registry.model_names.page(tenant, after, limit + 1), limit, attrgetter("external"))
        return MappingsDocument(
            models=[MappingDocument.model_validate(info) for info in page],
            next=following,
        )

    @router.get("/tenants/{tenant}/models/{external:path}")
    def show_model(tenant: TenantName, external: External, response: Response) -> MappingDocument:
        """What one external name stands for."""
        info = registry.model_names.get(tenant, external)
        tag(response, info.etag)
        return MappingDocument.model_validate(info)

    @router.put("/tenants/{tenant}/models/{external:path}")
    def map_model(
        tenant: TenantName,
        external: External,
        order: MappingOrder,
        response: Response,
        if_match: IfMatch = None,
        if_none_match: IfNoneMatch = None,
    ) -> MappingOutcome:
        """Let an external name stand for an adapter or a base model, so that client code changes only `base_url`."""
        expected = expected_by(if_match, if_none_match)
        info = registry.model_names.map(tenant, external, order.target, actor=order.actor, expected=expected)
        tag(response, info.etag)
        document = MappingDocument.model_validate(info)
        return MappingOutcome(**dict(document), in_force=registry.wait_until_served(WAIT_S))

    @router.delete("/tenants/{tenant}/models/{external:path}")
    def unmap_model(
        tenant: TenantName, external: External, actor: ActorQuery, if_match: IfMatch = None
    ) -> MappingOutcome:
        """Forget an external name."""
        info = registry.model_names.unmap(tenant, external, actor=actor, expected=expected_by(if_match))
        document = MappingDocument.model_validate(info)
        return MappingOutcome(**dict(document), in_force=registry.wait_until_served(WAIT_S))
