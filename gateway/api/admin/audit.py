"""`GET /admin/v1/audit`: who ordered what, when, from where, what it changed, and what came of it."""

from __future__ import annotations

from operator import attrgetter
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Response
from pydantic import Field

from gateway.api.admin.office import Office, in_json, one_page
from gateway.api.admin.shapes import Limit, Next, Shape
from registry.audit.store import Wanted

MAX_ID = 2**63 - 1
OrderId = Annotated[int, Path(ge=1, le=MAX_ID, description="`id` of an order.")]


class RowChangeDocument(Shape):
    """A row of the registry that an order changed."""

    table: str = Field(description="The table of the registry.")
    key: str = Field(description="Its primary key, parts by `/`; `*`: rows that a statement wrote and nobody listed.")
    before: dict[str, Any] | None = Field(description="Columns that differ, as they were; null: a new row.")
    after: dict[str, Any] | None = Field(description="The same as they are since; null: the row is gone.")
    statements: list[str] = Field(description="Of `*`: insert, update, delete; else empty.")


class AuditEntryDocument(Shape):
    """One order."""

    id: int = Field(description="Counts up, with gaps: an order has several lines of the log.")
    at_ms: int = Field(description="When it was given, in milliseconds since the epoch.")
    actor: str = Field(description="The operator (root: the key of the settings), or the user of a command.")
    via: Literal["api", "command"] = Field(description="command: a command line that wrote the registry itself.")
    key_id: str | None = Field(description="opk-…; null: the root key, or a command.")
    role: str | None = Field(description="Of the key; null: a command.")
    address: str | None = Field(description="Where the request came from; null: a command.")
    method: str | None = Field(description="POST, PUT, PATCH or DELETE; null: a command.")
    route: str = Field(
        description="As it is declared, /admin/v1/keys/{key_id}; or the command, switchyard keys create."
    )
    path: str | None = Field(description="As it was asked for; null: a command.")
    object: str = Field(
        description="What it is about: acme/triage@1.1, acme/triage@production, experiments/7, tenant:acme, key-…, an "
        "engine's URL; may be empty."
    )
    tenant: str | None = Field(description="Whose that is, as far as the order says.")
    request_id: str | None = Field(description="As the answer's x-request-id.")
    body: dict[str, Any] = Field(description="What was ordered, secrets left out; `left_out` stands for a long one.")
    outcome: Literal["done", "refused", "failed", "unknown"] = Field(
        description="refused: nothing was done, as `error` says. unknown: it is being carried out, or its process died."
    )
    status: int | None = Field(description="HTTP status of the answer; null: a command, or not known.")
    error: str | None = Field(description="Why it was refused or failed.")
    ended_at_ms: int | None = Field(description="When its outcome was written; null: unknown.")
    changes: list[RowChangeDocument] = Field(
        description="Rows that it changed; each was written with its change, in one transaction."
    )
    rows_untold: int = Field(description="Rows that it changed beyond these.")


class AuditDocument(Shape):
    """A page of orders, newest first."""

    entries: list[AuditEntryDocument]
    next: Next


class AuditProofDocument(Shape):
    """What came of looking through the whole log."""

    lines: int = Field(description="Of the log; an order has two or more.")
    faults: list[str] = Field(description="What is wrong, a sentence each; empty: nobody has touched it.")


def add_audit(router: APIRouter, office: Office) -> None:
    """The routes. They block, so they are plain functions: Starlette runs them in its thread pool."""
    audit = office.registry.audit

    @router.get("/audit", response_model=AuditDocument)
    def list_orders(
        tenant: Annotated[str | None, Query(max_length=63, description="Only what concerns this tenant.")] = None,
        actor: Annotated[str | None, Query(max_length=100, description="Only orders of this operator or user.")] = None,
        object: Annotated[
            str | None,
            Query(max_length=320, description="Only what is about this: acme/triage finds acme/triage@1.1 too."),
        ] = None,
        since_ms: Annotated[int | None, Query(ge=0, le=MAX_ID, description="Only orders from then on.")] = None,
        after: Annotated[int | None, Query(ge=1, le=MAX_ID, description="`next` of the page before.")] = None,
        limit: Limit = 100,
    ) -> Response:
        """Every order of operators, by this API or by a command; those that were refused or failed too."""
        found = audit.page(Wanted(tenant, actor, object, since_ms), after, limit + 1)
        page, following = one_page(found, limit, attrgetter("id"))
        entries = [AuditEntryDocument.model_validate(entry) for entry in page]
        return in_json(AuditDocument(entries=entries, next=following))

    @router.get("/audit/proof")
    def prove_audit() -> AuditProofDocument:
        """Look through the whole log: each line is what was written, and none is missing."""
        return AuditProofDocument.model_validate(audit.prove())

    @router.get("/audit/{order_id}", response_model=AuditEntryDocument)
    def show_order(order_id: OrderId) -> Response:
        """One order."""
        return in_json(AuditEntryDocument.model_validate(audit.get(order_id)))
