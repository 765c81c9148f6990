"""`/admin/v1/files` and `/admin/v1/tenants/{tenant}/files`: what tenants keep here to train on. Names and sizes, never
bytes: those are the tenant's.
"""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from pydantic import Field

from gateway.api.admin.office import Office
from gateway.api.admin.shapes import ActorQuery, After, Limit, Next, Shape
from gateway.api.admin.tenants import TenantName
from gateway.files.faults import said_of
from registry.tenant_files.infos import FileInUse, NoSuchFile

Purpose = Literal["fine-tune", "user_data", "evals", "fine-tune-results"]
FileId = Annotated[str, Path(max_length=63, description="file-….")]


class KeptFilesDocument(Shape):
    """What one tenant keeps."""

    tenant: str = Field(description="Whose.")
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
    bytes: int = Field(description="Its length.")
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
        purpose: Annotated[Purpose | None, Query(description="Only those for this.")] = None,
        after: After = None,
        limit: Limit = 100,
    ) -> FilesDocument:
        """Files of one tenant."""
        office.registry.tenants.get(tenant)
        try:
            page = files.page(tenant, after, limit, purpose=purpose or "")
        except NoSuchFile as error:  # `after`
            raise said_of(error) from None
        return FilesDocument(
            files=[FileDocument.model_validate(info) for info in page.files],
            next=page.files[-1].id if page.has_more else None,
        )

    @router.delete("/tenants/{tenant}/files/{file_id}")
    def delete_file(tenant: TenantName, file_id: FileId, actor: ActorQuery) -> FileDocument:
        """Delete a file and its bytes, for good; refused while a job needs it."""
        try:
            info = files.get(tenant, file_id)
            files.delete(tenant, file_id, operator=actor)
        except (NoSuchFile, FileInUse) as error:
            raise said_of(error) from None
        return FileDocument.model_validate(info)
