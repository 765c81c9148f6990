"""`GET /admin/v1/ledger/archives`: attempts that are in files of the object storage."""

from __future__ import annotations

from operator import attrgetter

from fastapi import APIRouter, Response
from pydantic import Field

from gateway.api.admin.office import Office, in_json, one_page
from gateway.api.admin.shapes import After, Limit, Next, Shape
from registry.archive.infos import ArchiveInfo


class ArchiveDocument(Shape):
    """A file of attempts that began on one UTC day."""

    name: str = Field(description="In the object storage.")
    day: str = Field(description="YYYY-MM-DD (UTC).", examples=["2026-08-31"])
    digest: str = Field(description="SHA-256 of the file.")
    size_bytes: int = Field(description="Of the file.")
    attempts: int = Field(description="Usage rows in it.")
    corrections: int = Field(description="Corrections of these, in it too.")
    first_ms: int = Field(description="Begin of its first attempt, in milliseconds since the epoch.")
    last_ms: int = Field(description="Begin of its last attempt, in milliseconds since the epoch.")
    archived_at_ms: int = Field(description="When it was recorded and its rows were removed.")
    restored_at_ms: int | None = Field(
        description="When its rows were brought back to the database; null: they are in the file alone."
    )


class ArchivesDocument(Shape):
    """A page of archives, by name, and so by day."""

    archives: list[ArchiveDocument]
    next: Next


def add_archives(router: APIRouter, office: Office) -> None:
    """The route. It blocks, so it is a plain function: Starlette runs it in its thread pool."""

    @router.get("/ledger/archives", response_model=ArchivesDocument)
    def list_archives(after: After = None, limit: Limit = 200) -> Response:
        """Every archive; `switchyard ledger restore` brings attempts back."""
        rest = [one for one in office.registry.archives.all() if after is None or one.name > after]
        page, following = one_page(rest, limit, attrgetter("name"))
        return in_json(ArchivesDocument(archives=list(map(_document, page)), next=following))


def _document(archive: ArchiveInfo) -> ArchiveDocument:
    fields = {name: getattr(archive, name) for name in ArchiveDocument.model_fields}
    return ArchiveDocument.model_validate({**fields, "day": archive.date})
