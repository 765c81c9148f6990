"""`/v1/uploads`: files that come in parts, for those that are too long for one request."""

from __future__ import annotations

from functools import partial
from typing import Any

from fastapi import APIRouter, Request

from gateway.api.fields.checks import listed, missing, unknown_keys
from gateway.api.files import checked_expiry, checked_purpose, document
from gateway.api.incoming_form import Intake, taken
from gateway.api.tenants import body_of, may_train
from gateway.errors import BadRequest
from gateway.files.form import FormReader
from gateway.handoffs import Principal
from gateway.house import House
from registry.tenant_files.draft import PartDraft
from registry.tenant_files.uploads import MOST_PARTS, PartInfo, UploadInfo

MOST_TEXT_CHARS = 1_024


def uploads_router(house: House) -> APIRouter:
    """The routes, in OpenAI's shapes. Another tenant's upload is none."""
    router = APIRouter(prefix="/v1/uploads", tags=["files"])
    _add_begin_and_end(router, house)
    _add_parts(router, house)
    return router


def _add_begin_and_end(router: APIRouter, house: House) -> None:
    cabinet = house.cabinet

    @router.post("")
    async def create_upload(request: Request) -> dict[str, Any]:
        """Begin an upload, which takes parts for an hour."""
        principal = may_train(house, request)
        body = await body_of(house, principal, request, {"filename", "purpose", "bytes", "mime_type", "expires_after"})
        _text(body, "mime_type")
        work = partial(
            cabinet.uploads.create,
            principal.tenant,
            _text(body, "filename"),
            checked_purpose(_text(body, "purpose")),
            _size(body),
            bounds=cabinet.of_upload,
            file_expires_after_s=_expiry(body.get("expires_after")),
        )
        return _upload(await cabinet.do(principal.tenant, work))

    @router.post("/{upload_id}/complete")
    async def complete_upload(upload_id: str, request: Request) -> dict[str, Any]:
        """Make a file of the parts, in the order of `part_ids`."""
        principal = may_train(house, request)
        body = await body_of(house, principal, request, {"part_ids", "md5"})
        if body.get("part_ids") is None:
            raise missing("part_ids")
        part_ids = listed(body["part_ids"], "part_ids", "ids of parts", MOST_PARTS)
        if not all(isinstance(one, str) for one in part_ids):
            raise BadRequest("'part_ids' must be a list of texts.", param="part_ids", code="invalid_type")
        md5 = None if body.get("md5") is None else _text(body, "md5")
        tenant, complete = principal.tenant, cabinet.uploads.completion
        completion = await cabinet.do(tenant, partial(complete, tenant, upload_id, part_ids, md5))
        while (upload := await cabinet.do(tenant, completion.step)) is None:
            pass
        return _upload(upload)

    @router.post("/{upload_id}/cancel")
    async def cancel_upload(upload_id: str, request: Request) -> dict[str, Any]:
        """End an upload, and remove its parts."""
        principal = may_train(house, request)
        return _upload(await cabinet.do(principal.tenant, partial(cabinet.uploads.cancel, principal.tenant, upload_id)))


def _add_parts(router: APIRouter, house: House) -> None:
    cabinet = house.cabinet

    @router.post("/{upload_id}/parts")
    async def create_part(upload_id: str, request: Request) -> dict[str, Any]:
        """Add a part: a form with `data`, of 64 MiB at most."""

        def begin(principal: Principal, expected: int | None) -> PartDraft:
            return cabinet.uploads.begin_part(principal.tenant, upload_id, cabinet.of_part, expected)

        def keep(draft: PartDraft, _form: FormReader) -> PartInfo:
            return cabinet.uploads.keep_part(draft)

        part = await taken(house, request, Intake(cabinet.of_part.most_bytes, begin, _reader, keep))
        return {
            "id": part.id,
            "object": "upload.part",
            "created_at": part.created_at_ms // 1000,
            "upload_id": part.upload_id,
        }


def _reader(principal: Principal, boundary: bytes, draft: PartDraft) -> FormReader:
    return FormReader(boundary, "data", (), lambda _: draft.write, skips_unknown=principal.allow_unknown_fields)


def _text(body: dict[str, Any], name: str) -> str:
    given = body.get(name)
    if given is None:
        raise missing(name)
    if not isinstance(given, str) or not 1 <= len(given) <= MOST_TEXT_CHARS:
        raise BadRequest(
            f"'{name}' must be a text of 1 to {MOST_TEXT_CHARS} characters.", param=name, code="invalid_value"
        )
    return given


def _size(body: dict[str, Any]) -> int:
    given = body.get("bytes")
    if given is None:
        raise missing("bytes")
    if type(given) is not int:
        raise BadRequest("'bytes' must be a whole number: how long the file is.", param="bytes", code="invalid_type")
    return given


def _expiry(given: Any) -> int | None:
    if given is None:
        return None
    if not isinstance(given, dict):
        raise BadRequest(
            "'expires_after' must be an object with 'anchor' and 'seconds'.", param="expires_after", code="invalid_type"
        )
    if unknown := [name[:64] for name in given if name not in ("anchor", "seconds")]:
        raise unknown_keys([f"expires_after.{name}" for name in unknown])
    anchor, seconds = (None if given.get(name) is None else str(given[name]) for name in ("anchor", "seconds"))
    return checked_expiry(anchor, seconds)


def _upload(info: UploadInfo) -> dict[str, Any]:
    return {
        "id": info.id,
        "object": "upload",
        "bytes": info.bytes,
        "created_at": info.created_at_ms // 1000,
        "expires_at": info.expires_at_ms // 1000,
        "filename": info.filename,
        "purpose": info.purpose,
        "status": info.status,
        "file": None if info.file is None else document(info.file),
    }
