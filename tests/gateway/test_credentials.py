"""Keys in the headers of OpenAI's, Azure's and Anthropic's clients."""

from __future__ import annotations

import socket

import httpx
import pytest
from openai import AzureOpenAI, NotFoundError, OpenAI

from tests.support.stack import CHAT, MESSAGES, TEXT, Stack
from tests.support.waiting import DEADLINE_S

BODY = {"model": "triage", "messages": MESSAGES, "max_tokens": 1}
FORMS = {
    "Authorization": "Bearer {}",
    "authorization": "bearer   {}",
    "api-key": "{}",
    "x-api-key": "{}",
    "X-API-KEY": "{}",
}
NO_KEY = [("Authorization", "Basic c2stMQ=="), ("Authorization", "Bearer"), ("api-key", ""), ("x-api-key", "")]


def ask(stack: Stack, headers: list[tuple[str, str]], path: str = CHAT) -> httpx.Response:
    return stack.http.post(f"{stack.url}{path}", headers=headers, json=BODY)


def sent(stack: Stack, header: str, tenant: str = "acme") -> tuple[str, str]:
    return header, FORMS[header].format(stack.house.keys[tenant])


@pytest.mark.parametrize("header", FORMS)
def test_a_key_is_known_in_each_of_its_headers_on_every_route(stack: Stack, header: str) -> None:
    headers = [sent(stack, header)]
    assert ask(stack, headers).status_code == 200
    for path in ("/v1/models", "/v1/models/triage"):
        assert stack.http.get(f"{stack.url}{path}", headers=headers).status_code == 200


@pytest.mark.parametrize("other", ["api-key", "x-api-key"])
def test_the_same_key_twice_is_one_key(stack: Stack, other: str) -> None:
    assert ask(stack, [sent(stack, "Authorization"), sent(stack, other)]).status_code == 200


@pytest.mark.parametrize("nothing", NO_KEY)
def test_a_header_that_has_no_key_stands_in_nobodys_way(stack: Stack, nothing: tuple[str, str]) -> None:
    for headers in ([nothing, sent(stack, "x-api-key")], [sent(stack, "x-api-key"), nothing]):
        assert ask(stack, headers).status_code == 200
    answer = ask(stack, [nothing])
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "missing_api_key")


@pytest.mark.parametrize("first", ["Authorization", "api-key", "x-api-key"])
@pytest.mark.parametrize("second", ["Authorization", "api-key", "x-api-key"])
def test_two_different_keys_are_refused_and_neither_is_used(stack: Stack, first: str, second: str) -> None:
    headers = [sent(stack, first), sent(stack, second, "globex")]
    asked = stack.asked()
    for answer in (
        ask(stack, headers),
        ask(stack, headers, TEXT),
        stack.http.get(f"{stack.url}/v1/models", headers=headers),
        stack.http.get(f"{stack.url}/v1/models/triage", headers=headers),
    ):
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "ambiguous_api_key")
        assert "send one" in answer.json()["error"]["message"]
    assert stack.asked() == asked


def test_what_is_wrong_with_a_key_is_said_in_the_form_of_the_endpoint_that_is_asked(stack: Stack) -> None:
    two = [sent(stack, "x-api-key"), sent(stack, "api-key", "globex")]
    for headers, status, kind in (
        ([], 401, "authentication_error"),
        ([("x-api-key", "sk-unknown")], 401, "authentication_error"),
        (two, 400, "invalid_request_error"),
    ):
        anthropics = ask(stack, headers, "/v1/messages")
        assert (anthropics.status_code, anthropics.json()["type"]) == (status, "error")
        assert anthropics.json()["error"]["type"] == kind
        openais = ask(stack, headers, "/v1/responses")
        assert (openais.status_code, openais.json()["error"]["type"]) == (status, kind)


def test_headers_of_both_vendors_sdks_are_accepted(stack: Stack) -> None:
    theirs = [
        ("OpenAI-Organization", "org-1"),
        ("OpenAI-Project", "proj_1"),
        ("OpenAI-Beta", "assistants=v2"),
        ("anthropic-version", "2023-06-01"),
        ("anthropic-beta", "prompt-caching-2024-07-31,tools"),
        ("anthropic-dangerous-direct-browser-access", "true"),
    ]
    assert ask(stack, [sent(stack, "x-api-key"), *theirs]).status_code == 200


def test_the_sdk_works_behind_azures_new_addresses(stack: Stack) -> None:
    with OpenAI(base_url=f"{stack.url}/openai/v1/", api_key=stack.house.keys["acme"], max_retries=0) as client:
        assert client.chat.completions.create(model="triage", messages=MESSAGES, max_tokens=1).choices
        assert client.models.retrieve("acme/triage").id == "acme/triage"


@pytest.mark.parametrize("model", ["triage", "acme/triage", "acme/triage@1.1", "ft:gpt-4o-mini:acme::7"])
def test_azures_sdk_asks_a_deployment_by_its_name(stack: Stack, model: str) -> None:
    with azure(stack) as client:
        answer = client.chat.completions.create(model=model, messages=MESSAGES, max_tokens=1)
        assert answer.model.startswith("acme/triage@1.")
        assert client.completions.create(model=model, prompt="x", max_tokens=1, stream=True).response.status_code == 200


def test_the_deployment_of_a_client_is_meant_whatever_model_its_calls_name(stack: Stack) -> None:
    with azure(stack, deployment="triage@1.1") as client:
        answer = client.chat.completions.create(model="gpt-4o", messages=MESSAGES, max_tokens=1)
        assert answer.model == "acme/triage@1.1"
    with azure(stack, deployment="sentiment") as client, pytest.raises(NotFoundError, match="sentiment"):
        client.chat.completions.create(model="triage", messages=MESSAGES, max_tokens=1)


def test_a_body_need_not_name_the_model_that_its_address_names(stack: Stack) -> None:
    body = {"messages": MESSAGES, "max_tokens": 1}
    for path in (
        "/openai/deployments/triage/chat/completions?api-version=1",
        "//openai/deployments/acme%2Ftriage/chat/completions/",
    ):
        assert stack.post(path, body).json()["model"] == "acme/triage@1.0"
    assert stack.post("/openai/deployments/triage/images/generations", body).status_code == 404


def azure(stack: Stack, deployment: str | None = None) -> AzureOpenAI:
    """A client that sends `api-key` and asks at `/openai/deployments/…`."""
    return AzureOpenAI(
        azure_endpoint=stack.url,
        azure_deployment=deployment,
        api_key=stack.house.keys["acme"],
        api_version="2024-10-21",
        max_retries=0,
    )


def test_what_the_key_decides_is_said_before_a_body_is_asked_for_and_the_connection_ends(stack: Stack) -> None:
    """Who waits for 100 Continue may send the body still, or the next request: only a new connection is clear."""
    host, _, port = stack.url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=DEADLINE_S) as client:
        head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nx-api-key: sk-unknown\r\nExpect: 100-continue\r\n"
        client.sendall(f"{head}Content-Length: 9\r\n\r\n".encode())
        with client.makefile("rb") as file:
            answer = file.read()
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"connection: close" in answer


def test_a_body_that_is_wanted_is_asked_for_and_the_connection_goes_on(stack: Stack) -> None:
    host, _, port = stack.url.removeprefix("http://").partition(":")
    body = b'{"model":"triage","prompt":"x","max_tokens":1}'
    head = f"POST {TEXT} HTTP/1.1\r\nHost: x\r\napi-key: {stack.house.keys['acme']}\r\nExpect: 100-continue\r\n"
    with (
        socket.create_connection((host, int(port)), timeout=DEADLINE_S) as client,
        client.makefile("rb") as file,
    ):
        for _ in range(2):
            client.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode())
            assert file.readline() + file.readline() == b"HTTP/1.1 100 Continue\r\n\r\n"
            client.sendall(body)
            assert file.readline().startswith(b"HTTP/1.1 200 ")
            length = 0
            while (line := file.readline()) != b"\r\n":
                assert not line.startswith(b"connection: close")
                if line.startswith(b"content-length: "):
                    length = int(line.split()[1])
            assert b'"text_completion"' in file.read(length)
