"""OpenAI's uploads with the official client, unmodified, against the gateway."""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import OpenAI

from tests.support.stack import Stack

ROWS = b'{"messages": [{"role": "user", "content": "Hi"}]}\n' * 50_000


def begin(client: OpenAI, **fields: Any) -> Any:
    known = {"bytes": 3, "filename": "a.jsonl", "mime_type": "text/jsonl", "purpose": "fine-tune"}
    return client.uploads.create(**{**known, **fields})


def add(client: OpenAI, upload_id: str, content: bytes) -> str:
    return client.uploads.parts.create(upload_id, data=content).id


def refused_with(kind: type[openai.APIStatusError], ask: Any) -> tuple[str | None, str | None]:
    with pytest.raises(kind) as refused:
        ask()
    return refused.value.code, refused.value.param


def test_a_long_file_is_uploaded_in_chunks(client: OpenAI, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(ROWS)
    upload = client.uploads.upload_file_chunked(
        file=path,
        mime_type="text/jsonl",
        purpose="fine-tune",
        part_size=1 << 20,
        md5=hashlib.md5(ROWS, usedforsecurity=False).hexdigest(),
    )
    assert (upload.object, upload.status, upload.bytes, upload.filename) == (
        "upload", "completed", len(ROWS), "rows.jsonl"
    )  # fmt: skip
    assert upload.expires_at == upload.created_at + 3600
    assert upload.file is not None
    assert client.files.retrieve(upload.file.id) == upload.file
    assert client.files.content(upload.file.id).read() == ROWS
    client.files.delete(upload.file.id)


def test_an_upload_from_its_beginning_to_its_end(client: OpenAI) -> None:
    upload = begin(client, bytes=6, expires_after={"anchor": "created_at", "seconds": 3600})
    assert (upload.status, upload.file, upload.purpose) == ("pending", None, "fine-tune")
    part = client.uploads.parts.create(upload.id, data=b"abc")
    assert (part.object, part.upload_id) == ("upload.part", upload.id)
    assert part.created_at >= upload.created_at
    done = client.uploads.complete(upload.id, part_ids=[add(client, upload.id, b"xyz"), part.id])
    assert done.file is not None
    assert done.file.expires_at == done.file.created_at + 3600
    assert client.files.content(done.file.id).read() == b"xyzabc"
    client.files.delete(done.file.id)


def test_a_cancelled_upload_takes_nothing_any_more(client: OpenAI) -> None:
    upload = begin(client)
    part = add(client, upload.id, b"abc")
    assert client.uploads.cancel(upload.id).status == "cancelled"
    assert client.uploads.cancel(upload.id).status == "cancelled"
    over = ("upload_not_pending", "upload_id")
    assert refused_with(openai.BadRequestError, lambda: add(client, upload.id, b"abc")) == over
    assert refused_with(openai.BadRequestError, lambda: client.uploads.complete(upload.id, part_ids=[part])) == over


def test_another_tenants_upload_looks_like_none(client: OpenAI, stack: Stack) -> None:
    upload = begin(client)
    part = add(client, upload.id, b"abc")
    gone = ("upload_not_found", "upload_id")
    with OpenAI(base_url=f"{stack.url}/v1", api_key=stack.house.keys["globex"], max_retries=0) as theirs:
        for id_ in (upload.id, "upload_000000000000000000000000"):
            assert refused_with(openai.NotFoundError, partial(add, theirs, id_, b"x")) == gone
            assert refused_with(openai.NotFoundError, partial(theirs.uploads.cancel, id_)) == gone
            assert refused_with(openai.NotFoundError, partial(theirs.uploads.complete, id_, part_ids=[part])) == gone
        mine = begin(theirs)
        complete = partial(theirs.uploads.complete, mine.id, part_ids=[part])
        assert refused_with(openai.BadRequestError, complete) == ("invalid_value", "part_ids")
        theirs.uploads.cancel(mine.id)
    client.uploads.cancel(upload.id)


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"bytes": 0}, "invalid_value", "bytes"),
        ({"bytes": 1 << 50}, "invalid_value", "bytes"),
        ({"bytes": "3"}, "invalid_type", "bytes"),
        ({"bytes": None}, "missing_required_parameter", "bytes"),
        ({"filename": ""}, "invalid_value", "filename"),
        ({"filename": ".."}, "invalid_value", "filename"),
        ({"filename": 7}, "invalid_value", "filename"),
        ({"mime_type": None}, "missing_required_parameter", "mime_type"),
        ({"purpose": "batch"}, "invalid_value", "purpose"),
        ({"expires_after": {"anchor": "now", "seconds": 3600}}, "invalid_value", "expires_after[anchor]"),
        ({"expires_after": {"anchor": "created_at", "seconds": 1}}, "invalid_value", "expires_after[seconds]"),
        ({"expires_after": "soon"}, "invalid_type", "expires_after"),
        ({"extra_body": {"parts": 1}}, "unknown_parameter", "parts"),
    ],
)
def test_a_bad_order_names_its_field(client: OpenAI, fields: Any, code: str, param: str) -> None:
    assert refused_with(openai.BadRequestError, lambda: begin(client, **fields)) == (code, param)


def test_parts_that_do_not_fit_are_refused(client: OpenAI) -> None:
    upload = begin(client)
    part = add(client, upload.id, b"abc")

    def complete(*ids: Any, **fields: Any) -> Any:
        return lambda: client.uploads.complete(upload.id, part_ids=list(ids), **fields)

    assert refused_with(openai.BadRequestError, complete()) == ("invalid_value", "part_ids")
    assert refused_with(openai.BadRequestError, complete(part, part)) == ("invalid_value", "part_ids")
    assert refused_with(openai.BadRequestError, complete(7)) == ("invalid_type", "part_ids")
    assert refused_with(openai.BadRequestError, complete(part, md5="0" * 32)) == ("invalid_value", "md5")
    assert refused_with(openai.BadRequestError, lambda: add(client, upload.id, b"")) == ("invalid_value", "data")
    done = complete(part)()
    assert complete(part)().file == done.file
    assert done.file is not None
    client.files.delete(done.file.id)


def test_a_part_has_no_more_than_64_mib(client: OpenAI) -> None:
    upload = begin(client)
    code, _ = refused_with(openai.APIStatusError, lambda: add(client, upload.id, b"x" * ((64 << 20) + 1)))
    assert code == "file_too_large"
    client.uploads.cancel(upload.id)
