"""`/admin/v1/adapters/{tenant}/{adapter}/metrics`: what is looked for in an adapter's answers."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import Field

from gateway.api.admin.aliases import AdapterName, Owner, ref_of
from gateway.api.admin.office import Office
from gateway.api.admin.shapes import Actor, ActorQuery, Order, Shape
from registry.outcomes.forms import MOST_PATTERN_CHARACTERS, AnswerChecks

SHARE = "Of the answers, 0 to 1, is looked at while no experiment runs; in one all are."
PATTERN = "Regular expression that should match all of an answer."
SCHEMA = "JSON schema that answers should follow."


class ChecksOrder(Order):
    """What to look for; what was set before is replaced."""

    share: float = Field(0.0, ge=0, le=1, description=SHARE)
    pattern: str | None = Field(None, max_length=MOST_PATTERN_CHARACTERS, description=PATTERN)
    # `schema` is a method of every pydantic model, of which a field of that name would take the place.
    json_schema: dict[str, Any] | None = Field(None, description=SCHEMA)
    actor: Actor


class ChecksDocument(Shape):
    """What is looked for."""

    share: float = Field(description=SHARE)
    pattern: str | None = Field(description=PATTERN)
    json_schema: dict[str, Any] | None = Field(description=SCHEMA)


def add_answer_checks(router: APIRouter, office: Office) -> None:
    """The routes. They block, so they are plain functions: Starlette runs them in its thread pool."""
    store = office.registry.answer_checks

    @router.get("/adapters/{tenant}/{adapter}/metrics")
    def show_metrics(tenant: Owner, adapter: AdapterName) -> ChecksDocument:
        """What is looked for in an adapter's answers; a share of 0 and no form: nothing but in experiments."""
        return _document(store.get(ref_of(tenant, adapter)))

    @router.put("/adapters/{tenant}/{adapter}/metrics")
    def set_metrics(tenant: Owner, adapter: AdapterName, order: ChecksOrder) -> ChecksDocument:
        """Look for a form in its answers, from the next request on: the metric `conformance`."""
        checks = AnswerChecks(order.share, order.pattern, order.json_schema)
        store.set(ref_of(tenant, adapter), checks, actor=order.actor)
        return _document(checks)

    @router.delete("/adapters/{tenant}/{adapter}/metrics")
    def clear_metrics(tenant: Owner, adapter: AdapterName, actor: ActorQuery) -> ChecksDocument:
        """Look for no form any more, and at answers in experiments alone."""
        store.set(ref_of(tenant, adapter), None, actor=actor)
        return _document(None)


def _document(checks: AnswerChecks | None) -> ChecksDocument:
    checks = checks or AnswerChecks()
    return ChecksDocument(
        share=checks.share, pattern=checks.pattern, json_schema=None if checks.schema is None else dict(checks.schema)
    )
