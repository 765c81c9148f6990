"""Files that come in parts: what becomes of them, and of what was not put together."""

from __future__ import annotations

import hashlib

import pytest
from sqlalchemy import text

from registry.errors import InvalidInput
from registry.service import Registry
from registry.tenant_files.infos import NoSuchFile
from registry.tenant_files.parts import Allowance, Bounds, NoRoom
from registry.tenant_files.pieces import PIECE_BYTES
from registry.tenant_files.uploads import NoSuchUpload, TooManyUploads, UploadInfo, UploadOver, Uploads
from tests.registry.test_tenant_files import parts, stored

LONG = b"long " * (PIECE_BYTES // 4)
BOUNDS = Bounds(most_bytes=1 << 30)


@pytest.fixture
def uploads(registry: Registry) -> Uploads:
    return registry.files.uploads


MOST_STEPS = 1_000
"""Of a completion, each of a piece: far more than any upload here has."""


def begin(uploads: Uploads, size: int, **fields: int) -> UploadInfo:
    return uploads.create("acme", "rows.jsonl", "fine-tune", size, bounds=BOUNDS, **fields)


def add(uploads: Uploads, upload: UploadInfo, content: bytes) -> str:
    draft = uploads.begin_part("acme", upload.id, BOUNDS)
    try:
        draft.write(content)
        return uploads.keep_part(draft).id
    finally:
        draft.drop()


def complete(uploads: Uploads, id_: str, part_ids: list[str], md5: str | None = None) -> UploadInfo:
    completion = uploads.completion("acme", id_, part_ids, md5)
    for _ in range(MOST_STEPS):
        if (done := completion.step()) is not None:
            return done
    raise AssertionError(f"not complete after {MOST_STEPS} steps")


def age(registry: Registry, hours: float) -> None:
    """Let so much time pass for all uploads and parts."""
    passed = {"ms": int(hours * 3_600_000)}
    with registry.db.write() as session:
        session.execute(text("UPDATE tenant_uploads SET expires_at_ms = expires_at_ms - :ms"), passed)
        session.execute(text("UPDATE tenant_file_parts SET removable_from_ms = removable_from_ms - :ms"), passed)


def test_parts_become_a_file_in_the_order_that_is_said(registry: Registry, uploads: Uploads) -> None:
    upload = begin(uploads, len(LONG) + 3, file_expires_after_s=3600)
    assert (upload.status, upload.filename, upload.file) == ("pending", "rows.jsonl", None)
    end, beginning = add(uploads, upload, b"end"), add(uploads, upload, LONG)
    done = complete(uploads, upload.id, [beginning, end], hashlib.md5(LONG + b"end", usedforsecurity=False).hexdigest())
    assert done.status == "completed"
    assert done.file is not None
    assert (done.file.bytes, done.file.purpose, done.file.filename) == (len(LONG) + 3, "fine-tune", "rows.jsonl")
    assert done.file.expires_at_ms == done.file.created_at_ms + 3_600_000
    assert done.file.digest == f"sha256:{hashlib.sha256(LONG + b'end').hexdigest()}"
    assert registry.files.get("acme", done.file.id) == done.file
    assert b"".join(registry.files.content("acme", done.file.id)) == LONG + b"end"
    age(registry, 100)
    registry.files.sweeping.sweep(100)
    assert b"".join(registry.files.content("acme", done.file.id)) == LONG + b"end"
    registry.files.delete("acme", done.file.id)
    assert (stored(registry), parts(registry)) == ([], 0)


def test_a_part_that_is_not_named_is_removed(registry: Registry, uploads: Uploads) -> None:
    upload = begin(uploads, 3)
    add(uploads, upload, b"twice")
    complete(uploads, upload.id, [add(uploads, upload, b"abc")])
    assert (len(stored(registry)), parts(registry)) == (1, 1)


def test_to_complete_twice_alike_is_no_error_and_otherwise_is(uploads: Uploads) -> None:
    upload = begin(uploads, 3)
    one, other = add(uploads, upload, b"abc"), add(uploads, upload, b"xyz")
    done = complete(uploads, upload.id, [one])
    assert complete(uploads, upload.id, [one]) == done
    with pytest.raises(UploadOver, match="completed"):
        complete(uploads, upload.id, [other])
    with pytest.raises(UploadOver, match="completed"):
        uploads.cancel("acme", upload.id)


@pytest.mark.parametrize("first", ["cancel", "complete"])
def test_of_two_that_end_an_upload_at_once_one_wins(registry: Registry, uploads: Uploads, first: str) -> None:
    upload = begin(uploads, 3)
    completion = uploads.completion("acme", upload.id, [add(uploads, upload, b"abc")])
    if first == "cancel":
        uploads.cancel("acme", upload.id)
        with pytest.raises(UploadOver):
            completion.step()
        assert (registry.files.page("acme", None, 10).files, stored(registry), parts(registry)) == ([], [], 0)
    else:
        assert completion.step() is not None
        with pytest.raises(UploadOver):
            uploads.cancel("acme", upload.id)
        assert len(registry.files.page("acme", None, 10).files) == 1


def test_two_that_complete_an_upload_at_once_get_one_file(registry: Registry, uploads: Uploads) -> None:
    upload = begin(uploads, 3)
    part = add(uploads, upload, b"abc")
    completions = [uploads.completion("acme", upload.id, [part]) for _ in range(2)]
    first, second = (completion.step() for completion in completions)
    assert first is not None
    assert first == second
    assert len(registry.files.page("acme", None, 10).files) == 1


@pytest.mark.parametrize(
    ("named", "md5", "said"),
    [
        (["part_0"], None, "part_ids has 'part_0'"),
        (["MINE", "MINE"], None, "part twice"),
        ([], None, "have 0 bytes, and the upload was to have 3"),
        (["MINE", "MORE"], None, "have 5 bytes"),
        (["THEIRS"], None, "no part of this upload"),
        (["MINE"], "d41d8cd98f00b204e9800998ecf8427e", "md5 is 'd41d8"),
    ],
)
def test_what_does_not_fit_together_is_refused_and_can_be_put_right(
    uploads: Uploads, named: list[str], md5: str | None, said: str
) -> None:
    upload, another = begin(uploads, 3), begin(uploads, 3)
    ids = {
        "MINE": add(uploads, upload, b"abc"),
        "MORE": add(uploads, upload, b"de"),
        "THEIRS": add(uploads, another, b"abc"),
    }
    with pytest.raises(InvalidInput, match=said):
        complete(uploads, upload.id, [ids.get(one, one) for one in named], md5)
    assert complete(uploads, upload.id, [ids["MINE"]]).status == "completed"


def test_a_part_that_comes_after_the_end_is_none(registry: Registry, uploads: Uploads) -> None:
    upload = begin(uploads, 3)
    late = uploads.begin_part("acme", upload.id, BOUNDS)
    late.write(b"abc")
    uploads.cancel("acme", upload.id)
    with pytest.raises(UploadOver, match="cancelled"):
        uploads.keep_part(late)
    late.drop()
    assert (stored(registry), parts(registry)) == ([], 0)
    with pytest.raises(UploadOver):
        uploads.begin_part("acme", upload.id, BOUNDS)


def test_an_upload_ends_after_an_hour_and_leaves_nothing(registry: Registry, uploads: Uploads) -> None:
    upload = begin(uploads, 3)
    part = add(uploads, upload, b"abc")
    age(registry, 1)
    for ask in (
        lambda: uploads.begin_part("acme", upload.id, BOUNDS),
        lambda: uploads.completion("acme", upload.id, [part]),
        lambda: uploads.cancel("acme", upload.id),
    ):
        with pytest.raises(UploadOver, match="expired"):
            ask()
    registry.files.sweeping.sweep(100)
    assert len(stored(registry)) == 1  # somebody may be putting it together
    age(registry, 1)
    registry.files.sweeping.sweep(100)
    assert (stored(registry), parts(registry)) == ([], 0)
    with pytest.raises(NoSuchUpload):
        uploads.cancel("acme", upload.id)


def test_another_tenants_upload_is_none(uploads: Uploads) -> None:
    upload = begin(uploads, 3)
    for id_ in (upload.id, "upload_0", "", "\x00"):
        with pytest.raises(NoSuchUpload):
            uploads.cancel("globex", id_)
        with pytest.raises(NoSuchUpload):
            uploads.begin_part("globex", id_, BOUNDS)


def test_an_upload_is_refused_before_its_first_part_if_there_is_no_room(uploads: Uploads) -> None:
    with pytest.raises(InvalidInput, match="bytes is 11; expected 1 to 10"):
        uploads.create("acme", "a", "evals", 11, bounds=Bounds(most_bytes=10))
    with pytest.raises(NoRoom, match="bytes of 10"):
        uploads.create("acme", "a", "evals", 11, bounds=Bounds(allowance=Allowance(bytes=10)))
    bounds = Bounds(allowance=Allowance(files=1))
    upload = uploads.create("acme", "a", "evals", 3, bounds=bounds)
    with pytest.raises(NoRoom, match="1 files of 1"):
        uploads.create("acme", "a", "evals", 3, bounds=bounds)
    uploads.begin_part("acme", upload.id, bounds).drop()
    uploads.cancel("acme", upload.id)
    uploads.create("acme", "a", "evals", 3, bounds=bounds)


def test_a_tenant_makes_no_more_uploads_than_can_be_looked_after(
    registry: Registry, uploads: Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.tenant_files.uploads.MOST_UPLOADS", 1)
    uploads.cancel("acme", begin(uploads, 3).id)
    with pytest.raises(TooManyUploads):
        begin(uploads, 3)
    age(registry, 2)
    registry.files.sweeping.sweep(100)
    begin(uploads, 3)


def test_what_has_expired_goes_with_its_bytes(registry: Registry) -> None:
    files = registry.files
    info = files.create("acme", "a", "evals", [LONG], expires_after_s=3600)
    stays = files.create("acme", "b", "evals", [b"b"])
    with registry.db.write() as session:
        session.execute(text("UPDATE tenant_files SET expires_at_ms = 1 WHERE expires_at_ms IS NOT NULL"))
    with pytest.raises(NoSuchFile):
        files.get("acme", info.id)
    with pytest.raises(NoSuchFile):
        files.delete("acme", info.id)
    assert files.page("acme", None, 10).files == [stays]
    assert len(stored(registry)) == 3
    assert files.sweeping.sweep(100) == 1
    assert (len(stored(registry)), parts(registry)) == (1, 1)
    assert files.sweeping.sweep(100) == 0


def test_what_a_killed_process_left_of_a_file_goes_when_it_can_no_longer_be_under_way(registry: Registry) -> None:
    draft = registry.files.begin("acme", Bounds(within_s=3600))
    draft.write(LONG)
    assert registry.files.sweeping.sweep(100) == 0
    age(registry, 1)
    assert registry.files.sweeping.sweep(100) == 1
    assert (stored(registry), parts(registry)) == ([], 0)
