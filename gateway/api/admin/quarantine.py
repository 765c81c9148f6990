"""`/admin/v1/quarantine`: versions that no engine may have, put there by a failed proof or by an operator."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import Field

from gateway.api.admin.office import Office, exact_version
from gateway.api.admin.shapes import Order, Shape

WAIT_S = 3.0
"""How long an order waits for every worker to have it in force; workers poll the catalog twice a second."""


class QuarantinedDocument(Shape):
    """A version in quarantine."""

    version: str = Field(description="tenant/adapter@1.0.")
    reason: str = Field(description="Why: clients get it in their 503.")
    ends_by_itself: bool = Field(
        description="Whether engines' refusals put it there: then it ends when an engine proves the version."
    )
    aliases: list[str] = Field(description="Aliases that point at it; their requests fail until they move.")


class QuarantineDocument(Shape):
    """Every version in quarantine, by name."""

    quarantined: list[QuarantinedDocument]


class QuarantineOrder(Order):
    """Take a version out of service."""

    version: str = Field(description="tenant/adapter@1.0: a version, not an alias.")
    reason: str = Field(min_length=1, max_length=1000, description="Why; the tenant's clients get to read it.")


class ReleaseOrder(Order):
    """Let a version be served again."""

    version: str = Field(description="tenant/adapter@1.0: a version, not an alias.")


class QuarantineOutcome(Shape):
    """What an order did."""

    version: str = Field(description="tenant/adapter@1.0.")
    quarantined: bool = Field(description="How it is now.")
    changed: bool = Field(description="False when it was so already.")
    in_force: bool = Field(description="Whether every live worker had it in force within 3 s.")


def add_quarantine(router: APIRouter, office: Office) -> None:
    """The routes. They block, so they are plain functions: Starlette runs them in its thread pool."""
    registry = office.registry

    @router.get("/quarantine")
    def list_quarantined() -> QuarantineDocument:
        """What is in quarantine, and why."""
        return QuarantineDocument(
            quarantined=[
                QuarantinedDocument(
                    version=one.name,
                    reason=one.quarantined or "",
                    ends_by_itself=one.quarantined_by_machine,
                    aliases=list(one.aliases),
                )
                for one in registry.adapters.quarantined()
            ]
        )

    @router.post("/quarantine")
    def put(order: QuarantineOrder) -> QuarantineOutcome:
        """No engine may have the version: it is unloaded when its running requests are done, new ones get a 503.

        One that is in quarantine already gets the new reason.
        """
        version = registry.adapters.get(exact_version(order.version, "version"))
        registry.adapters.quarantine(version.id, order.reason)
        return QuarantineOutcome(
            version=version.name,
            quarantined=True,
            changed=version.quarantined is None,
            in_force=registry.wait_until_served(WAIT_S),
        )

    @router.post("/quarantine/release")
    def release(order: ReleaseOrder) -> QuarantineOutcome:
        """The version may be served again: whoever needs it first has it loaded, and the engine must prove it anew."""
        version = registry.adapters.get(exact_version(order.version, "version"))
        changed = registry.adapters.release(version.id)
        return QuarantineOutcome(
            version=version.name, quarantined=False, changed=changed, in_force=registry.wait_until_served(WAIT_S)
        )
