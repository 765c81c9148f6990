"""What the routes of files need: the stores, what a tenant may have, and threads for the work."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from gateway.complaints import Complaint
from gateway.files.faults import FAULTS, said_of
from gateway.responses.lookups import Lookups
from gateway.told import told
from registry.tenant_files.parts import Bounds
from registry.tenant_files.store import TenantFiles
from registry.tenant_files.uploads import MOST_PART_BYTES, Uploads

T = TypeVar("T")
LEFT_OVER = Complaint(logging.getLogger("switchyard.files"))


class Droppable(Protocol):
    """What was begun and is not wanted any more."""

    tenant: str

    def drop(self) -> None:
        """Remove what is there of it."""


@dataclass(frozen=True, slots=True)
class Cabinet:
    """Of one process. `files` blocks: it is asked through `do`."""

    files: TenantFiles
    threads: Lookups
    of_file: Bounds
    """Of a file that comes in one request."""
    most_upload_bytes: int
    """Of a file that comes in parts."""

    @property
    def uploads(self) -> Uploads:
        """Files that come in parts."""
        return self.files.uploads

    @property
    def of_part(self) -> Bounds:
        """Of one part of an upload."""
        return replace(self.of_file, most_bytes=MOST_PART_BYTES)

    @property
    def of_upload(self) -> Bounds:
        """Of all parts of an upload."""
        return replace(self.of_file, most_bytes=self.most_upload_bytes)

    async def do(self, tenant: str, work: Callable[[], T]) -> T:
        """What `work` returns, in a thread, in this tenant's turn. Raises `ApiError`."""
        with told(FAULTS, said_of):
            return await self.threads.do(tenant, work)

    async def drop(self, draft: Droppable) -> None:
        """Remove what has come, even when who waits for it is cancelled; the leader's sweep does what fails here."""
        try:
            await asyncio.shield(self.threads.do(draft.tenant, draft.drop))
        except Exception as error:
            LEFT_OVER.report("what came of a file is left for the sweep", error)

    def close(self) -> None:
        """End the threads when their work is done."""
        self.threads.close()
