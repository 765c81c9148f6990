"""Bytes on their way into a part."""

from __future__ import annotations

import hashlib
import threading

from registry.errors import RegistryError
from registry.tenant_files.parts import Bounds, Parts
from registry.tenant_files.pieces import PIECE_BYTES
from registry.tenant_files.rows import FilePart


class TooLong(RegistryError):
    """There are more bytes than a file, or a part of an upload, may have."""

    def __init__(self, most_bytes: int) -> None:
        super().__init__(f"there are more than {most_bytes} bytes")
        self.most_bytes = most_bytes


class PartDraft:
    """One part that is written from its first byte to its last. Methods exclude one another, so it can be dropped by
    another thread than the one that writes it.
    """

    def __init__(self, parts: Parts, tenant: str, owner: str, bounds: Bounds, expected: int | None) -> None:
        """`expected`: about how many bytes will come, if that is known. Raises `NoRoom`, `NotFound`."""
        self.tenant, self.owner = tenant, owner
        self.bytes = 0
        self.pieces = 0
        self._parts = parts
        self._bounds = bounds
        self._hash = hashlib.sha256()
        self._held = bytearray()
        self._lock = threading.Lock()
        self._ended = False
        self._part = parts.begin(tenant, owner, bounds, expected)
        self.id = self._part.id

    def write(self, data: bytes | memoryview) -> None:
        """Add bytes. Raises `TooLong`, `NoRoom`, `StorageFailed`."""
        with self._lock:
            self.bytes += len(data)
            if self.bytes > self._bounds.most_bytes:
                raise TooLong(self._bounds.most_bytes)
            self._hash.update(data)
            self._held += data
            while len(self._held) >= PIECE_BYTES:
                self._store(PIECE_BYTES)

    def close(self) -> str:
        """Store the rest; the digest of all bytes. Raises as `write`."""
        with self._lock:
            if self._held:
                self._store(len(self._held))
            return f"sha256:{self._hash.hexdigest()}"

    def kept(self) -> None:
        """It belongs to its owner now, and is not dropped any more."""
        self._ended = True

    def drop(self) -> None:
        """Remove what is there of it, unless it was kept. Raises `StorageFailed`: the sweep does it then."""
        with self._lock:
            if self._ended:
                return
            self._ended = True
            self._held.clear()
            written = FilePart(id=self.id, pieces=self.pieces + 1)  # with the one that has just failed
            self._parts.remove([written])

    def _store(self, length: int) -> None:
        if self.bytes > self._part.bytes:
            self._parts.extend(self._part, self._bounds.allowance, self.bytes - self._part.bytes)
        piece = bytes(self._held[:length])
        self._parts.pieces.write(self.tenant, self.id, self.pieces, piece)
        self.pieces += 1
        del self._held[:length]
