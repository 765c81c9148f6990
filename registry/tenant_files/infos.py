"""What is known of a file beside its bytes, and what may be said of one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from registry.db import now_ms
from registry.errors import InvalidInput, RegistryError
from registry.responses.sealing import Keyring
from registry.tenant_files.rows import TenantFile

FINE_TUNE, RESULTS = "fine-tune", "fine-tune-results"
PURPOSES = (FINE_TUNE, "user_data", "evals", RESULTS)
"""What files here are for; results are written by the trainer alone."""
MOST_FILENAME_CHARS = 255
ABOUT = "about"
"""The place of what is sealed of a file or an upload, behind its id."""


class NoSuchFile(RegistryError):
    """A file is not there: deleted, expired, never there, or another tenant's."""

    def __init__(self, id_: str) -> None:
        super().__init__(f"there is no file {id_[:80]!r}", param="file_id")
        self.id = id_


class FileInUse(RegistryError):
    """A file cannot be deleted, because jobs need it that have not ended."""

    def __init__(self, id_: str, jobs: list[str]) -> None:
        super().__init__(f"file {id_} is needed by {', '.join(jobs)}; cancel that, or wait until it has ended")
        self.id, self.jobs = id_, jobs


@dataclass(frozen=True, slots=True)
class FileInfo:
    """A file without its bytes."""

    id: str
    tenant: str
    filename: str
    purpose: str
    bytes: int
    digest: str
    """`sha256:<hex>` of its bytes."""
    created_at_ms: int
    expires_at_ms: int | None
    """From then on it is not there any more; `None`: it stays until it is deleted."""


def checked_filename(given: str) -> str:
    """The name without folders before it. Raises `InvalidInput` for what no file can be called."""
    name = re.split(r"[/\\]", given)[-1].strip()
    if name in ("", ".", "..") or len(name) > MOST_FILENAME_CHARS or not name.isprintable():
        raise InvalidInput(
            f"filename is {given[:80]!r}; expected 1 to {MOST_FILENAME_CHARS} printable characters that are no folder",
            param="filename",
        )
    return name


def checked_purpose(given: str) -> str:
    """One of `PURPOSES`. Raises `InvalidInput`."""
    if given not in PURPOSES:
        raise InvalidInput(f"purpose is {given[:40]!r}; choose from {', '.join(PURPOSES)}", param="purpose")
    return given


def file_made_now(
    id_: str, tenant: str, filename: str, purpose: str, size: int, digest: str, expires_after_s: int | None
) -> FileInfo:
    """What is known of a file that has just become whole."""
    at_ms = now_ms()
    expires_at_ms = None if expires_after_s is None else at_ms + expires_after_s * 1_000
    return FileInfo(id_, tenant, filename, purpose, size, digest, at_ms, expires_at_ms)


def row_of(keyring: Keyring, info: FileInfo) -> TenantFile:
    """As it is stored."""
    about = orjson.dumps({"filename": info.filename, "digest": info.digest})
    return TenantFile(
        tenant=info.tenant,
        id=info.id,
        created_at_ms=info.created_at_ms,
        expires_at_ms=info.expires_at_ms,
        bytes=info.bytes,
        purpose=info.purpose,
        about=keyring.seal(about, info.tenant, info.id, ABOUT),
    )


COLUMNS = (
    TenantFile.id,
    TenantFile.tenant,
    TenantFile.purpose,
    TenantFile.bytes,
    TenantFile.created_at_ms,
    TenantFile.expires_at_ms,
    TenantFile.about,
)
"""What `info_of` needs: to make objects of rows takes most of the time of a long list."""


class FileRow(Protocol):
    """`COLUMNS` of one file."""

    id: Any
    tenant: Any
    purpose: Any
    created_at_ms: Any
    expires_at_ms: Any
    about: Any
    bytes: Any


def info_of(keyring: Keyring, row: FileRow) -> FileInfo:
    """As it is known. Raises `Unreadable`."""
    about = orjson.loads(keyring.open(row.about, row.tenant, row.id, ABOUT))
    return FileInfo(
        row.id,
        row.tenant,
        about["filename"],
        row.purpose,
        row.bytes,
        about["digest"],
        row.created_at_ms,
        row.expires_at_ms,
    )
