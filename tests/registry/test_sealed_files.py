"""Tenants' files at rest with a key: nothing of them can be read, and no piece can be put in another's place."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from shutil import copyfile

import pytest

from registry.responses.sealing import Unreadable
from registry.service import Registry
from registry.settings import RegistrySettings
from registry.tenant_files.pieces import PIECE_BYTES
from tests.support.migrated import migrated

KEY, OTHER = (base64.b64encode(bytes([number]) * 32).decode() for number in (1, 2))
ROW = b'{"messages": [{"role": "user", "content": "Where is my parcel?"}]}\n'
LONG = ROW * (PIECE_BYTES // len(ROW) * 2)


@pytest.fixture
def sealed(tmp_path: Path) -> Iterator[Registry]:
    settings = RegistrySettings(state_dir=migrated(tmp_path / "var"), store_key=KEY)
    with Registry.open(settings) as registry:
        for tenant in ("acme", "globex"):
            registry.tenants.create(tenant)
        yield registry


def pieces(registry: Registry) -> list[Path]:
    return sorted((registry.settings.state_dir / "blobs").glob("tenant-files/*/*"))


def test_nothing_of_a_file_lies_there_in_the_clear(sealed: Registry) -> None:
    info = sealed.files.create("acme", "parcels.jsonl", "fine-tune", [LONG])
    kept = b"".join(path.read_bytes() for path in sealed.settings.state_dir.rglob("*") if path.is_file())
    for word in (b"parcel", info.digest.removeprefix("sha256:").encode()):
        assert word not in kept
    assert b"".join(sealed.files.content("acme", info.id)) == LONG


def test_a_piece_in_another_place_is_no_piece(sealed: Registry) -> None:
    info = sealed.files.create("acme", "a", "evals", [LONG])
    first, second = pieces(sealed)
    kept = first.read_bytes()
    copyfile(second, first)
    with pytest.raises(Unreadable):
        b"".join(sealed.files.content("acme", info.id))
    first.write_bytes(kept)
    theirs = sealed.files.create("globex", "a", "evals", [LONG])
    (of_theirs,) = (path for path in pieces(sealed) if path.name.endswith("-0") and path != first)
    copyfile(first, of_theirs)
    with pytest.raises(Unreadable):
        b"".join(sealed.files.content("globex", theirs.id))


def test_another_key_reads_nothing_until_the_old_one_stands_behind_it(sealed: Registry) -> None:
    info = sealed.files.create("acme", "a", "evals", [LONG])
    for keys, reads in ((OTHER, False), (f"{OTHER},{KEY}", True)):
        with Registry.open(sealed.settings.model_copy(update={"store_key": keys})) as registry:
            if reads:
                assert registry.files.resealing.reseal() == 3
                assert b"".join(registry.files.content("acme", info.id)) == LONG
            else:
                with pytest.raises(Unreadable):
                    registry.files.get("acme", info.id)
    with Registry.open(sealed.settings.model_copy(update={"store_key": OTHER})) as registry:
        assert b"".join(registry.files.content("acme", info.id)) == LONG
