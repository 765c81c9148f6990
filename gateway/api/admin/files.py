"""`/admin/v1/files` and `/admin/v1/tenants/{tenant}/files`: what tenants keep here to train on. Names and sizes, never
bytes: those are the tenant's.
"""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from pydantic import Field

from gateway.api.admin.office import Office
from gateway.api.admin.shapes import After, Limit, Next, Shape
from gateway.api.admin.tenants import TenantName


class KeptFilesDocument(Shape):
    """What one tenant keeps."""

    tenant: str
    files: int = Field(description="How many.")
    bytes: int = Field(description="Of all of them.")
    oldest_ms: int = Field(description="When the oldest one was made, in milliseconds since the epoch.")


class AllKeptFilesDocument(Shape):
    """What all tenants keep, by name."""

    tenants: list[KeptFilesDocument]


class FileDocument(Shape):
    """A file without its bytes."""

    id: str = Field(description="file-….")
    filename: str = Field(description="As it was uploaded.")
    purpose: str = Field(description="fine-tune, or fine-tune-results: written by the trainer.")
    bytes: int
    digest: str = Field(description="sha256:… of its bytes.")
    created_at_ms: int = Field(description="Milliseconds since the epoch.")
    expires_at_ms: int | None = Field(description="When it goes by itself; null: never.")


class FilesDocument(Shape):
    """A page of a tenant's files, newest first."""

    files: list[FileDocument]
    next: Next


def add_files(router: APIRouter, office: Office) -> None:
    """The routes. They block, so they are plain functions: Starlette runs them in its thread pool."""
    files = office.registry.files

    @router.get("/files")
    def list_kept_files() -> AllKeptFilesDocument:
        """How much each tenant keeps."""
        return AllKeptFilesDocument(tenants=[KeptFilesDocument.model_validate(one) for one in files.kept()])

    @router.get("/tenants/{tenant}/files")
    def list_files(
        tenant: TenantName,
        purpose: Literal["fine-tune", "user_data", "evals", "fine-tune-results"] | None = None,
        after: After = None,
        limit: Limit = 100,
    ) -> FilesDocument:
        """Files of one tenant."""
        office.registry.tenants.get(tenant)
        page = files.page(tenant, after, limit, purpose=purpose or "")
        return FilesDocument(
            files=[FileDocument.model_validate(info) for info in page.files],
            next=page.files[-1].id if page.has_more else None,
        )
