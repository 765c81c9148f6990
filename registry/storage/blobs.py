"""Bytes in object storage. By content: `blobs/sha256/<hex>` and `manifests/sha256/<hex>.json`, written once, never
changed, and removed when no tenant's versions have them any more. By name: below other folders.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from registry.errors import CorruptBlob, InvalidInput, NotFound, RegistryError, first_line
from registry.storage.private import private_folder

if TYPE_CHECKING:
    from obstore.store import ObjectStore

REMOVED_AT_ONCE = 500


def digest_of(data: bytes) -> str:
    """`sha256:<hex>` of the bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def canonical_json(document: Mapping[str, Any]) -> bytes:
    """The one byte form of a JSON document: sorted keys, no spaces, UTF-8. Digests are taken over it."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


class StorageFailed(RegistryError):
    """The object storage did not do what it was asked for: it is full, away, or refuses."""


class BlobStore:
    """Puts and gets bytes by digest, on any object storage that obstore knows. Connects when it is used first."""

    def __init__(self, url: str, options: Mapping[str, str] | None = None) -> None:
        """`options` are obstore's, of anything but a folder; credentials may be among them."""
        self._url = url
        self._options = dict(options or {})
        self.opened_with = self._url, self._options
        """What another process makes one of the same with; credentials may be in it."""

    @property
    def url(self) -> str:
        """Where it is."""
        return self._url

    def check(self) -> None:
        """Raise `InvalidInput` for a URL that cannot be used."""
        _ = self._store

    @cached_property
    def _store(self) -> ObjectStore:
        from obstore.exceptions import BaseError
        from obstore.store import from_url

        url = self._url
        try:
            if url.startswith("file:"):
                return from_url(url, mkdir=True)
            return from_url(url, config=self._options) if self._options else from_url(url)  # type: ignore[call-overload]
        except (BaseError, ValueError) as error:
            reason = first_line(error)
            for secret in self._options.values():
                reason = reason.replace(secret, "…")
            raise InvalidInput(
                f"blob_url is {url!r} and cannot be used ({reason}); expected file://, s3://, gs:// or az://",
                param="blob_url",
            ) from error

    @classmethod
    def in_folder(cls, folder: Path) -> BlobStore:
        """A store in a local folder, which is made if it is missing."""
        private_folder(folder)
        return cls(folder.absolute().as_uri())

    def put(self, data: bytes) -> str:
        """Store the bytes and return their digest. Storing them twice is one blob. Raises `StorageFailed`."""
        digest = digest_of(data)
        self._create(_blob_path(digest), data)
        return digest

    def get(self, digest: str) -> bytes:
        """The bytes; raises `NotFound` when there are none, `CorruptBlob` for other bytes, `StorageFailed`."""
        return self._get_verified(_blob_path(digest), digest)

    def put_manifest(self, manifest: Mapping[str, Any]) -> str:
        """Store a manifest in canonical form and return its digest. Its blobs must be stored already."""
        data = canonical_json(manifest)
        digest = digest_of(data)
        self._create(_manifest_path(digest), data)
        return digest

    def get_manifest(self, digest: str) -> dict[str, Any]:
        """The manifest as a document; raises as `get` does."""
        document: dict[str, Any] = json.loads(self._get_verified(_manifest_path(digest), digest))
        return document

    def holds(self, digest: str) -> bool:
        """Whether there is a blob of that name; its bytes are not looked at. Raises `StorageFailed`."""
        store = self._store
        with _told():
            try:
                store.head(_blob_path(digest))
            except FileNotFoundError:
                return False
        return True

    def remove_contents(self, digests: Iterable[str], manifest: str | None = None) -> None:
        """Remove what is there of these blobs, then a manifest. Nothing may refer to them any more. Raises
        `StorageFailed`.
        """
        self.remove([_blob_path(digest) for digest in digests])
        if manifest is not None:
            self.remove([_manifest_path(manifest)])

    def write(self, name: str, data: bytes) -> None:
        """Store bytes under a name that is no content's, in place of those that are there. Raises `StorageFailed`."""
        store = self._store
        with _told():
            store.put(name, data, use_multipart=False)

    def read(self, name: str) -> bytes:
        """What is stored under it. Raises `NotFound`, `StorageFailed`."""
        store = self._store
        with _told():
            try:
                return bytes(store.get(name).bytes())
            except FileNotFoundError:
                raise NotFound(f"{name} is not in the blob store") from None

    def write_file(self, name: str, file: Path) -> None:
        """Store a file as `write` does, of any length: it is not held in memory. Raises `StorageFailed`."""
        store = self._store
        with _told():
            store.put(name, file)

    def read_file(self, name: str, target: Path) -> None:
        """Write what is stored under a name to a new file. Raises `NotFound`, `StorageFailed`, `OSError`."""
        store = self._store
        with target.open("xb") as file, _told():
            try:
                for some in store.get(name).stream():
                    file.write(some)
            except FileNotFoundError:
                raise NotFound(f"{name} is not in the blob store") from None

    def names_below(self, folder: str) -> list[str]:
        """Every name that begins with `folder/`. Raises `StorageFailed`."""
        store = self._store
        with _told():
            return [one["path"] for some in store.list(f"{folder}/") for one in some]

    def remove(self, names: Sequence[str]) -> None:
        """Remove what is there of these. Raises `StorageFailed`."""
        store = self._store
        for begin in range(0, len(names), REMOVED_AT_ONCE):
            some = list(names[begin : begin + REMOVED_AT_ONCE])
            with _told():
                try:
                    store.delete(some)
                except FileNotFoundError:  # some storages stop at the first that is not there
                    for name in some:
                        with suppress(FileNotFoundError):
                            store.delete(name)

    def remove_torn(self, folder: str, older_than_s: float) -> None:
        """Remove what processes that were killed left below a folder, half written, where this is one of a machine's:
        other storages forget such by themselves.
        """
        if not self._url.startswith("file:"):
            return
        before_s = time.time() - older_than_s
        for path in Path(url2pathname(urlsplit(self._url).path), folder).glob("*/*#*"):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < before_s:
                    path.unlink()

    def _create(self, path: str, data: bytes) -> None:
        store = self._store  # imports obstore under its lock: two threads that do it at once see half of it
        from obstore.exceptions import AlreadyExistsError

        with _told():
            try:
                store.put(path, data, mode="create")
            except AlreadyExistsError:
                # The name is the content; but a torn write of an earlier crash must not live on under it.
                stored = bytes(store.get(path).bytes())
                if stored != data:
                    store.put(path, data, mode="overwrite")

    def _get_verified(self, path: str, digest: str) -> bytes:
        store = self._store
        try:
            with _told():
                data = bytes(store.get(path).bytes())
        except FileNotFoundError:
            raise NotFound(f"{path} is not in the blob store") from None
        if digest_of(data) != digest:
            raise CorruptBlob(f"{path} does not hash to its name; restore it from a backup or publish it again")
        return data


@contextmanager
def _told() -> Iterator[None]:
    from obstore.exceptions import BaseError

    try:
        yield
    except FileNotFoundError:
        raise
    except (BaseError, OSError) as error:
        raise StorageFailed(f"the object storage failed: {first_line(error)}") from error


def _blob_path(digest: str) -> str:
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"


def _manifest_path(digest: str) -> str:
    return f"manifests/sha256/{digest.removeprefix('sha256:')}.json"
