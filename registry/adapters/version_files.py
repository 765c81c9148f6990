"""The files of a version: blobs and a manifest in the store, and a read-only folder of them for engines."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from registry.adapters.effect_proof import EFFECT_PROOF_FILE
from registry.adapters.proofs import attached_proof
from registry.adapters.training_rows import TRAINING_ROWS_FILE
from registry.db import Database
from registry.errors import CorruptBlob, NotFound
from registry.storage.blobs import BlobStore, canonical_json
from registry.storage.private import seal

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
PUBLISHED_FILES = (CONFIG_FILE, WEIGHTS_FILE, EFFECT_PROOF_FILE)
"""What engines and gateways read of a version."""

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.cncf.model.config.v1+json"
MEDIA_TYPES = {
    CONFIG_FILE: "application/vnd.switchyard.peft.config.v1+json",
    WEIGHTS_FILE: "application/vnd.cncf.model.weight.v1.safetensors",
    EFFECT_PROOF_FILE: "application/vnd.switchyard.effect-proof.v1+json",
    TRAINING_ROWS_FILE: "application/vnd.switchyard.training-rows.v1",
}
"""By name: all files of a version. Anything else in a PEFT folder (a README, optimiser state) stays behind."""


class VersionFiles:
    """The bytes of all versions, by the digests of their manifests."""

    def __init__(self, db: Database, blobs: BlobStore, folder: Path) -> None:
        """Versions are laid out in `folder`."""
        self._db = db
        self._blobs = blobs
        self._folder = folder

    def store(self, folder: Path, base_digest: str, facts: Mapping[str, Any], lineage: Mapping[str, Any]) -> str:
        """Store what is published of a folder, what it is for and where it came from; the digest of its manifest."""
        layers = []
        for name in MEDIA_TYPES:
            path = folder / name
            if path.exists():
                data = path.read_bytes()
                layers.append(
                    {
                        "mediaType": MEDIA_TYPES[name],
                        "digest": self._blobs.put(data),
                        "size": len(data),
                        "annotations": {"org.opencontainers.image.title": name},
                    }
                )
        config = canonical_json({"base": base_digest, "facts": facts, "lineage": lineage})
        return self._blobs.put_manifest(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST_TYPE,
                "artifactType": "application/vnd.switchyard.lora.v1",
                "config": {"mediaType": CONFIG_TYPE, "digest": self._blobs.put(config), "size": len(config)},
                "layers": layers,
            }
        )

    def store_proof(self, data: bytes) -> str:
        """Store an effect proof that came after the publish; its digest."""
        return self._blobs.put(data)

    def published_with_proof(self, manifest_digest: str) -> bool:
        """Whether an effect proof is a part of the version's bytes."""
        layers = self._blobs.get_manifest(manifest_digest)["layers"]
        return EFFECT_PROOF_FILE in [_name_of(layer) for layer in layers]

    def is_whole(self, manifest_digest: str) -> bool:
        """Whether all of its bytes are in the store."""
        try:
            contents = self.contents(manifest_digest)
        except NotFound:
            return False
        return all(self._blobs.holds(digest) for digest in contents)

    def contents(self, manifest_digest: str) -> set[str]:
        """Digests of the blobs that a version consists of. Raises as `BlobStore.get`."""
        manifest = self._blobs.get_manifest(manifest_digest)
        return {manifest["config"]["digest"], *(layer["digest"] for layer in manifest["layers"])}

    def remove(self, manifest_digest: str, needed: Collection[str]) -> None:
        """Remove a version's bytes but those that are `needed`, whether they are there or not; its manifest last, which
        says what they are. Raises `StorageFailed`.
        """
        contents: set[str] = set()
        with suppress(NotFound, CorruptBlob):  # it was removed before, or says nothing any more
            contents = self.contents(manifest_digest)
        self._blobs.remove_contents(contents - set(needed), manifest_digest)

    def remove_blob(self, digest: str) -> None:
        """Remove an effect proof that came after its publish, whether it is there or not. Raises `StorageFailed`."""
        self._blobs.remove_contents([digest])

    def laid_out(self) -> list[str]:
        """Manifests of the versions that have a folder on this machine."""
        return [f"sha256:{path.name}" for path in self._folder.iterdir() if not path.name.startswith(".")]

    def remove_folder(self, manifest_digest: str) -> None:
        """Remove a version's folder from this machine: first out of its place, in one step."""
        gone = self._folder / f".gone-{manifest_digest.removeprefix('sha256:')}"
        with suppress(FileNotFoundError):
            self._folder_of(manifest_digest).rename(gone)
        shutil.rmtree(gone, ignore_errors=True)

    def training_rows(self, manifest_digest: str) -> bytes | None:
        """The keys of the rows that the version was trained on; None when nobody has written them down."""
        layers = self._blobs.get_manifest(manifest_digest)["layers"]
        found = next((layer for layer in layers if _name_of(layer) == TRAINING_ROWS_FILE), None)
        return None if found is None else self._blobs.get(found["digest"])

    def materialise(self, manifest_digest: str) -> Path:
        """The version's folder in the cache, laid out and verified if it is not there yet, with its newest proof in it.

        The folder's name is the digest, so an engine's path is unique per content. It appears in one rename and its
        files are read-only: vLLM reads them again whenever the adapter falls out of its own cache.
        """
        target = self._folder_of(manifest_digest)
        complete = target.is_dir()
        if not complete:
            self._lay_out(manifest_digest, target)
        attached = attached_proof(
            self._db, manifest_digest, needed=not (complete or (target / EFFECT_PROOF_FILE).exists())
        )
        if attached is not None:
            _lay_out_proof(target, self._blobs.get(attached))
        return target

    def renew_proof(self, manifest_digest: str, data: bytes) -> None:
        """Put an effect proof into the version's folder, if it is laid out."""
        folder = self._folder_of(manifest_digest)
        if folder.is_dir():
            _lay_out_proof(folder, data)

    def _folder_of(self, manifest_digest: str) -> Path:
        return self._folder / manifest_digest.removeprefix("sha256:")

    def _lay_out(self, manifest_digest: str, target: Path) -> None:
        manifest = self._blobs.get_manifest(manifest_digest)
        staging = Path(tempfile.mkdtemp(dir=self._folder, prefix=".staging-"))
        try:
            for layer in manifest["layers"]:
                if _name_of(layer) not in PUBLISHED_FILES:
                    continue
                _write_synced(staging / _name_of(layer), self._blobs.get(layer["digest"]))
            seal(staging)
            try:
                os.replace(staging, target)
            except OSError:
                if not target.is_dir():  # another process was first: its bytes are the same bytes
                    raise
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def _name_of(layer: Mapping[str, Any]) -> str:
    name: str = layer["annotations"]["org.opencontainers.image.title"]
    return name


def _write_synced(path: Path, data: bytes) -> None:
    """Synced, because a folder that came through a power cut with empty files in it would never be laid out again."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _lay_out_proof(folder: Path, data: bytes) -> None:
    """In one rename; engines do not read it, gateways do."""
    path = folder / EFFECT_PROOF_FILE
    if path.exists() and path.read_bytes() == data:
        return
    descriptor, name = tempfile.mkstemp(dir=folder, prefix=".proof-")
    os.close(descriptor)
    try:
        _write_synced(Path(name), data)
        os.replace(name, path)
        seal(folder)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
