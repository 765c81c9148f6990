"""`/v1/files`: what a tenant has uploaded, and what was made for it to download."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Literal, cast
from urllib.parse import quote

import orjson
from fastapi import APIRouter, Request, Response

from gateway.api.asgi import Receive, Send
from gateway.api.held import HeldDocument, send_pieces
from gateway.api.incoming_form import Intake, taken
from gateway.api.tenants import may_train, one_in_query, whole_number
from gateway.errors import ApiError, BadRequest
from gateway.files.cabinet import Cabinet
from gateway.files.form import FormReader
from gateway.handoffs import Principal
from gateway.house import House
from registry.tenant_files.draft import PartDraft
from registry.tenant_files.infos import PURPOSES, RESULTS, FileInfo, NoSuchFile, checked_filename

MOST_LISTED = 10_000
LEAST_EXPIRY_S, MOST_EXPIRY_S = 3_600, 2_592_000
MOST_DIGITS = 12
ANCHOR, SECONDS = "expires_after[anchor]", "expires_after[seconds]"
ACCEPTED = tuple(one for one in PURPOSES if one != RESULTS)
UNUSED = {
    "assistants": "there are no assistants or vector stores here",
    "batch": "there is no Batch API here",
    "vision": "nothing here trains on images",
    RESULTS: "only the trainer writes results",
}
"""Purposes of OpenAI's that a client cannot upload for, and why."""


def files_router(house: House) -> APIRouter:
    """The routes, in OpenAI's shapes. Another tenant's file is none."""
    router = APIRouter(prefix="/v1/files", tags=["files"])
    _add_writing(router, house)
    _add_reading(router, house)
    return router


def _add_writing(router: APIRouter, house: House) -> None:
    cabinet = house.cabinet
    intake = Intake(cabinet.of_file.most_bytes, partial(_begun, cabinet), _reader, partial(_kept, cabinet))

    @router.post("")
    async def create_file(request: Request) -> dict[str, Any]:
        """Upload a file: a form with `file`, `purpose` and, if it is to go by itself, `expires_after`."""
        return document(await taken(house, request, intake))

    @router.delete("/{file_id}")
    async def delete_file(file_id: str, request: Request) -> dict[str, Any]:
        """Delete a file and its bytes."""
        principal = may_train(house, request)
        await cabinet.do(principal.tenant, partial(cabinet.files.delete, principal.tenant, file_id))
        return {"id": file_id, "object": "file", "deleted": True}


def _begun(cabinet: Cabinet, principal: Principal, expected: int | None) -> PartDraft:
    return cabinet.files.begin(principal.tenant, cabinet.of_file, expected)


def _reader(principal: Principal, boundary: bytes, draft: PartDraft) -> FormReader:
    def on_file(filename: str) -> Callable[[memoryview], None]:
        checked_filename(filename)
        return draft.write

    known = ("purpose", ANCHOR, SECONDS)
    return FormReader(boundary, "file", known, on_file, skips_unknown=principal.allow_unknown_fields)


def _kept(cabinet: Cabinet, draft: PartDraft, form: FormReader) -> FileInfo:
    purpose = checked_purpose(form.required("purpose"))
    expiry = checked_expiry(form.fields.get(ANCHOR), form.fields.get(SECONDS))
    return cabinet.files.keep(draft, form.filename or "", purpose, expiry)


def _add_reading(router: APIRouter, house: House) -> None:
    cabinet = house.cabinet

    @router.get("")
    async def list_files(request: Request) -> Response:
        """Files, the newest first unless `order` says otherwise."""
        principal = may_train(house, request)
        limit = whole_number(request, "limit", MOST_LISTED, MOST_LISTED)
        order = cast('Literal["asc", "desc"]', one_in_query(request, "order", "desc", "asc"))
        after, purpose = request.query_params.get("after"), request.query_params.get("purpose", "")
        work = partial(_listed, house, principal.tenant, after, limit, order, purpose)
        return HeldDocument(house, principal, await cabinet.do(principal.tenant, work))

    @router.get("/{file_id}")
    async def retrieve_file(file_id: str, request: Request) -> dict[str, Any]:
        """What is known of a file."""
        principal = may_train(house, request)
        return document(await cabinet.do(principal.tenant, partial(cabinet.files.get, principal.tenant, file_id)))

    @router.get("/{file_id}/content")
    async def retrieve_content(file_id: str, request: Request) -> Response:
        """The bytes of a file as they were uploaded."""
        principal = may_train(house, request)
        info, pieces = await cabinet.do(principal.tenant, partial(_opened, house, principal.tenant, file_id))
        return Download(house, principal, info, pieces)


def _listed(
    house: House, tenant: str, after: str | None, limit: int, order: Literal["asc", "desc"], purpose: str
) -> bytes:
    try:
        page = house.cabinet.files.page(tenant, after, limit, order, purpose)
    except NoSuchFile as error:
        raise BadRequest(
            f"'after' is '{error.id[:80]}', and there is no such file.", param="after", code="invalid_value"
        ) from error
    data = [document(info) for info in page.files]
    ends = {"first_id": data[0]["id"] if data else None, "last_id": data[-1]["id"] if data else None}
    return orjson.dumps({"object": "list", "data": data, **ends, "has_more": page.has_more})


def _opened(house: House, tenant: str, file_id: str) -> tuple[FileInfo, Iterator[bytes]]:
    files = house.cabinet.files
    return files.get(tenant, file_id), files.content(tenant, file_id)


class Download(Response):
    """Bytes of a file, which keep one of its tenant's places for downloads until the client has read them. What fails
    before the first byte is an error as others; what fails later ends the connection, short of what the head says.
    """

    def __init__(self, house: House, principal: Principal, info: FileInfo, pieces: Iterator[bytes]) -> None:
        headers = {
            "content-length": str(info.bytes),
            "content-disposition": f"attachment; filename*=UTF-8''{quote(info.filename, safe='')}",
            "x-content-type-options": "nosniff",
        }
        super().__init__(None, headers=headers, media_type="application/octet-stream")
        self._house, self._tenant, self._pieces = house, principal.tenant, pieces

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Send it piece by piece."""
        with self._house.admission.downloads.place(self._tenant):
            piece = await self._next()
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            while piece:
                await send_pieces(self._house, self._tenant, piece, send)
                try:
                    piece = await self._next()
                except ApiError:
                    return  # the server closes a connection on which less came than its head says
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _next(self) -> bytes:
        return await self._house.cabinet.do(self._tenant, partial(next, self._pieces, b""))


def checked_purpose(given: str) -> str:
    """What a client may upload for. Raises `BadRequest`."""
    if given in ACCEPTED:
        return given
    why = f": {UNUSED[given]}" if given in UNUSED else ""
    raise BadRequest(
        f"'purpose' is '{given[:40]}'{why}. Choose from {', '.join(ACCEPTED)}.", param="purpose", code="invalid_value"
    )


def checked_expiry(anchor: str | None, seconds: str | None) -> int | None:
    """After how many seconds a file goes by itself; `None`: it stays. Raises `BadRequest`."""
    if anchor is None and seconds is None:
        return None
    if anchor != "created_at":
        raise BadRequest(
            f"'{ANCHOR}' must be 'created_at', not '{(anchor or '')[:40]}'.", param=ANCHOR, code="invalid_value"
        )
    given = seconds or ""
    if not (
        given.isascii()
        and given.isdigit()
        and len(given) <= MOST_DIGITS
        and LEAST_EXPIRY_S <= int(given) <= MOST_EXPIRY_S
    ):
        raise BadRequest(
            f"'{SECONDS}' must be a whole number from {LEAST_EXPIRY_S} to {MOST_EXPIRY_S}, not '{given[:40]}'.",
            param=SECONDS,
            code="invalid_value",
        )
    return int(given)


def document(info: FileInfo) -> dict[str, Any]:
    """A file in OpenAI's shape. It is `processed` at once: a job says itself what it finds wrong with its data."""
    return {
        "id": info.id,
        "object": "file",
        "bytes": info.bytes,
        "created_at": info.created_at_ms // 1000,
        "expires_at": None if info.expires_at_ms is None else info.expires_at_ms // 1000,
        "filename": info.filename,
        "purpose": info.purpose,
        "status": "processed",
        "status_details": None,
    }
