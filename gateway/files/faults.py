"""What the registry says of files, as clients are told it."""

from __future__ import annotations

import logging

from sqlalchemy.exc import SQLAlchemyError

from gateway.complaints import Complaint
from gateway.errors import (
    ApiError,
    BadRequest,
    NotThere,
    Overloaded,
    PayloadTooLarge,
    QuotaExceeded,
    RateLimited,
)
from registry.errors import CorruptBlob, InvalidInput
from registry.storage.blobs import StorageFailed
from registry.tenant_files.draft import TooLong
from registry.tenant_files.infos import FileInUse, NoSuchFile
from registry.tenant_files.parts import NoRoom
from registry.tenant_files.uploads import NoSuchUpload, TooManyUploads, UploadOver

FAULTS = (
    NoSuchFile,
    FileInUse,
    NoSuchUpload,
    UploadOver,
    TooManyUploads,
    NoRoom,
    TooLong,
    InvalidInput,
    CorruptBlob,
    StorageFailed,
    SQLAlchemyError,
)
"""What `said_of` knows."""
RETRY_AFTER_S = 5
TOO_MANY_RETRY_S = 600
FAILED = Complaint(logging.getLogger("switchyard.files"))


def said_of(error: Exception) -> ApiError:
    """One of `FAULTS` as a client is told it; what only the operator can mend is in the log."""
    if isinstance(error, NoSuchFile):
        why = "It was deleted, has expired, or never was."
        return NotThere(f"No such File object: {error.id[:80]}. {why}", param="file_id", code="file_not_found")
    if isinstance(error, FileInUse):
        return BadRequest(f"{error.message}.", param="file_id", code="file_in_use")
    if isinstance(error, NoSuchUpload):
        why = "It is long over, or never was."
        return NotThere(f"No such Upload object: {error.id[:80]}. {why}", param="upload_id", code="upload_not_found")
    if isinstance(error, UploadOver):
        return BadRequest(
            f"Upload {error.id} is {error.status}. Create another one.", param="upload_id", code="upload_not_pending"
        )
    if isinstance(error, TooManyUploads):
        return RateLimited(f"{error.message}.", code="too_many_uploads", retry_after_s=TOO_MANY_RETRY_S)
    if isinstance(error, NoRoom):
        return _no_room(error)
    if isinstance(error, TooLong):
        return PayloadTooLarge(
            f"There are more than {error.most_bytes} bytes, the most that can come in one request here. A longer file "
            "comes in parts, by /v1/uploads.",
            code="file_too_large",
        )
    if isinstance(error, InvalidInput):
        return BadRequest(f"{error.message}.", param=error.param, code="invalid_value")
    FAILED.report("files cannot be read or stored", error)
    if isinstance(error, CorruptBlob):
        return Overloaded(
            "The file cannot be read now; the operator must look at it.",
            code="file_unreadable",
            retry_after_s=RETRY_AFTER_S,
        )
    return Overloaded(
        "Files cannot be read or stored now. Try again.", code="files_unavailable", retry_after_s=RETRY_AFTER_S
    )


def _no_room(error: NoRoom) -> QuotaExceeded:
    asked = f", and {error.asked} more do not fit" if error.what == "bytes" else ""
    return QuotaExceeded(
        f"The files of this tenant have {error.used} of {error.most} {error.what}{asked}. Delete files that are not "
        "needed any more (DELETE /v1/files/{id}), or ask the operator for more room.",
        code=f"file_{error.what}_exceeded",
    )
