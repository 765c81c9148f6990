"""Tenants' files: what is stored, who may see it, and what is left of what was not kept."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from registry.errors import CorruptBlob, InvalidInput, NotFound
from registry.service import Registry
from registry.tenant_files.draft import TooLong
from registry.tenant_files.infos import FileInfo, FileInUse, NoSuchFile
from registry.tenant_files.parts import BESIDE_BYTES, Allowance, Bounds, NoRoom
from registry.tenant_files.pieces import PIECE_BYTES
from registry.tenant_files.store import TenantFiles
from registry.training.jobs import JobOrder

ROW = b'{"messages": [{"role": "user", "content": "Where is my parcel?"}]}\n'


@pytest.fixture
def files(registry: Registry) -> TenantFiles:
    return registry.files


def stored(registry: Registry) -> list[Path]:
    """Everything of tenants' files in the blob store."""
    return [path for path in (registry.settings.state_dir / "blobs").glob("tenant-files/**/*") if path.is_file()]


def parts(registry: Registry) -> int:
    with registry.db.read() as session:
        return len(session.execute(text("SELECT id FROM tenant_file_parts")).all())


def add(files: TenantFiles, name: str = "train.jsonl", content: bytes = ROW, tenant: str = "acme") -> FileInfo:
    return files.create(tenant, name, "fine-tune", [content])


def test_a_file_is_read_as_it_was_written(files: TenantFiles, tmp_path: Path) -> None:
    info = add(files)
    assert (info.filename, info.purpose, info.bytes, info.expires_at_ms) == ("train.jsonl", "fine-tune", len(ROW), None)
    assert info.digest == f"sha256:{hashlib.sha256(ROW).hexdigest()}"
    assert files.get("acme", info.id) == info
    assert b"".join(files.content("acme", info.id)) == ROW
    assert files.copy_for_job("acme", info.id, tmp_path / "copy") == info
    assert (tmp_path / "copy").read_bytes() == ROW


def test_a_long_file_lies_there_in_pieces(registry: Registry, files: TenantFiles) -> None:
    def content() -> Iterator[bytes]:
        for number in range(9):
            yield bytes([number]) * (1 << 20)

    info = files.create("acme", "long.bin", "user_data", content())
    assert len(stored(registry)) == -(-info.bytes // PIECE_BYTES) == 3
    read = list(files.content("acme", info.id))
    assert [len(piece) for piece in read] == [PIECE_BYTES, PIECE_BYTES, 1 << 20]
    assert b"".join(read) == b"".join(content())


def test_another_tenants_file_is_none(files: TenantFiles) -> None:
    info = add(files)
    for ask in (files.get, files.delete, files.content):
        with pytest.raises(NoSuchFile):
            ask("globex", info.id)
    assert files.page("globex", None, 10).files == []
    assert files.get("acme", info.id) == info


@pytest.mark.parametrize("id_", ["file-0", "", "x" * 41, "file-\x00", "file-ü", "../file"])
def test_what_no_file_has_as_an_id_is_none(files: TenantFiles, id_: str) -> None:
    with pytest.raises(NoSuchFile):
        files.get("acme", id_)


def test_files_come_in_pages_by_age(files: TenantFiles) -> None:
    ids = [add(files, f"{number}.jsonl").id for number in range(5)]
    by_age = [info.id for info in files.page("acme", None, 10, "asc").files]
    assert sorted(by_age) == sorted(ids)
    first = files.page("acme", None, 2, "asc")
    assert ([info.id for info in first.files], first.has_more) == (by_age[:2], True)
    rest = files.page("acme", by_age[1], 3, "asc")
    assert ([info.id for info in rest.files], rest.has_more) == (by_age[2:], False)
    newest = files.page("acme", by_age[3], 2)
    assert [info.id for info in newest.files] == [by_age[2], by_age[1]]
    assert files.page("acme", None, 10, purpose="evals").files == []
    with pytest.raises(NoSuchFile):
        files.page("acme", "file-none", 2)


def test_a_page_is_short_whatever_is_asked_for(files: TenantFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry.tenant_files.store.MOST_LISTED", 2)
    ids = {add(files).id for _ in range(3)}
    first = files.page("acme", None, 10_000)
    assert (len(first.files), first.has_more) == (2, True)
    rest = files.page("acme", first.files[-1].id, 10_000)
    assert {info.id for info in (*first.files, *rest.files)} == ids
    assert not rest.has_more


def test_a_deleted_file_leaves_no_bytes(registry: Registry, files: TenantFiles) -> None:
    info, other = add(files), add(files)
    files.delete("acme", info.id)
    with pytest.raises(NoSuchFile):
        files.get("acme", info.id)
    with pytest.raises(NoSuchFile):
        files.delete("acme", info.id)
    assert (len(stored(registry)), parts(registry)) == (1, 1)
    assert b"".join(files.content("acme", other.id)) == ROW


def test_the_same_bytes_of_two_tenants_have_nothing_in_common(registry: Registry, files: TenantFiles) -> None:
    info = add(files)
    add(files, tenant="globex")
    assert len(stored(registry)) == 2
    files.delete("acme", info.id)
    (theirs,) = files.page("globex", None, 10).files
    assert b"".join(files.content("globex", theirs.id)) == ROW


def test_a_draft_that_is_dropped_leaves_nothing(registry: Registry, files: TenantFiles) -> None:
    draft = files.begin("acme")
    draft.write(b"x" * (PIECE_BYTES + 1))
    assert (len(stored(registry)), parts(registry)) == (1, 1)
    draft.drop()
    assert (len(stored(registry)), parts(registry)) == (0, 0)
    assert files.page("acme", None, 10).files == []


@pytest.mark.parametrize("name", ["", " ", "..", "data/", "a\nb", "x" * 256, "nul\x00"])
def test_a_file_needs_a_name_that_can_be_shown(registry: Registry, files: TenantFiles, name: str) -> None:
    with pytest.raises(InvalidInput, match=r"^filename is "):
        add(files, name)
    assert (len(stored(registry)), parts(registry)) == (0, 0)


def test_folders_before_a_name_are_left_out(files: TenantFiles) -> None:
    assert add(files, "../../etc/passwd").filename == "passwd"
    assert add(files, "C:\\data\\train.jsonl").filename == "train.jsonl"


def test_an_empty_file_is_refused(files: TenantFiles) -> None:
    with pytest.raises(InvalidInput, match=r"^file is empty"):
        add(files, content=b"")


def test_an_unknown_purpose_or_tenant_is_refused(files: TenantFiles) -> None:
    with pytest.raises(InvalidInput, match=r"^purpose is 'x'"):
        files.create("acme", "a", "x", [ROW])
    with pytest.raises(NotFound):
        add(files, tenant="nobody")


def test_a_file_has_no_more_bytes_than_it_may(registry: Registry, files: TenantFiles) -> None:
    draft = files.begin("acme", Bounds(most_bytes=10))
    draft.write(b"0123456789")
    with pytest.raises(TooLong, match="more than 10 bytes"):
        draft.write(b"0")
    draft.drop()
    assert parts(registry) == 0


def test_a_tenant_has_no_more_files_than_it_may(files: TenantFiles) -> None:
    bounds = Bounds(allowance=Allowance(files=2))
    add(files)
    draft = files.begin("acme", bounds)
    with pytest.raises(NoRoom, match="2 files of 2"):  # one is under way
        files.begin("acme", bounds)
    files.begin("globex", bounds).drop()
    draft.drop()
    files.begin("acme", bounds).drop()


def test_a_tenant_has_no_more_bytes_than_it_may(files: TenantFiles) -> None:
    add(files, content=b"x" * 60)
    bounds = Bounds(allowance=Allowance(bytes=BESIDE_BYTES))
    draft = files.begin("acme", bounds, expected=2 * BESIDE_BYTES - 60)  # a file may be shorter than its request
    draft.write(b"x" * (BESIDE_BYTES - 60))
    files.keep(draft, "a", "evals")
    with pytest.raises(NoRoom, match=f"{BESIDE_BYTES} bytes of {BESIDE_BYTES}, and 1 more"):
        files.begin("acme", bounds, expected=1)


def test_a_file_that_is_longer_than_was_said_needs_more_room(registry: Registry, files: TenantFiles) -> None:
    draft = files.begin("acme", Bounds(allowance=Allowance(bytes=PIECE_BYTES - 1)), expected=10)
    with pytest.raises(NoRoom):
        draft.write(b"x" * PIECE_BYTES)
    draft.drop()
    assert (len(stored(registry)), parts(registry)) == (0, 0)


def test_a_damaged_file_is_never_whole(registry: Registry, files: TenantFiles) -> None:
    info = files.create("acme", "a", "evals", [b"a" * PIECE_BYTES, b"b"])
    other = files.create("acme", "a", "evals", [b"a" * PIECE_BYTES, b"c"])
    of_info, of_other = (_last_piece(registry, one) for one in (info, other))
    of_other.write_bytes(of_info.read_bytes())
    read = files.content("acme", other.id)
    with pytest.raises(CorruptBlob):
        b"".join(read)
    of_info.unlink()
    with pytest.raises(CorruptBlob):
        b"".join(files.content("acme", info.id))


def test_a_file_that_a_job_needs_is_there_until_that_has_ended(registry: Registry, tmp_path: Path) -> None:
    files = registry.files
    info, other = add(files), add(files)
    job = registry.training.create(JobOrder("acme", "tiny", "tiny", info.id, other.id))
    for one in (info, other):
        with pytest.raises(FileInUse, match=job.id):
            files.delete("acme", one.id)
    with registry.db.write() as session:
        session.execute(text("UPDATE tenant_files SET expires_at_ms = 1"))
    assert files.sweeping.sweep(10) == 0
    assert files.page("acme", None, 10).files == []
    files.copy_for_job("acme", info.id, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == ROW
    registry.training.order("acme", job.id, "cancel")
    assert files.sweeping.sweep(10) == 2
    assert (stored(registry), parts(registry)) == ([], 0)


def _last_piece(registry: Registry, info: FileInfo) -> Path:
    with registry.db.read() as session:
        query = text("SELECT id FROM tenant_file_parts WHERE owner = :id")
        (part,) = session.execute(query, {"id": info.id}).scalars()
    return max(path for path in stored(registry) if path.name.startswith(f"{part}-"))
