"""`/admin/v1/adapters/{tenant}/{adapter}/gates` and `…/certificates`: what a version must have shown, and what it has.

Certificates are made by `switchyard evaluate` and by the trainer, which ask the models; here they are read.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import Field

from gateway.api.admin.aliases import AdapterName, Owner, ref_of
from gateway.api.admin.office import Office, exact_version
from gateway.api.admin.shapes import Actor, ActorQuery, Order, Shape
from registry.gates.policy import LEAST_UNITS, MAX_GUARDS, MAX_METRIC_CHARACTERS, Guard, Policy
from registry.gates.store import GateInfo

AliasName = Annotated[str, Path(max_length=63, description="The alias that it guards.")]
Metric = Annotated[
    str, Field(max_length=MAX_METRIC_CHARACTERS, description="A metric, as docs/evaluation.md has them.")
]


class GuardOrder(Order):
    """A metric on which a candidate may be a little worse."""

    metric: Metric
    margin: float = Field(description="By how much it may be worse at most, in the metric's own unit.")


class GateOrder(Order):
    """What an alias's next version must have shown."""

    target: Metric
    better_by: float = Field(0.0, description="By more than this, in the metric's own unit.")
    guards: list[GuardOrder] = Field([], max_length=MAX_GUARDS)
    least_units: int = Field(LEAST_UNITS, description="Conversations that an evaluation must have.")
    data: str | None = Field(
        None, pattern="^sha256:[0-9a-f]{64}$", description="Only an evaluation on the file of this digest counts."
    )
    actor: Actor


class GateDocument(Shape):
    """A gate."""

    adapter: str = Field(description="tenant/adapter.")
    alias: str = Field(description="The alias that it guards.")
    policy: dict[str, Any] = Field(description="As it was set.")
    digest: str = Field(description="Names the policy; certificates carry it.")
    actor: str = Field(description="Who set it.")
    set_at_ms: int = Field(description="Milliseconds since the epoch.")


class GatesDocument(Shape):
    """The gates of an adapter, by alias."""

    gates: list[GateDocument]


class CertificateDocument(Shape):
    """One evaluation on record."""

    digest: str = Field(description="The SHA-256 of `document` in canonical JSON.")
    candidate: str = Field(description="tenant/adapter@1.1.")
    verdict: str = Field(description="passed, failed, undecided; measured where no gate was set.")
    document: dict[str, Any] = Field(description="What was compared with what, every figure, and the reasons.")
    actor: str = Field(description="Who had it made.")
    made_at_ms: int = Field(description="Milliseconds since the epoch.")


class CertificatesDocument(Shape):
    """The newest hundred certificates of a version, newest first."""

    certificates: list[CertificateDocument]


def add_gates(router: APIRouter, office: Office) -> None:
    """The routes. They block, so they are plain functions: Starlette runs them in its thread pool."""
    gates = office.registry.gates

    @router.get("/adapters/{tenant}/{adapter}/gates")
    def list_gates(tenant: Owner, adapter: AdapterName) -> GatesDocument:
        """What every alias of an adapter asks for; an alias without a gate is not there."""
        return GatesDocument(gates=[_document(info) for info in gates.all(ref_of(tenant, adapter))])

    @router.put("/adapters/{tenant}/{adapter}/gates/{alias}")
    def set_gate(tenant: Owner, adapter: AdapterName, alias: AliasName, order: GateOrder) -> GateDocument:
        """Let an alias move only to a version whose certificate passed this against what the alias points at."""
        guards = tuple(Guard(guard.metric, guard.margin) for guard in order.guards)
        policy = Policy(order.target, order.better_by, guards, order.least_units, order.data)
        return _document(gates.set(ref_of(tenant, adapter), policy, alias=alias, actor=order.actor))

    @router.delete("/adapters/{tenant}/{adapter}/gates/{alias}")
    def clear_gate(tenant: Owner, adapter: AdapterName, alias: AliasName, actor: ActorQuery) -> GateDocument:
        """Let an alias move without a certificate again."""
        return _document(gates.clear(ref_of(tenant, adapter), alias=alias, actor=actor))

    @router.get("/adapters/{tenant}/{adapter}/certificates")
    def list_certificates(
        tenant: Owner,
        adapter: AdapterName,
        version: Annotated[str, Query(max_length=20, description="MAJOR.MINOR, such as 1.1.")],
    ) -> CertificatesDocument:
        """What was found of a version."""
        found = gates.certificates(exact_version(f"{tenant}/{adapter}@{version}", "version"))
        return CertificatesDocument(certificates=[CertificateDocument.model_validate(info) for info in found])


def _document(info: GateInfo) -> GateDocument:
    return GateDocument(
        adapter=info.adapter,
        alias=info.alias,
        policy=info.policy.document,
        digest=info.digest,
        actor=info.actor,
        set_at_ms=info.set_at_ms,
    )
