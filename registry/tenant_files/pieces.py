"""The bytes of a part in the blob store, piece by piece."""

from __future__ import annotations

from registry.errors import CorruptBlob, NotFound
from registry.responses.sealing import Keyring
from registry.storage.blobs import BlobStore

PIECE_BYTES = 4 << 20
"""Of every piece of a part but its last: who writes or reads a file of any length holds a few of these."""
FOLDER = "tenant-files"


class Pieces:
    """Sealed, and each bound to its tenant, its part and its place in it."""

    def __init__(self, blobs: BlobStore, keyring: Keyring) -> None:
        self._blobs = blobs
        self._keyring = keyring

    def write(self, tenant: str, part_id: str, number: int, data: bytes) -> None:
        """Store a piece. Raises `StorageFailed`."""
        self._blobs.write(_name(part_id, number), self._keyring.seal(data, tenant, part_id, str(number)))

    def read(self, tenant: str, part_id: str, number: int) -> bytes:
        """A piece. Raises `CorruptBlob` when it is gone or another one, `StorageFailed`."""
        try:
            sealed = self._blobs.read(_name(part_id, number))
        except NotFound as error:
            raise CorruptBlob(f"{error.message}; restore it from a backup, or delete its file") from error
        return self._keyring.open(sealed, tenant, part_id, str(number))

    def reseal(self, tenant: str, part_id: str, number: int) -> bool:
        """Write a piece anew unless it was sealed with the first key; whether it was. Raises as `read`."""
        name = _name(part_id, number)
        sealed = self._blobs.read(name)
        if self._keyring.is_current(sealed):
            return False
        where = (tenant, part_id, str(number))
        self._blobs.write(name, self._keyring.seal(self._keyring.open(sealed, *where), *where))
        return True

    def remove(self, part_id: str, count: int) -> None:
        """Remove the first `count` pieces, whether they are there or not. Raises `StorageFailed`."""
        self._blobs.remove([_name(part_id, number) for number in range(count)])


def most_pieces(size: int) -> int:
    """How many pieces so many bytes are, at most."""
    return size // PIECE_BYTES + 1


def _name(part_id: str, number: int) -> str:
    return f"{FOLDER}/{part_id[-2:]}/{part_id}-{number}"
