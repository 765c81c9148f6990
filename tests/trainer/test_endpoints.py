"""The client that asks models: patient with what passes, quick with what does not, and told in the endpoint's words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.model_host import ModelHost, model_host
from trainer.endpoints import client
from trainer.endpoints.client import Manner, Reply, client_of
from trainer.endpoints.endpoint import Endpoint, gateway_at, key_from
from trainer.errors import EndpointError

ASKED = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Where?"}]


def answers(host: ModelHost, *models: str, api: Any = "openai", **manner: Any) -> list[Reply]:
    """What the host's models say."""
    with client_of(Endpoint(host.url, "sk-x", api)) as asked:
        return [asked.chat(model, ASKED, Manner(9, **manner)) for model in models]


def test_fields_that_a_model_has_not_are_left_out_from_then_on_for_that_model_alone() -> None:
    def answer(_: int, body: dict[str, Any]) -> Any:
        refused = {"temperature", "max_tokens"} & body.keys() if body["model"] == "thinker" else ()
        if "temperature" in refused:
            return 400, {}, {"error": {"message": "'temperature' does not support 0 with this model."}}
        if "max_tokens" in refused:
            return 400, {}, {"error": {"message": "'max_tokens' is not supported; use 'max_completion_tokens'."}}
        return "here"

    with model_host(answer) as host:
        assert [reply.text for reply in answers(host, "thinker", "thinker", "plain")] == ["here"] * 3
        assert len(host.bodies) == 5
        assert host.bodies[3].keys() == {"model", "messages", "max_completion_tokens"}
        assert host.bodies[4].keys() == {"model", "messages", "max_tokens", "temperature"}


def test_a_connection_that_breaks_is_tried_again_and_a_refusal_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "FIRST_WAIT_S", 0.0)
    broken: Any = (200, {"content-length": "999"}, {})
    with model_host(lambda number, _: broken if number < 2 else "here") as host:
        (reply,) = answers(host, "big")
        assert (reply.text, reply.ended, reply.prompt_tokens, reply.answer_tokens) == ("here", True, 100, 50)
        assert len(host.bodies) == 3
    with model_host(lambda *_: broken) as host, pytest.raises(EndpointError, match="the connection broke"):
        answers(host, "big")
    final: Any = (429, {"x-should-retry": "false"}, {"error": {"message": "no money", "code": "insufficient_quota"}})
    with model_host(lambda *_: final) as host:
        with pytest.raises(
            EndpointError, match=r"big does not answer at .*/chat/completions \(HTTP 429\): no money"
        ) as told:
            answers(host, "big")
        assert len(host.bodies) == 1
    assert (told.value.status, told.value.said, told.value.code) == (429, "no money", "insufficient_quota")


def test_an_address_where_nobody_is_is_told_at_once_with_the_remedy() -> None:
    with client_of(gateway_at("http://127.0.0.1:9", "sk-x")) as asked, pytest.raises(EndpointError) as told:
        asked.chat("big", ASKED, Manner(9))
    assert str(told.value).startswith("nothing answers at http://127.0.0.1:9/v1 (")
    assert str(told.value).endswith("; start a gateway, or say with --url where it is")


def test_the_other_shape_has_its_system_prompt_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    with model_host(lambda *_: "here") as host:
        (reply,) = answers(host, "claude", api="anthropic", temperature=None)
    assert (reply.text, reply.prompt_tokens, reply.answer_tokens) == ("here", 100, 50)
    assert host.paths == ["/v1/messages"]
    assert host.bodies == [{"model": "claude", "messages": ASKED[1:], "system": "Be brief.", "max_tokens": 9}]


def test_calls_of_tools_are_part_of_an_answer() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "look", "arguments": '{"at": "it"}'}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    document = {"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}
    with model_host(lambda *_: (200, {}, document)) as host:
        (reply,) = answers(host, "big")
    assert (reply.text, json.loads(reply.calls)) == ("", [["look", '{"at": "it"}']])


def test_a_key_is_what_a_header_can_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOME_KEY", raising=False)
    assert key_from("SOME_KEY", required=False) == ""
    with pytest.raises(
        EndpointError, match="SOME_KEY is not set; put the endpoint's key into it, or name another with --k"
    ):
        key_from("SOME_KEY", required=True, option="--k")
    monkeypatch.setenv("SOME_KEY", "sk geheim")
    with pytest.raises(EndpointError, match="SOME_KEY holds characters that no key has") as told:
        key_from("SOME_KEY", required=True)
    assert "geheim" not in str(told.value)
