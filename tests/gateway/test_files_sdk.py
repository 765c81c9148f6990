"""OpenAI's files with the official client, unmodified, against the gateway."""

from __future__ import annotations

import io
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import OpenAI

from registry.tenant_files.pieces import PIECE_BYTES
from registry.training.jobs import JobOrder
from tests.support.stack import Stack

ROW = b'{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}\n'
GONE = "file-000000000000000000000000"


@pytest.fixture
def tenant(stack: Stack) -> str:
    """One whose files are those of the test alone."""
    name = f"filer-{secrets.token_hex(4)}"
    stack.house.tenant(name)
    stack.wait_revision()
    return name


@pytest.fixture
def client(stack: Stack, tenant: str) -> Iterator[OpenAI]:
    """The tenant's."""
    with OpenAI(base_url=f"{stack.url}/v1", api_key=stack.house.keys[tenant], max_retries=0) as client:
        yield client


def test_a_file_is_there_from_its_upload_to_its_deletion(client: OpenAI, tmp_path: Path) -> None:
    path = tmp_path / "training_data.jsonl"
    path.write_bytes(ROW * 12)
    with path.open("rb") as opened:
        file = client.files.create(file=opened, purpose="fine-tune")
    assert (file.object, file.filename, file.purpose) == ("file", "training_data.jsonl", "fine-tune")
    assert (file.bytes, file.status, file.status_details, file.expires_at) == (len(ROW) * 12, "processed", None, None)
    assert abs(file.created_at - time.time()) < 60
    assert client.files.wait_for_processing(file.id) == file
    assert client.files.retrieve(file.id) == file
    assert client.files.content(file.id).read() == ROW * 12
    deleted = client.files.delete(file.id)
    assert (deleted.id, deleted.object, deleted.deleted) == (file.id, "file", True)
    for ask in (client.files.retrieve, client.files.content, client.files.delete):
        with pytest.raises(openai.NotFoundError) as gone:
            ask(file.id)
        assert gone.value.code == "file_not_found"


def test_a_file_of_several_pieces_comes_back_whole(client: OpenAI) -> None:
    content = bytes(range(256)) * (PIECE_BYTES // 256 * 2 + 1)
    file = client.files.create(file=("rows.bin", content), purpose="user_data")
    with client.files.with_streaming_response.content(file.id) as answer:
        assert answer.headers["content-length"] == str(len(content))
        assert b"".join(answer.iter_bytes()) == content
    client.files.delete(file.id)


def test_a_file_goes_when_it_was_to_go(client: OpenAI) -> None:
    file = client.files.create(
        file=io.BytesIO(ROW), purpose="evals", expires_after={"anchor": "created_at", "seconds": 3600}
    )
    assert file.expires_at == file.created_at + 3600
    client.files.delete(file.id)


@pytest.mark.parametrize("seconds", [3599, 2_592_001, "000000003600999", "9" * 4_000, "٣٦٠٠"])
def test_a_file_goes_no_sooner_than_in_an_hour_and_no_later_than_in_30_days(client: OpenAI, seconds: Any) -> None:
    with pytest.raises(openai.BadRequestError, match="from 3600 to 2592000") as refused:
        client.files.create(file=ROW, purpose="evals", expires_after={"anchor": "created_at", "seconds": seconds})
    assert refused.value.param == "expires_after[seconds]"


def test_files_are_listed_in_pages_that_the_client_walks_through(client: OpenAI) -> None:
    ids = [client.files.create(file=(f"{number}.jsonl", ROW), purpose="fine-tune").id for number in range(5)]
    other = client.files.create(file=("else.jsonl", ROW), purpose="evals").id
    assert sorted(file.id for file in client.files.list(limit=2, purpose="fine-tune", order="asc")) == sorted(ids)
    page = client.files.list(limit=1, purpose="evals")
    assert ([file.id for file in page.data], page.has_more) == ([other], False)
    assert len(client.files.list().data) == 6
    for id_ in (*ids, other):
        client.files.delete(id_)
    assert client.files.list().data == []


def test_another_tenants_file_looks_like_none(client: OpenAI, stack: Stack) -> None:
    file = client.files.create(file=("a.jsonl", ROW), purpose="fine-tune")
    with OpenAI(base_url=f"{stack.url}/v1", api_key=stack.house.keys["globex"], max_retries=0) as theirs:
        said = []
        for id_ in (file.id, GONE):
            with pytest.raises(openai.NotFoundError) as refused:
                theirs.files.retrieve(id_)
            said.append(str(refused.value).replace(id_, "ID"))
        assert said[0] == said[1]
        assert file.id not in {listed.id for listed in theirs.files.list()}
    client.files.delete(file.id)


def test_a_key_without_the_scope_has_no_files(stack: Stack) -> None:
    with OpenAI(base_url=f"{stack.url}/v1", api_key=stack.house.key("acme", "inference"), max_retries=0) as client:
        stack.wait_revision()
        with pytest.raises(openai.PermissionDeniedError, match="'training'") as refused:
            client.files.list()
        assert refused.value.code == "missing_scope"
        with pytest.raises(openai.PermissionDeniedError):
            client.files.create(file=ROW, purpose="evals")


def test_a_file_that_a_job_needs_is_not_deleted(client: OpenAI, stack: Stack, tenant: str) -> None:
    file = client.files.create(file=ROW, purpose="fine-tune")
    training = stack.house.registry.training
    job = training.create(JobOrder(tenant, "tiny", "tiny", file.id))
    with pytest.raises(openai.BadRequestError, match=job.id) as refused:
        client.files.delete(file.id)
    assert (refused.value.code, refused.value.param) == ("file_in_use", "file_id")
    training.order(tenant, job.id, "cancel")
    assert client.files.delete(file.id).deleted


@pytest.mark.parametrize(
    ("purpose", "said"),
    [
        ("batch", "no Batch API"),
        ("assistants", "no assistants"),
        ("vision", "trains on images"),
        ("fine-tune-results", "only the trainer"),
        ("tuning", "Choose from fine-tune, user_data, evals"),
    ],
)
def test_a_purpose_that_nothing_here_serves_is_refused_by_name(client: OpenAI, purpose: str, said: str) -> None:
    with pytest.raises(openai.BadRequestError, match=said) as refused:
        client.files.create(file=ROW, purpose=purpose)  # type: ignore[arg-type]
    assert refused.value.param == "purpose"


def test_a_list_after_what_is_not_there_is_refused(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.files.list(after=GONE)
    assert refused.value.param == "after"
    with pytest.raises(openai.BadRequestError, match="from 1 to 10000"):
        client.files.list(limit=10_001)
