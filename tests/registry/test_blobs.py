"""Blobs are named by their content; a version's folder is verified, read-only and appears whole."""

from __future__ import annotations

import json
import shutil
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from registry.adapters.version_files import MANIFEST_TYPE
from registry.errors import CorruptBlob, InvalidInput, NotFound
from registry.storage.blobs import BlobStore, StorageFailed, canonical_json, digest_of
from tests.registry.conftest import Shop

SQLITE_ALONE = True  # files are no matter of the database


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore.in_folder(tmp_path / "blobs")


def files_of(store: Path) -> list[Path]:
    return sorted(path for path in store.rglob("*") if path.is_file())


def test_a_blob_is_found_under_the_digest_of_its_bytes(blobs: BlobStore, tmp_path: Path) -> None:
    digest = blobs.put(b"weights")
    assert digest == "sha256:9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c"
    assert blobs.get(digest) == b"weights"
    assert files_of(tmp_path / "blobs") == [tmp_path / "blobs/blobs/sha256" / digest.removeprefix("sha256:")]


def test_a_fault_of_the_storage_that_says_nothing_is_called_by_its_kind(blobs: BlobStore) -> None:
    def fall(*_: object, **__: object) -> None:
        raise TimeoutError

    blobs.__dict__["_store"] = SimpleNamespace(put=fall)
    with pytest.raises(StorageFailed, match="failed: TimeoutError"):
        blobs.write("a name", b"weights")


def test_storing_the_same_bytes_twice_is_one_blob(blobs: BlobStore, tmp_path: Path) -> None:
    assert blobs.put(b"weights") == blobs.put(b"weights")
    assert len(files_of(tmp_path / "blobs")) == 1


def test_many_threads_may_store_the_same_bytes_at_once(blobs: BlobStore, tmp_path: Path) -> None:
    data = b"w" * 1_000_000
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(blobs.put, [data] * 8)) == {digest_of(data)}
    assert [path.read_bytes() for path in files_of(tmp_path / "blobs")] == [data]


def test_a_missing_blob_is_not_found(blobs: BlobStore) -> None:
    with pytest.raises(NotFound, match="is not in the blob store"):
        blobs.get(digest_of(b"never stored"))
    with pytest.raises(NotFound, match="manifests/sha256"):
        blobs.get_manifest(digest_of(b"never stored"))


def test_a_changed_blob_is_corrupt(blobs: BlobStore, tmp_path: Path) -> None:
    digest = blobs.put(b"weights")
    files_of(tmp_path / "blobs")[0].write_bytes(b"weightz")
    with pytest.raises(CorruptBlob, match="publish it again"):
        blobs.get(digest)


@pytest.mark.parametrize("torn", [b"", b"wei"])
def test_storing_again_repairs_a_torn_blob(blobs: BlobStore, tmp_path: Path, torn: bytes) -> None:
    digest = blobs.put(b"weights")
    files_of(tmp_path / "blobs")[0].write_bytes(torn)
    assert blobs.put(b"weights") == digest
    assert blobs.get(digest) == b"weights"


def test_a_manifest_has_one_byte_form(blobs: BlobStore, tmp_path: Path) -> None:
    digest = blobs.put_manifest({"b": 1, "a": {"é": [1.5, None]}})
    assert digest == blobs.put_manifest({"a": {"é": [1.5, None]}, "b": 1})
    assert files_of(tmp_path / "blobs")[0].read_bytes() == '{"a":{"é":[1.5,null]},"b":1}'.encode()
    assert blobs.get_manifest(digest) == {"b": 1, "a": {"é": [1.5, None]}}


def test_numbers_that_json_does_not_have_are_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"loss": float("nan")})


@pytest.mark.parametrize("url", ["gopher://x", "no-url-at-all", "s3://"])
def test_a_url_that_is_no_storage_is_refused_in_one_line(url: str) -> None:
    with pytest.raises(InvalidInput, match="expected file://") as refused:
        BlobStore(url).check()
    assert "\n" not in refused.value.message
    assert refused.value.param == "blob_url"


def test_a_published_version_is_an_oci_shaped_manifest(shop: Shop) -> None:
    version = shop.publish(1).version
    manifest = shop.registry.blobs.get_manifest(version.manifest_digest)
    assert (manifest["schemaVersion"], manifest["mediaType"]) == (2, MANIFEST_TYPE)
    assert {layer["annotations"]["org.opencontainers.image.title"]: layer["size"] for layer in manifest["layers"]} == {
        path.name: path.stat().st_size for path in shop.make_adapter(1).iterdir()
    }
    config = json.loads(shop.registry.blobs.get(manifest["config"]["digest"]))
    assert config["base"] == version.base_digest
    assert config["lineage"] == {"source": "test"}


def test_a_laid_out_version_is_the_published_bytes_and_read_only(shop: Shop) -> None:
    version = shop.publish(1).version
    folder = shop.registry.version_files.materialise(version.manifest_digest)
    assert folder.name == version.manifest_digest.removeprefix("sha256:")
    for path in folder.iterdir():
        assert path.read_bytes() == (shop.make_adapter(1) / path.name).read_bytes()
        assert stat.S_IMODE(path.stat().st_mode) == 0o400
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_version_that_is_laid_out_needs_the_blob_store_no_more(shop: Shop) -> None:
    version = shop.publish(1).version
    folder = shop.registry.version_files.materialise(version.manifest_digest)
    shutil.rmtree(shop.registry.settings.state_dir / "blobs")
    assert shop.registry.version_files.materialise(version.manifest_digest) == folder
    assert len(list(folder.iterdir())) == 2


def test_callers_that_lay_out_one_version_at_once_get_one_whole_folder(shop: Shop) -> None:
    version = shop.publish(1).version
    with ThreadPoolExecutor(8) as pool:
        folders = set(pool.map(shop.registry.version_files.materialise, [version.manifest_digest] * 8))
    assert len(folders) == 1
    cache = shop.registry.settings.adapter_cache_dir
    assert list(cache.iterdir()) == list(folders), "a staging folder was left behind"


def test_a_corrupt_version_is_never_laid_out_and_publishing_it_again_repairs_it(shop: Shop) -> None:
    version = shop.publish(1).version
    largest = max(files_of(shop.registry.settings.state_dir / "blobs"), key=lambda path: path.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:-4] + b"\0\0\0\1")
    with pytest.raises(CorruptBlob):
        shop.registry.version_files.materialise(version.manifest_digest)
    assert list(shop.registry.settings.adapter_cache_dir.iterdir()) == []
    assert not shop.publish(1).created
    assert shop.registry.version_files.materialise(version.manifest_digest).is_dir()
