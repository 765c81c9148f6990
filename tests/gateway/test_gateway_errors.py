"""What clients see when something is wrong: the right exception, nothing of the inside, and the engine unharmed."""

from __future__ import annotations

import json
import socket
import time
from typing import Any

import httpx
import openai
import pytest
from openai import OpenAI

from registry.tenants.store import NewKey
from tests.support.stack import CHAT, MESSAGES, TEXT, House, Stack, run, run_stack
from tests.support.waiting import DEADLINE_S, wait_until

USER = MESSAGES[0]
CHAT_BODY: dict[str, Any] = {"model": "triage", "messages": MESSAGES}
TEXT_BODY: dict[str, Any] = {"model": "triage", "prompt": "x"}
BAD = "invalid_request_error"


def client_of(stack: Stack, key: str) -> OpenAI:
    return OpenAI(base_url=f"{stack.url}/v1", api_key=key, max_retries=0)


def ask(client: OpenAI, model: str = "triage") -> str:
    return client.chat.completions.create(model=model, messages=MESSAGES, max_tokens=2).model


def inside(stack: Stack) -> list[str]:
    """What must never reach a client: engine addresses, folders, and the engine's names of adapters."""
    engine = stack.engine
    names = list(stack.state()["loaded"]) if engine.running else []
    return [engine.url, f":{engine.options.port}", str(stack.house.folder), *names, '"a-', " a-"]


def assert_clean(stack: Stack, shown: str) -> None:
    assert [secret for secret in inside(stack) if secret in shown] == []


# Keys and scopes


@pytest.mark.parametrize("header", [None, "", "Bearer", "Basic c2stMQ==", "sk-plain"])
def test_a_request_without_a_key_is_a_401(stack: Stack, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    for path in (CHAT, TEXT):
        answer = stack.http.post(f"{stack.url}{path}", json=CHAT_BODY, headers=headers)
        assert answer.status_code == 401
        assert answer.json()["error"]["type"] == "authentication_error"
        assert answer.json()["error"]["code"] == "missing_api_key"
    assert stack.http.get(f"{stack.url}/v1/models", headers=headers).status_code == 401


def test_an_unknown_key_is_an_authentication_error(stack: Stack) -> None:
    with client_of(stack, "sk-unknown") as client:
        with pytest.raises(openai.AuthenticationError) as caught:
            ask(client)
        assert caught.value.code == "invalid_api_key"
        with pytest.raises(openai.AuthenticationError):
            client.models.list()


def test_a_revoked_key_is_soon_refused(stack: Stack) -> None:
    key: NewKey = stack.house.registry.tenants.create_key("acme")
    stack.wait_revision()
    with client_of(stack, key.secret) as client:
        assert ask(client) == "acme/triage@1.0"
        stack.house.registry.tenants.revoke_key(key.id)

        def refused() -> bool:
            try:
                ask(client)
            except openai.AuthenticationError:
                return True
            return False

        wait_until("the key to be refused", refused)


def test_a_key_that_is_revoked_while_its_body_is_under_way_is_refused(stack: Stack) -> None:
    key: NewKey = stack.house.registry.tenants.create_key("acme")
    stack.wait_revision()
    body = json.dumps({"model": "acme/triage", "messages": MESSAGES, "max_tokens": 4}).encode()
    settings = stack.house.settings
    head = (
        f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key.secret}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    house = stack.gateway.house
    assert house is not None
    with socket.create_connection((settings.host, settings.port), timeout=DEADLINE_S) as client:
        client.sendall(head.encode() + body[:10])
        wait_until("its body to be read", lambda: house.admission.bodies.taken)
        stack.house.registry.tenants.revoke_key(key.id)
        stack.wait_revision()
        client.sendall(body[10:])
        assert client.recv(65_536).startswith(b"HTTP/1.1 401 ")


def test_the_base_model_without_its_scope_is_a_permission_error(client: OpenAI) -> None:
    for name in ("tiny", "gpt-4o-mini"):
        with pytest.raises(openai.PermissionDeniedError) as caught:
            ask(client, name)
        assert (caught.value.code, caught.value.param) == ("missing_scope", "model")
        assert "keys create TENANT --scope base" in caught.value.message


def test_anothers_adapter_looks_exactly_like_none(stack: Stack) -> None:
    others, nones = "globex/sentiment", "globex/xxxxxxxxx"
    for suffix in ("", "@1.0", "@production", "@9.9"):
        real, unreal = (stack.chat(name + suffix) for name in (others, nones))
        assert real.status_code == unreal.status_code == 404
        assert real.text.replace(others, nones) == unreal.text
        assert real.json()["error"]["code"] == "model_not_found"
        volatile = ("x-request-id", "date")
        assert [k for k in real.headers if k not in volatile] == [k for k in unreal.headers if k not in volatile]
    headers = {"Authorization": f"Bearer {stack.house.keys['acme']}"}
    cards = [stack.http.get(f"{stack.url}/v1/models/{name}", headers=headers) for name in (others, nones)]
    assert [card.status_code for card in cards] == [404, 404]
    assert cards[0].text.replace(others, nones) == cards[1].text


@pytest.mark.parametrize(
    "model",
    ["nothing", "acme/nothing", "acme/triage@7.0", "acme/triage@nowhere", "sentiment", "a/b/c", "@", "/", "triage@",
     "acme/triage@1", "../triage", "Triage", "base", "text", "acme/\u0442riage", "gpt-4o", "acme/triage@1.0@1.0"],
)  # fmt: skip
def test_a_model_that_is_not_ours_is_a_404_and_never_the_base(client: OpenAI, model: str) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        ask(client, model)
    assert (caught.value.code, caught.value.param, caught.value.type) == ("model_not_found", "model", BAD)


def test_the_engines_own_name_of_an_adapter_is_no_model(stack: Stack, base_client: OpenAI) -> None:
    for name in stack.state()["loaded"]:
        with pytest.raises(openai.NotFoundError):
            ask(base_client, name)


# Bodies


def said(**message: Any) -> dict[str, Any]:
    return {"messages": [message]}


MALFORMED: list[tuple[str, dict[str, Any], str]] = [
    (CHAT, {"model": None}, "model"),
    (CHAT, {"model": ""}, "model"),
    (CHAT, {"model": 3}, "model"),
    (CHAT, {"model": "m" * 257}, "model"),
    (CHAT, {"messages": None}, "messages"),
    (CHAT, {"messages": []}, "messages"),
    (CHAT, {"messages": "Hi"}, "messages"),
    (CHAT, said(role="root", content="x"), "messages[0].role"),
    (CHAT, said(role="user"), "messages[0].content"),
    (CHAT, said(role="user", content=5), "messages[0].content"),
    (CHAT, said(role="user", content=[{"type": "image_url", "image_url": {"url": "http://10.0.0.1/"}}]),
     "messages[0].content[0].type"),
    (CHAT, said(role="tool", content="x"), "messages[0].tool_call_id"),
    (CHAT, {"temperature": 9}, "temperature"),
    (CHAT, {"temperature": "hot"}, "temperature"),
    (CHAT, {"top_p": -0.1}, "top_p"),
    (CHAT, {"n": 0}, "n"),
    (CHAT, {"n": 99}, "n"),
    (CHAT, {"n": True}, "n"),
    (CHAT, {"max_tokens": 0}, "max_tokens"),
    (CHAT, {"max_tokens": -1}, "max_tokens"),
    (CHAT, {"max_tokens": 2**40}, "max_tokens"),
    (CHAT, {"stop": ["a"] * 9}, "stop"),
    (CHAT, {"stream": "yes"}, "stream"),
    (CHAT, {"stream_options": {"include_usage": True}}, "stream_options"),
    (CHAT, {"top_logprobs": 5}, "top_logprobs"),
    (CHAT, {"logit_bias": {"x": 1}}, "logit_bias"),
    (CHAT, {"tool_choice": "required"}, "tool_choice"),
    (CHAT, {"response_format": {"type": "xml"}}, "response_format.type"),
    (CHAT, {"prompt_logprobs": -1}, "prompt_logprobs"),
    (CHAT, {"temprature": 1}, "temprature"),
    (CHAT, {"priority": -5}, "priority"),
    (CHAT, {"cache_salt": "globex"}, "cache_salt"),
    (CHAT, {"chat_template": "{{ x }}"}, "chat_template"),
    (CHAT, {"kv_transfer_params": {}}, "kv_transfer_params"),
    (CHAT, {"lora_request": {}}, "lora_request"),
    (TEXT, {"prompt": None}, "prompt"),
    (TEXT, {"prompt": ""}, "prompt"),
    (TEXT, {"prompt": [1, -1]}, "prompt[1]"),
    (TEXT, {"prompt": ["a", 1]}, "prompt[1]"),
    (TEXT, {"prompt_embeds": "AAAA"}, "prompt_embeds"),
    (TEXT, {"logprobs": 99}, "logprobs"),
    (TEXT, {"use_beam_search": True}, "use_beam_search"),
]  # fmt: skip
NO_OBJECT = [b"", b"{", b"[]", b'"x"', b"\xff\xfe", b'{"model": NaN}', b"[" * 5_000]


def test_malformed_requests_are_400s_that_name_the_field_and_never_reach_the_engine(stack: Stack) -> None:
    asked = stack.asked()
    for path, change, param in MALFORMED:
        answer = stack.post(path, {**(CHAT_BODY if path == CHAT else TEXT_BODY), **change})
        error = answer.json()["error"]
        assert (answer.status_code, error["param"], error["type"]) == (400, param, BAD), (change, answer.text)
        assert error["message"]
    for body in NO_OBJECT:
        answer = stack.post(CHAT, body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_json"), body
    assert stack.asked() == asked
    assert stack.http.get(f"{stack.engine.url}/health").status_code == 200
    assert stack.chat("triage").status_code == 200


def test_the_sdk_raises_bad_request_with_the_field(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="triage", messages=MESSAGES, temperature=7)
    assert (caught.value.param, caught.value.type, caught.value.code) == ("temperature", BAD, "invalid_value")


def test_what_the_engine_refuses_is_a_400_with_the_field_and_public_names_only(stack: Stack) -> None:
    answer = stack.chat("triage", max_tokens=5_000)
    assert answer.status_code == 400
    assert (answer.json()["error"]["param"], answer.json()["error"]["code"]) == (
        "max_tokens",
        "context_length_exceeded",
    )
    assert_clean(stack, answer.text)


def test_a_body_above_the_limit_is_a_413_and_the_connection_lives_on(stack: Stack) -> None:
    headers = {"Authorization": f"Bearer {stack.house.keys['acme']}"}
    with httpx.Client(base_url=stack.url, headers=headers, timeout=DEADLINE_S) as http:
        answer = http.post(CHAT, content=b"x" * 4_300_000)
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "payload_too_large")
        assert http.post(CHAT, json=CHAT_BODY).status_code == 200


def test_unknown_fields_pass_only_for_a_tenant_that_allows_them(stack: Stack) -> None:
    assert stack.chat("triage", shiny=1).status_code == 400
    assert stack.chat("forms", key="initech", shiny=1).status_code == 200
    reserved = stack.chat("forms", key="initech", cache_salt="globex")
    assert (reserved.status_code, reserved.json()["error"]["code"]) == (400, "reserved_parameter")


def test_a_unit_header_has_a_limit(stack: Stack) -> None:
    answer = stack.chat("triage", headers={"X-Switchyard-Unit": "u" * 257})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "X-Switchyard-Unit")


# An engine that fails


@pytest.mark.parametrize("stream", [False, True])
def test_a_failure_of_the_engine_is_a_502(stack: Stack, stream: bool) -> None:
    stack.faults(refuse_requests=500, refuse_requests_with=MESSAGES[0]["content"])  # not what we ask ourselves
    answer = stack.chat("triage", stream=stream)
    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "engine_error")
    assert_clean(stack, answer.text)


def test_an_overloaded_engine_is_a_503_to_come_back_to(stack: Stack, client: OpenAI) -> None:
    stack.faults(fail_next=[503])
    with pytest.raises(openai.InternalServerError) as caught:
        ask(client)
    assert caught.value.status_code == 503
    assert int(caught.value.response.headers["retry-after"]) > 0


def test_the_sdk_retries_a_503_by_itself_and_succeeds(stack: Stack) -> None:
    stack.faults(fail_next=[500])
    key = stack.house.keys["acme"]
    with OpenAI(base_url=f"{stack.url}/v1", api_key=key, max_retries=1) as client:
        assert ask(client) == "acme/triage@1.0"


@pytest.mark.parametrize("garbage", ["bytes", "json"])
@pytest.mark.parametrize("stream", [False, True])
def test_garbage_from_the_engine_is_an_error_of_ours(stack: Stack, garbage: str, stream: bool) -> None:
    stack.faults(garbage=garbage)
    answer = stack.chat("triage", stream=stream)
    assert answer.status_code == 503
    assert answer.json()["error"]["type"] in ("api_error", "service_unavailable")
    assert_clean(stack, answer.text)


@pytest.mark.parametrize("stream", [False, True])
def test_an_engine_that_hangs_is_given_up_after_the_head_timeout(stack: Stack, stream: bool) -> None:
    stack.faults(hang=True)
    began = time.monotonic()
    answer = stack.chat("triage", stream=stream)
    assert 2.0 <= time.monotonic() - began < 12.0
    wanted = (503, "engine_unavailable") if stream else (400, "answer_timeout")
    assert (answer.status_code, answer.json()["error"]["code"]) == wanted
    assert_clean(stack, answer.text)
    wait_until("the engine to see that we left", lambda: stack.state()["running"] == 0)


def test_a_silence_within_a_stream_ends_it_after_the_idle_timeout(stack: Stack) -> None:
    stack.faults(token_ms=5_000)
    began = time.monotonic()
    answer = stack.chat("triage", stream=True)
    assert 2.0 <= time.monotonic() - began < 12.0
    assert '"code":"engine_broke"' in answer.text
    wait_until("the engine to see that we left", lambda: stack.state()["running"] == 0)


@pytest.mark.parametrize("fault", ["die_after_chunks", "error_after_chunks"])
def test_a_stream_that_breaks_ends_with_an_error_that_the_sdk_raises(stack: Stack, client: OpenAI, fault: str) -> None:
    stack.faults(**{fault: 3})
    got: list[object] = []
    with (
        client.chat.completions.create(model="triage", messages=MESSAGES, max_tokens=9, stream=True) as stream,
        pytest.raises(openai.APIError) as caught,
    ):
        got.extend(iter(stream))
    assert len(got) == 3, "what came before the failure reaches the client"
    assert caught.value.type == "api_error"
    assert caught.value.code == {"die_after_chunks": "engine_broke", "error_after_chunks": "engine_error"}[fault]
    answer = stack.chat("triage", stream=True)
    assert answer.status_code == 200
    events = answer.text.split("\n\n")
    assert all('"model":"acme/triage@1.0"' in event for event in events[:3])
    assert json.loads(events[3].removeprefix("data: "))["error"]["type"] == "api_error"
    assert events[4:] == ["data: [DONE]", ""]
    assert_clean(stack, answer.text)


@pytest.mark.parametrize("fault", [{"die_after_chunks": 1}, {"error_after_chunks": 1}, {"die_after_chunks": 0}])
def test_an_answer_that_breaks_before_its_first_byte_is_a_plain_error(stack: Stack, fault: dict[str, int]) -> None:
    stack.faults(**fault)
    answer = stack.chat("triage")
    assert answer.status_code in (502, 503)
    assert answer.headers["content-type"] == "application/json"
    assert_clean(stack, answer.text)


def test_an_engine_that_resets_connections_is_a_503(stack: Stack) -> None:
    stack.faults(reset_connections=True)
    answer = stack.chat("triage")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "engine_unavailable")
    assert_clean(stack, answer.text)


@pytest.mark.parametrize("stream", [False, True])
def test_without_an_engine_the_answer_is_a_quick_503_that_says_when_to_come_back(stack: Stack, stream: bool) -> None:
    shown = []
    run(stack.engine.stop())
    try:
        for _ in range(2):  # before and after the gateway has noticed
            began = time.monotonic()
            answer = stack.chat("triage", stream=stream)
            assert time.monotonic() - began < 10.0
            assert (answer.status_code, answer.json()["error"]["type"]) == (503, "service_unavailable")
            assert int(answer.headers["retry-after"]) == 5
            shown.append(answer.text)
            wait_until("the gateway to notice", lambda: not stack.readiness()["ready"])
    finally:
        run(stack.engine.start())
        stack.wait_ready()
    for text in shown:
        assert_clean(stack, text)


def test_a_cold_adapter_that_cannot_be_loaded_shows_nothing_of_the_inside(house: House) -> None:
    house.publish("acme/triage")
    with run_stack(house) as stack:
        stack.faults(fail_next_load=[404, 503, 404])
        for _ in range(3):
            answer = stack.chat("triage@1.0")
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "engine_unavailable")
            assert_clean(stack, answer.text)
        assert stack.chat("triage@1.0").status_code == 200
