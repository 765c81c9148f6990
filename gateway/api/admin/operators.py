"""`/admin/v1/operators` and `/admin/v1/me`: who may use this API, and who asks."""

from __future__ import annotations

from operator import attrgetter
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from pydantic import Field

from gateway.api.admin.auth import OPERATOR, Operator
from gateway.api.admin.office import Office, one_page
from gateway.api.admin.quarantine import WAIT_S
from gateway.api.admin.shapes import After, Day, InForce, Limit, Name, Next, Order, Shape
from registry.days import day_ms
from registry.operators.store import Role

KeyId = Annotated[str, Path(max_length=32, description="`id` of an operator's key.")]
RoleField = Annotated[Role, Field(description="read: GET alone. operate: orders too.")]


class MeDocument(Shape):
    """Who asks."""

    name: str = Field(description="The operator; root: the key of the settings.")
    key_id: str | None = Field(description="opk-…; null: the root key.")
    role: RoleField
    expires_at_ms: int | None = Field(description="When the key ends, in milliseconds since the epoch; null: never.")


class OperatorDocument(Shape):
    """An operator's key, without its secret."""

    id: str = Field(description="opk-….")
    name: str = Field(description="Whose it is; one name may have several keys.")
    role: RoleField
    shown: str = Field(description="First and last characters of the secret, to tell keys apart.")
    made_by: str = Field(description="The operator who made it, or who was at the keyboard.")
    created_at_ms: int = Field(description="Milliseconds since the epoch.")
    expires_at_ms: int | None = Field(description="From then on it opens nothing; null: it has no end.")
    revoked_at_ms: int | None = Field(description="Milliseconds since the epoch; null while it is not revoked.")


class OperatorsDocument(Shape):
    """A page of operators' keys, oldest first."""

    operators: list[OperatorDocument]
    next: Next


class NewOperatorOrder(Order):
    """A key to make."""

    name: Name = Field(description="Whose it is: 1 to 63 characters a-z, 0-9 and '-', not root.")
    role: RoleField
    expires: Day | None = Field(
        None, description="First day on which it opens nothing more, YYYY-MM-DD (UTC); null: it has no end."
    )


class NewOperatorDocument(OperatorDocument):
    """A key at its only sight."""

    secret: str = Field(description="What the operator sends. It is stored as a hash alone and cannot be shown again.")
    in_force: InForce


class OperatorOutcome(OperatorDocument):
    """The key as it is now."""

    in_force: InForce


def add_operators(router: APIRouter, office: Office) -> None:
    """The routes. They block, so they are plain functions: Starlette runs them in its thread pool."""
    registry = office.registry

    @router.get("/me")
    def show_me(request: Request) -> MeDocument:
        """The operator whose key this request has."""
        return MeDocument.model_validate(asked_by(request))

    @router.get("/operators")
    def list_operators(after: After = None, limit: Limit = 200) -> OperatorsDocument:
        """Every key of operators, those that are over too; not the root key."""
        page, following = one_page(registry.operators.page(after, limit + 1), limit, attrgetter("id"))
        return OperatorsDocument(
            operators=[OperatorDocument.model_validate(info) for info in page],
            next=following,
        )

    @router.post("/operators", status_code=201)
    def create_operator(order: NewOperatorOrder, request: Request, response: Response) -> NewOperatorDocument:
        """Make an operator's key and show its secret, once."""
        expires_at_ms = None if order.expires is None else day_ms(order.expires, "expires")
        by = asked_by(request).name
        made = registry.operators.add(order.name, order.role, actor=by, expires_at_ms=expires_at_ms)
        response.headers["cache-control"] = "no-store"
        document = OperatorDocument.model_validate(made.info)
        in_force = registry.wait_until_served(WAIT_S)
        return NewOperatorDocument(**dict(document), secret=made.secret, in_force=in_force)

    @router.get("/operators/{key_id}")
    def show_operator(key_id: KeyId) -> OperatorDocument:
        """One key, without its secret."""
        return OperatorDocument.model_validate(registry.operators.get(key_id))

    @router.delete("/operators/{key_id}")
    def revoke_operator(key_id: KeyId) -> OperatorOutcome:
        """End an operator's key; gateways refuse it within a second. Its row stays, because the audit log names it."""
        document = OperatorDocument.model_validate(registry.operators.revoke(key_id))
        return OperatorOutcome(**dict(document), in_force=registry.wait_until_served(WAIT_S))


def asked_by(request: Request) -> Operator:
    """Who asks, as the gate found out."""
    operator: Operator = request.scope[OPERATOR]
    return operator
