"""What nobody can do to the gateway with a file that is sent badly, or only half."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from registry.tenant_files.pieces import PIECE_BYTES
from tests.gateway.test_form import FILE, PURPOSE, form, part
from tests.support.stack import Stack, open_house, run_stack
from tests.support.waiting import DEADLINE_S, wait_until

MOST_BYTES = PIECE_BYTES + (2 << 20)
HEAD = b'--edge\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n'
FORM = {"Content-Type": "multipart/form-data; boundary=edge"}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A gateway that takes small files, and few of them."""
    limits: dict[str, Any] = {
        "max_file_bytes": MOST_BYTES,
        "max_files_per_tenant": 3,
        "max_file_bytes_per_tenant": 2 * MOST_BYTES,
    }
    with open_house(tmp_path_factory.mktemp("files")) as house:
        house.tenant("acme")
        house.tenant("globex")
        with run_stack(house, body_min_bytes_per_s=1 << 30, **limits) as stack:
            yield stack


@pytest.fixture(autouse=True)
def _leaves_nothing(stack: Stack) -> Iterator[None]:
    """After each test there are no files, and no bytes of any."""
    yield
    for tenant in ("acme", "globex"):
        for info in stack.house.registry.files.page(tenant, None, 100).files:
            stack.house.registry.files.delete(tenant, info.id)
    wait_until("what was left half-way to be removed", lambda: left(stack) == ([], 0))


def left(stack: Stack) -> tuple[list[str], int]:
    """Pieces and parts that there are."""
    pieces = (stack.house.settings.state_dir / "blobs").glob("tenant-files/*/*")
    with stack.house.registry.db.read() as session:
        return [path.name for path in pieces], len(session.execute(text("SELECT id FROM tenant_file_parts")).all())


def upload(stack: Stack, body: bytes, key: str = "acme", **headers: str) -> httpx.Response:
    return stack.post("/v1/files", body, key, {**FORM, **headers})


def error(answer: httpx.Response) -> tuple[int, str, str | None]:
    found = answer.json()["error"]
    return answer.status_code, found["code"], found["param"]


@contextmanager
def begun(stack: Stack, head: str, body: bytes = b"") -> Iterator[socket.socket]:
    """A connection on which an upload of acme's has begun."""
    with socket.create_connection((stack.house.settings.host, stack.house.settings.port), timeout=DEADLINE_S) as client:
        key = stack.house.keys["acme"]
        lines = f"POST /v1/files HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n{head}"
        client.sendall(f"{lines}Content-Type: multipart/form-data; boundary=edge\r\n\r\n".encode() + body)
        yield client


def answer_on(client: socket.socket) -> tuple[int, str]:
    """Status and code of the refusal that comes before the connection ends."""
    got = b""
    with suppress(ConnectionResetError):  # what is on its way still is not read
        while some := client.recv(65_536):
            got += some
    head, _, body = got.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["error"]["code"]


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (form(part("file", b"", "a.jsonl"), PURPOSE), (400, "invalid_value", "file")),
        (form(PURPOSE), (400, "missing_required_parameter", "file")),
        (form(FILE), (400, "missing_required_parameter", "purpose")),
        (form(FILE, FILE, PURPOSE), (400, "invalid_form", "file")),
        (form(part("x" * 10_000, b""), FILE, PURPOSE), (400, "invalid_form", None)),
        (form(part("file", b"x", ".."), PURPOSE), (400, "invalid_value", "filename")),
        (form(part("file", b"x", "a\tb"), PURPOSE), (400, "invalid_value", "filename")),
        (form(part("file", b"x"), PURPOSE), (400, "invalid_value", "filename")),
        (form(FILE, PURPOSE, part("expires_after[seconds]", b"3600")), (400, "invalid_value", "expires_after[anchor]")),
        (form(FILE, PURPOSE)[:-4], (400, "invalid_form", None)),
        (b"", (400, "invalid_form", None)),
        (b"{}", (400, "invalid_form", None)),
    ],
)
def test_a_bad_form_is_refused_with_what_is_wrong(
    stack: Stack, body: bytes, found: tuple[int, str, str | None]
) -> None:
    assert error(upload(stack, body)) == found


def test_a_body_that_is_no_form_is_refused(stack: Stack) -> None:
    for kind in ("application/json", "text/plain", "application/x-www-form-urlencoded"):
        assert error(upload(stack, b"x", **{"Content-Type": kind})) == (415, "unsupported_media_type", "Content-Type")
    bare = {"Content-Type": "multipart/form-data"}
    assert error(upload(stack, form(FILE, PURPOSE), **bare)) == (400, "invalid_form", "Content-Type")
    coded = {"Content-Encoding": "gzip"}
    refused = (415, "unsupported_content_encoding", "Content-Encoding")
    assert error(upload(stack, form(FILE, PURPOSE), **coded)) == refused


@pytest.mark.parametrize("name", ["../../etc/passwd", "C:\\\\data\\\\rows.jsonl", "a/b/ü.jsonl"])
def test_a_file_is_called_by_the_last_part_of_its_path(stack: Stack, name: str) -> None:
    answer = upload(stack, form(part("file", b"x", name), PURPOSE))
    assert answer.status_code == 200
    assert answer.json()["filename"] == name.replace("\\\\", "/").rpartition("/")[2]


def test_a_file_comes_whole_in_chunks_of_any_length(stack: Stack) -> None:
    body = form(PURPOSE, part("file", b"0123456789" * 400_000, "a.jsonl"))
    chunks = iter([body[:1], body[1:2], body[2:100], body[100:]])
    with httpx.Client() as http:
        headers = {**FORM, "Authorization": f"Bearer {stack.house.keys['acme']}"}
        answer = http.post(f"{stack.url}/v1/files", content=chunks, headers=headers)
    assert answer.json()["bytes"] == 4_000_000


def test_a_client_that_hangs_up_leaves_nothing(stack: Stack) -> None:
    with begun(stack, f"Content-Length: {MOST_BYTES}\r\n", HEAD + b"x" * (PIECE_BYTES + (1 << 20))):
        wait_until("a piece to be stored", lambda: left(stack)[0])
    wait_until("it to be removed", lambda: left(stack) == ([], 0))


def test_a_body_that_ends_before_the_form_leaves_nothing(stack: Stack) -> None:
    with begun(stack, "Transfer-Encoding: chunked\r\nConnection: close\r\n") as client:
        body = HEAD + b"x" * PIECE_BYTES
        client.sendall(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
        assert answer_on(client) == (400, "invalid_form")
    assert left(stack) == ([], 0)


def test_who_says_too_little_has_the_rest_read_as_no_part_of_it(stack: Stack) -> None:
    body = form(PURPOSE, FILE)
    with begun(stack, f"Content-Length: {len(body) - 10}\r\nConnection: close\r\n", body) as client:
        assert answer_on(client) == (400, "invalid_form")


def test_a_file_that_is_too_long_is_refused_before_it_comes(stack: Stack) -> None:
    with begun(stack, "Expect: 100-continue\r\nContent-Length: 100000000\r\n") as client:
        assert answer_on(client) == (413, "file_too_large")


def test_a_file_that_turns_out_too_long_leaves_nothing(stack: Stack) -> None:
    with begun(stack, "Transfer-Encoding: chunked\r\n") as client:
        body = HEAD + b"x" * (MOST_BYTES + (1 << 20))
        with suppress(ConnectionError):
            client.sendall(b"%x\r\n%b\r\n" % (len(body), body))
        assert answer_on(client) == (413, "file_too_large")


def test_nobody_without_a_key_is_read(stack: Stack) -> None:
    with socket.create_connection((stack.house.settings.host, stack.house.settings.port), timeout=DEADLINE_S) as client:
        client.sendall(b"POST /v1/files HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n")
        assert answer_on(client) == (401, "missing_api_key")


def test_a_file_that_comes_too_slowly_is_given_up(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.api.incoming_form.BODY_GRACE_S", 0.05)
    with begun(stack, "Content-Length: 1000\r\n", HEAD) as client:
        assert answer_on(client) == (408, "body_timeout")


def test_a_tenant_that_has_all_it_may_have_is_told_so_and_others_are_not_affected(stack: Stack) -> None:
    body = form(PURPOSE, part("file", b"x", "a.jsonl"))
    for _ in range(3):
        assert upload(stack, body).status_code == 200
    refused = upload(stack, body)
    assert error(refused) == (429, "file_files_exceeded", None)
    assert "have 3 of 3 files" in refused.json()["error"]["message"]
    assert refused.headers["x-should-retry"] == "false"
    assert upload(stack, body, "globex").status_code == 200


def test_a_tenant_has_no_more_bytes_than_it_may(stack: Stack) -> None:
    body = form(PURPOSE, part("file", b"x" * MOST_BYTES, "a.jsonl"))
    assert [upload(stack, body).status_code for _ in range(3)] == [200, 200, 429]
    refused = upload(stack, body)
    assert error(refused) == (429, "file_bytes_exceeded", None)
    assert f"have {2 * MOST_BYTES} of {2 * MOST_BYTES} bytes" in refused.json()["error"]["message"]


def test_who_sends_slowly_keeps_its_own_places_alone(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.api.incoming_form.BODY_GRACE_S", 60.0)
    house = stack.gateway.house
    assert house is not None
    places = house.admission.uploads
    with begun(stack, "Content-Length: 10\r\n"), begun(stack, "Content-Length: 10\r\n"):
        wait_until("both to be under way", lambda: places.by_tenant.get("acme") == 2)
        monkeypatch.setattr(places, "most_of_tenant", 2)
        assert error(upload(stack, form(FILE, PURPOSE))) == (429, "concurrency_limit", None)
        assert upload(stack, form(FILE, PURPOSE), "globex").status_code == 200
        assert stack.http.get(f"{stack.url}/v1/files", headers=_key(stack)).status_code == 200
    wait_until("the places to be free", lambda: not places.taken)


def test_a_storage_that_takes_nothing_is_a_503_and_what_is_left_is_swept(stack: Stack) -> None:
    folder = stack.house.settings.state_dir / "blobs" / "tenant-files"
    blocked = [folder / f"{number:02x}" for number in range(256)]
    there = [path for path in blocked if path.exists()]
    moved = [path.rename(path.with_name(f"_{path.name}")) for path in there]
    try:
        for path in blocked:
            path.write_bytes(b"")  # no folder: nothing can be made in it
        assert error(upload(stack, form(FILE, PURPOSE))) == (503, "files_unavailable", None)
    finally:
        for path in blocked:
            path.unlink()
        for path in moved:
            path.rename(path.with_name(path.name[1:]))
    assert upload(stack, form(FILE, PURPOSE)).status_code == 200
    with stack.house.registry.db.write() as session:  # nobody could remove it then
        session.execute(text("UPDATE tenant_file_parts SET removable_from_ms = 1 WHERE pieces IS NULL"))
    assert stack.house.registry.files.sweeping.sweep(10) == 1


@pytest.mark.parametrize("damaged", [0, 2])
def test_a_damaged_file_is_no_whole_answer(stack: Stack, damaged: int) -> None:
    file = stack.house.registry.files.create("acme", "a", "evals", [b"x" * (2 * PIECE_BYTES + 1)])
    (path,) = (stack.house.settings.state_dir / "blobs").glob(f"tenant-files/*/*-{damaged}")
    path.write_bytes(path.read_bytes()[:-1])
    url = f"{stack.url}/v1/files/{file.id}/content"
    if damaged == 0:
        assert error(stack.http.get(url, headers=_key(stack))) == (503, "file_unreadable", None)
    else:
        with pytest.raises(httpx.RemoteProtocolError):
            stack.http.get(url, headers=_key(stack))


def _key(stack: Stack) -> dict[str, str]:
    return {"Authorization": f"Bearer {stack.house.keys['acme']}"}
