"""Addresses that are nearly right, methods that are not, HEAD, and the ids that every answer has."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator

import httpx
import pytest
from openai import OpenAI

from gateway.admin_key import admin_key
from gateway.api.addresses import MODELS, canonical
from gateway.api.dialects import BY_PATH
from tests.support.stack import CHAT, MESSAGES, TEXT, Stack
from tests.support.waiting import DEADLINE_S, wait_until

BODY = {"model": "triage", "messages": MESSAGES, "max_tokens": 2}
SERVED = ", ".join((*BY_PATH, MODELS))
FORM = "application/x-www-form-urlencoded"


@pytest.fixture
def http(stack: Stack) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {stack.house.keys['acme']}"}
    with httpx.Client(base_url=stack.url, headers=headers, timeout=DEADLINE_S) as http:
        yield http


def test_a_long_path_takes_time_in_proportion_to_its_length() -> None:
    began_s = time.process_time()
    assert canonical("/v1" * 200_000 + "/chat/completions") == CHAT
    assert time.process_time() - began_s < 3, "with the square it is 20"


def admin(stack: Stack) -> dict[str, str]:
    return {"Authorization": f"Bearer {admin_key(stack.house.settings)}"}


@pytest.mark.parametrize(
    "path",
    ["/v1/chat/completions/", "//v1/chat/completions", "/v1//chat//completions", "/v1/v1/chat/completions",
     "/v1/v1/v1/chat/completions//", "/chat/completions", "/chat/completions/", "/v1/chat%2Fcompletions",
     "///chat/completions?api-version=1"],
)  # fmt: skip
def test_an_address_that_is_nearly_right_is_served_and_not_redirected(http: httpx.Client, path: str) -> None:
    answer = http.post(path, json=BODY, follow_redirects=False)
    assert (answer.status_code, answer.json()["object"]) == (200, "chat.completion")


def test_so_are_completions_and_models(http: httpx.Client) -> None:
    for path in ("/completions", "/v1/v1/completions/", "//v1/completions"):
        assert http.post(path, json={"model": "triage", "prompt": "x", "max_tokens": 1}).status_code == 200
    listed = http.get("/v1/models").json()
    for path in ("/v1/models/", "/models", "/v1/v1/models", "/models//"):
        assert http.get(path).json() == listed
    card = http.get("/v1/models/acme/triage").json()
    for path in ("/models/acme/triage", "/v1/models//acme%2Ftriage/", "/v1/v1/models/acme%2ftriage"):
        assert http.get(path).json() == card


@pytest.mark.parametrize("suffix", ["", "/", "/v1/", "/v1/v1", "//v1"])
def test_the_sdk_works_with_base_urls_as_people_write_them(stack: Stack, suffix: str) -> None:
    with OpenAI(base_url=f"{stack.url}{suffix}", api_key=stack.house.keys["acme"], max_retries=0) as client:
        answer = client.chat.completions.create(model="triage", messages=MESSAGES, max_tokens=1)
        assert answer.model == "acme/triage@1.0"
        assert client.models.retrieve("acme/triage").id == "acme/triage"


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("/v1/chat/completions/chat/completions", "/v1/chat/completions"),
        ("/openai/deploy/triage/chat/completions", "/v1/chat/completions"),
        ("/api/v1/completions", "/v1/completions"),
        ("/V1/Chat/Completions", "/v1/chat/completions"),
        ("/v1/chat/completion", "/v1/chat/completions"),
        ("/v1/chat/completions.json", "/v1/chat/completions"),
        ("/v1/readyz", "/readyz"),
        ("/v1/model", "/v1/models"),
        ("/v1/audio/speech", SERVED),
        ("/", SERVED),
        ("/" + "x" * 20_000, SERVED),
    ],
)
def test_an_address_that_is_further_off_is_told_the_nearest(http: httpx.Client, path: str, meant: str) -> None:
    answer = http.post(path, json=BODY)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (404, "unknown_url")
    assert f" {meant}" in error["message"]
    assert len(error["message"]) < 500


def test_health_has_its_usual_name_too(http: httpx.Client) -> None:
    for path in ("/health", "/healthz", "/health/"):
        assert http.get(path).json() == {"status": "ok"}


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/v1/chat/completions", "POST"),
        ("HEAD", "/v1/completions", "POST"),
        ("OPTIONS", "/chat/completions/", "POST"),
        ("POST", "/v1/models", "GET, HEAD"),
        ("PUT", "/v1/models/acme/triage", "DELETE, GET, HEAD"),
        ("PATCH", "/health", "GET, HEAD"),
        ("POST", "/admin/v1/limits/tenant:acme", "DELETE, GET, HEAD, PATCH, PUT"),
        ("PUT", "/admin/v1/tariffs", "GET, HEAD, POST"),
    ],
)
def test_a_wrong_method_is_told_every_right_one(http: httpx.Client, method: str, path: str, allowed: str) -> None:
    answer = http.request(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)


def test_head_answers_as_get_without_a_body_on_every_route(stack: Stack, http: httpx.Client) -> None:
    paths = [
        "/healthz", "/health", "/readyz", "/metrics", "/docs", "/openapi.json", "/v1/models", "/v1/models/acme/triage",
        "/v1/models/nothing", "/nothing", "/admin/v1/fleet", "/admin/v1/limits/tenant:acme", "/admin/v1/swaps/1",
        "/admin/v1/usage",
    ]  # fmt: skip
    for path in paths:
        for headers in ({}, admin(stack)):
            got, head = (http.request(method, path, headers=headers) for method in ("GET", "HEAD"))
            assert (head.status_code, head.content) == (got.status_code, b""), path
            assert head.headers["content-type"] == got.headers["content-type"]
            if path not in ("/metrics", "/admin/v1/fleet"):  # figures that change meanwhile
                assert head.headers["content-length"] == str(len(got.content)), path
    assert http.get("/healthz").json() == {"status": "ok"}, "the connection lives on"


def test_every_answer_has_an_id_of_its_own(stack: Stack, http: httpx.Client) -> None:
    answers = [
        http.post(CHAT, json=BODY),
        http.post(CHAT, json={**BODY, "stream": True}),
        http.post(CHAT, json=BODY, headers={"Authorization": "Bearer sk-unknown"}),
        http.post(CHAT, content=b"{"),
        http.post(CHAT, content=b"a=b", headers={"Content-Type": FORM}),
        *(http.request(method, path) for path in ("/v1/models", "/nothing", CHAT, "/readyz", "/admin/v1/fleet")
          for method in ("GET", "HEAD", "PUT")),
        http.get("/admin/v1/fleet", headers=admin(stack)),
        http.get("/v1/models/nothing"),
    ]  # fmt: skip
    ids = [answer.headers["x-request-id"] for answer in answers]
    assert all(re.fullmatch("[0-9a-f]{32}", one) for one in ids)
    assert len(set(ids)) == len(ids)
    assert not [answer for answer in answers if "x-client-request-id" in answer.headers]


@pytest.mark.parametrize("header", ["X-Request-Id", "X-Client-Request-Id"])
@pytest.mark.parametrize("given", ["7", "order 17; try=2", "00-4bf92f3577b34da6-01", "Root=1-67891233-abc", "x" * 128])
def test_the_clients_own_id_is_echoed_beside_ours_on_every_answer(http: httpx.Client, header: str, given: str) -> None:
    for answer in (
        http.post(CHAT, json=BODY, headers={header: given}),
        http.get("/v1/models", headers={header: given}),
        http.get("/nothing", headers={header: given}),
        http.post(TEXT, content=b"[]", headers={header: given}),
    ):
        assert answer.headers["x-client-request-id"] == given
        assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])


@pytest.mark.parametrize("given", ["", " ", "x" * 129, "ünix", "tab\there", "\x7f"])
def test_what_is_no_id_is_not_echoed_and_harms_nothing(stack: Stack, given: str) -> None:
    host, _, port = stack.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=DEADLINE_S) as client:
        client.sendall(
            f"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Request-Id: {given}\r\nConnection: close\r\n\r\n".encode()
        )
        answer = client.makefile("rb").read()
    assert answer.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 400 "))
    assert b"x-client-request-id" not in answer


def test_the_clients_id_reaches_the_engine_and_the_answers_id_with_ours(stack: Stack, http: httpx.Client) -> None:
    answer = http.post(CHAT, json=BODY, headers={"X-Request-Id": 'order 17"; x'})
    own = answer.headers["x-request-id"]
    assert answer.json()["id"] == f"chatcmpl-{own}-order_17___x"
    assert wait_until("usage", lambda: stack.house.usage(request_id=own))


def test_the_sdk_finds_our_id_where_it_looks_for_it(client: OpenAI) -> None:
    headers = {"X-Client-Request-Id": "mine"}
    raw = client.chat.completions.with_raw_response.create(
        model="triage", messages=MESSAGES, max_tokens=1, extra_headers=headers
    )
    assert raw.parse()._request_id == raw.headers["x-request-id"]
    assert raw.headers["x-client-request-id"] == "mine"


@pytest.mark.parametrize("kind", [FORM, FORM.upper(), f"{FORM}; charset=utf-8", "multipart/form-data; boundary=x"])
def test_a_form_is_a_415_that_names_the_header_to_send(stack: Stack, http: httpx.Client, kind: str) -> None:
    asked = stack.asked()
    for path in (CHAT, TEXT):
        answer = http.post(path, content=b'{"model": "triage"}', headers={"Content-Type": kind})
        error = answer.json()["error"]
        assert (answer.status_code, error["param"]) == (415, "Content-Type")
        assert "-H 'Content-Type: application/json'" in error["message"]
    answer = http.put("/admin/v1/limits/tenant:acme", content=b"a=b", headers={**admin(stack), "Content-Type": kind})
    assert answer.status_code == 415
    assert stack.asked() == asked


@pytest.mark.parametrize("kind", [None, "text/plain", "application/json; charset=utf-8", "application/vnd.api+json"])
def test_json_is_read_whatever_it_is_called(stack: Stack, kind: str | None) -> None:
    headers = {"Authorization": f"Bearer {stack.house.keys['acme']}", **({"Content-Type": kind} if kind else {})}
    body = b'{"model": "triage", "prompt": "x", "max_tokens": 1}'
    assert httpx.post(f"{stack.url}{TEXT}", content=body, headers=headers).status_code == 200
