"""`/admin/v1/keys`: tenants' API keys. A secret is shown once, when it is made; its hash never."""

from __future__ import annotations

from operator import attrgetter
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Response
from pydantic import Field

from gateway.api.admin.office import Office, one_page
from gateway.api.admin.quarantine import WAIT_S
from gateway.api.admin.shapes import Actor, ActorQuery, After, Day, InForce, Limit, Next, Order, Shape
from registry.days import day_ms
from registry.tenants.key_adapters import MOST_ADAPTERS_OF_KEY
from registry.tenants.store import MOST_OVERLAP_S, NewKey

KeyId = Annotated[str, Path(max_length=32, description="`id` of a key.")]


class KeyDocument(Shape):
    """A key, without its secret."""

    id: str = Field(description="Names the key, also as `key:ID` of limits.")
    tenant: str = Field(description="Whose it is.")
    shown: str = Field(description="First and last characters of the secret, to tell keys apart.")
    label: str = Field(description="What its owner calls it.")
    scopes: list[str] = Field(
        description="inference: the tenant's adapters. base: base models by name. training: files and fine-tuning."
    )
    created_at_ms: int = Field(description="Milliseconds since the epoch.")
    revoked_at_ms: int | None = Field(description="Milliseconds since the epoch; null while it is not revoked.")
    expires_at_ms: int | None = Field(description="From then on it opens nothing; null: it has no end.")
    adapters: list[str] | None = Field(
        description="tenant/adapter: all that it opens of the tenant's adapters; null: every one."
    )


class KeysDocument(Shape):
    """A page of keys, oldest first."""

    keys: list[KeyDocument]
    next: Next


class NewKeyOrder(Order):
    """A key to make."""

    tenant: str = Field(description="Whose key it is.")
    label: str = Field("", max_length=100, description="For people to tell keys apart.")
    scopes: list[Literal["inference", "base", "training"]] = Field(
        ["inference", "training"],
        min_length=1,
        description="inference: the tenant's adapters. base: base models by name. training: files and fine-tuning.",
    )
    adapters: list[str] | None = Field(
        None,
        min_length=1,
        max_length=MOST_ADAPTERS_OF_KEY,
        description="The only adapters of the tenant's that it opens, as adapter or tenant/adapter; they need not be "
        "there yet. Null: all of them.",
    )
    expires: Day | None = Field(
        None, description="First day on which it opens nothing more, YYYY-MM-DD (UTC); null: it has no end."
    )
    actor: Actor


class RotateOrder(Order):
    """A key to replace."""

    keep_old_s: int = Field(
        0, strict=True, ge=0, le=MOST_OVERLAP_S, description="Seconds for which the old one goes on beside the new one."
    )
    actor: Actor


class NewKeyDocument(KeyDocument):
    """A key at its only sight."""

    secret: str = Field(description="What clients send. It is stored as a hash alone and cannot be shown again.")
    in_force: InForce


class KeyOutcome(KeyDocument):
    """The key as it is now."""

    in_force: InForce


def add_keys(router: APIRouter, office: Office) -> None:
    """The routes. They block, so they are plain functions: Starlette runs them in its thread pool."""
    registry = office.registry

    def shown_once(key: NewKey, response: Response) -> NewKeyDocument:
        response.headers["cache-control"] = "no-store"
        document = KeyDocument.model_validate(registry.tenants.get_key(key.id))
        return NewKeyDocument(**dict(document), secret=key.secret, in_force=registry.wait_until_served(WAIT_S))

    @router.get("/keys")
    def list_keys(
        tenant: Annotated[str | None, Query(description="Only this tenant's; 404 when there is none.")] = None,
        after: After = None,
        limit: Limit = 200,
    ) -> KeysDocument:
        """Every key, those that are revoked too."""
        page, following = one_page(registry.tenants.page_keys(tenant, after, limit + 1), limit, attrgetter("id"))
        return KeysDocument(
            keys=[KeyDocument.model_validate(info) for info in page],
            next=following,
        )

    @router.post("/keys", status_code=201)
    def create_key(order: NewKeyOrder, response: Response) -> NewKeyDocument:
        """Make a key and show its secret, once."""
        scopes = tuple(dict.fromkeys(order.scopes))
        expires_at_ms = None if order.expires is None else day_ms(order.expires, "expires")
        key = registry.tenants.create_key(
            order.tenant,
            label=order.label,
            scopes=scopes,
            expires_at_ms=expires_at_ms,
            adapters=order.adapters,
            actor=order.actor,
        )
        return shown_once(key, response)

    @router.post("/keys/{key_id}/rotate", status_code=201)
    def rotate_key(key_id: KeyId, order: RotateOrder, response: Response) -> NewKeyDocument:
        """Make a key like this one and show its secret, once; this one ends, at once or after `keep_old_s`."""
        return shown_once(registry.tenants.rotate_key(key_id, keep_old_s=order.keep_old_s, actor=order.actor), response)

    @router.get("/keys/{key_id}")
    def show_key(key_id: KeyId) -> KeyDocument:
        """One key, without its secret."""
        return KeyDocument.model_validate(registry.tenants.get_key(key_id))

    @router.delete("/keys/{key_id}")
    def revoke_key(key_id: KeyId, actor: ActorQuery) -> KeyOutcome:
        """End a key; gateways refuse it within a second. Its row stays, because usage names it."""
        document = KeyDocument.model_validate(registry.tenants.revoke_key(key_id, actor=actor))
        return KeyOutcome(**dict(document), in_force=registry.wait_until_served(WAIT_S))
