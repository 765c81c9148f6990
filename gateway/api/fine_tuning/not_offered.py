"""What OpenAI's clients may ask for below `/v1/fine_tuning` and is not offered here: each says why and what to do."""

from __future__ import annotations

from fastapi import APIRouter, Request

from gateway.api.tenants import may_train
from gateway.errors import NotOffered
from gateway.house import House

PERMISSIONS = (
    "Checkpoints have no permissions here: they are kept to go on from, and are not served; what a job makes is its "
    "tenant's alone."
)
GRADERS = (
    "Graders belong to reinforcement fine-tuning, which is not offered here. 'switchyard.evaluation' of a job scores "
    "held-out rows."
)


def not_offered_router(house: House) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/v1/fine_tuning", tags=["fine-tuning"])

    @router.get("/checkpoints/{model:path}/permissions")
    async def list_permissions(model: str, request: Request) -> None:
        """Not offered."""
        may_train(house, request)
        raise NotOffered(PERMISSIONS, code="checkpoint_permissions_not_offered")

    @router.post("/checkpoints/{model:path}/permissions")
    async def create_permissions(model: str, request: Request) -> None:
        """Not offered."""
        may_train(house, request)
        raise NotOffered(PERMISSIONS, code="checkpoint_permissions_not_offered")

    @router.delete("/checkpoints/{model:path}/permissions/{permission_id}")
    async def delete_permission(model: str, permission_id: str, request: Request) -> None:
        """Not offered."""
        may_train(house, request)
        raise NotOffered(PERMISSIONS, code="checkpoint_permissions_not_offered")

    @router.post("/alpha/graders/{action}")
    async def graders(action: str, request: Request) -> None:
        """Not offered."""
        may_train(house, request)
        raise NotOffered(GRADERS, code="graders_not_offered")

    return router
