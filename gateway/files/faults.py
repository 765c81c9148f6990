"""What the registry says of files, as clients are told it."""

from __future__ import annotations

import logging

from sqlalchemy.exc import SQLAlchemyError

from gateway.complaints import Complaint
from gateway.errors import ApiError, BadRequest, NotThere, Overloaded, PayloadTooLarge, QuotaExceeded
from registry.errors import CorruptBlob, InvalidInput
from registry.storage.blobs import StorageFailed
from registry.tenant_files.draft import TooLong
from registry.tenant_files.parts import NoRoom
from registry.tenant_files.store import NoSuchFile

FAULTS = (NoSuchFile, NoRoom, TooLong, InvalidInput, CorruptBlob, StorageFailed, SQLAlchemyError)
"""What `said_of` knows."""
RETRY_AFTER_S = 5
FAILED = Complaint(logging.getLogger("switchyard.files"))


def said_of(error: Exception) -> ApiError:
    """One of `FAULTS` as a client is told it; what only the operator can mend is in the log."""
    if isinstance(error, NoSuchFile):
        why = "It was deleted, has expired, or never was."
        return NotThere(f"No such File object: {error.id[:80]}. {why}", param="file_id", code="file_not_found")
    if isinstance(error, NoRoom):
        return _no_room(error)
    if isinstance(error, TooLong):
        return PayloadTooLarge(
            f"'file' is longer than {error.most_bytes} bytes, the most that one file may have here.",
            param="file",
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
        param="file",
        code=f"file_{error.what}_exceeded",
    )
