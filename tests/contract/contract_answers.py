"""Contract cases about answers: fields, streams, usage, adapters' own numbers, aborts."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any

from gateway.engines.fingerprint import base_agreement, fingerprint_of
from gateway.engines.renderings import rendering_difference
from gateway.engines.vllm.control import VllmControl
from registry.bases.fingerprint import Fingerprint
from tests.contract.contract_engine import MESSAGES, PROMPT, EngineUnderTest, chunks, events, tokens_in

TOKEN_IDS = [504, 3575, 282, 4649, 314]
POLLS, POLL_S = 100, 0.1


async def test_a_completion_has_all_of_vllms_fields_and_our_request_id(engine: EngineUnderTest) -> None:
    request_id = f"{uuid.uuid4().hex}-Root=1-67/{'x' * 100}:y_z"  # ours, and behind it what a client calls it
    body = {"model": engine.base, "prompt": TOKEN_IDS, "max_tokens": 2, "temperature": 0, "logprobs": 1}
    body["ignore_eos"] = True
    answer = await engine.http.post("/v1/completions", json=body, headers={"X-Request-Id": request_id})
    assert answer.headers["x-request-id"] == request_id
    assert answer.headers["content-type"] == "application/json"
    reply = answer.json()
    assert set(reply) == {
        "id", "object", "created", "model", "choices", "service_tier", "system_fingerprint", "usage",
        "kv_transfer_params", "ec_transfer_params", "metrics",
    }  # fmt: skip
    assert (reply["id"], reply["object"], reply["model"]) == (f"cmpl-{request_id}", "text_completion", engine.base)
    (choice,) = reply["choices"]
    assert set(choice) == {
        "index", "text", "logprobs", "finish_reason", "stop_reason", "token_ids", "prompt_logprobs",
        "prompt_token_ids", "routed_experts",
    }  # fmt: skip
    assert choice["finish_reason"] == "length"
    assert set(choice["logprobs"]) == {"text_offset", "token_logprobs", "tokens", "top_logprobs"}
    assert [len(values) for values in choice["logprobs"].values()] == [2, 2, 2, 2]
    assert reply["usage"] == {
        "prompt_tokens": 5,
        "completion_tokens": 2,
        "total_tokens": 7,
        "prompt_tokens_details": {"cached_tokens": 0, "created_cache_tokens": None, "multimodal_tokens": None},
        "completion_tokens_details": None,
    }


async def test_a_chat_completion_has_all_of_vllms_fields(engine: EngineUnderTest) -> None:
    body = {"model": engine.base, "messages": MESSAGES, "max_tokens": 2, "logprobs": True, "top_logprobs": 1}
    body.update(temperature=0, ignore_eos=True)
    reply = (await engine.http.post("/v1/chat/completions", json=body)).json()
    assert set(reply) == {
        "id", "object", "created", "model", "choices", "service_tier", "system_fingerprint", "usage",
        "prompt_logprobs", "prompt_token_ids", "prompt_text", "kv_transfer_params", "ec_transfer_params", "metrics",
    }  # fmt: skip
    assert reply["id"].startswith("chatcmpl-")
    assert (reply["object"], reply["model"]) == ("chat.completion", engine.base)
    (choice,) = reply["choices"]
    assert set(choice) == {
        "index", "message", "logprobs", "finish_reason", "stop_reason", "token_ids", "routed_experts"
    }  # fmt: skip
    assert set(choice["message"]) == {
        "role", "content", "refusal", "annotations", "audio", "function_call", "reasoning"
    }  # fmt: skip
    assert len(choice["logprobs"]["content"]) == 2
    entry = choice["logprobs"]["content"][0]
    assert set(entry) == {"token", "logprob", "bytes", "top_logprobs"}
    assert set(entry["top_logprobs"][0]) == {"token", "logprob", "bytes"}
    assert reply["usage"]["total_tokens"] == reply["usage"]["prompt_tokens"] + 2


HARNESS = {"max_tokens": 1, "logprobs": 1, "echo": True, "temperature": 0, "seed": 1_234}
"""What lm-eval's `local-completions` sends with each prompt."""


async def test_an_echo_with_logprobs_scores_the_tokens_of_the_prompt(engine: EngineUnderTest) -> None:
    reply = (await engine.complete(prompt=[TOKEN_IDS], **HARNESS)).json()
    (choice,) = reply["choices"]
    scores = choice["logprobs"]
    assert {name: len(values) for name, values in scores.items()} == dict.fromkeys(scores, len(TOKEN_IDS) + 1)
    assert [value is None for value in scores["token_logprobs"]] == [True, *[False] * len(TOKEN_IDS)]
    assert [value is None for value in scores["top_logprobs"]] == [True, *[False] * len(TOKEN_IDS)]
    assert choice["text"].startswith("".join(scores["tokens"][:2]))
    assert len(choice["prompt_logprobs"]) == len(TOKEN_IDS)
    assert (reply["usage"]["prompt_tokens"], reply["usage"]["completion_tokens"]) == (len(TOKEN_IDS), 1)


async def test_an_echo_without_tokens_scores_the_prompt_alone(engine: EngineUnderTest) -> None:
    reply = (await engine.complete(prompt=PROMPT, **{**HARNESS, "max_tokens": 0})).json()
    (choice,) = reply["choices"]
    assert choice["text"] == PROMPT
    assert len(choice["logprobs"]["tokens"]) == reply["usage"]["prompt_tokens"]
    assert reply["usage"]["completion_tokens"] == 1


async def test_tokens_are_named_by_number_when_that_is_asked(engine: EngineUnderTest) -> None:
    reply = (await engine.complete(prompt=[TOKEN_IDS], return_tokens_as_token_ids=True, **HARNESS)).json()
    tokens = reply["choices"][0]["logprobs"]["tokens"]
    assert tokens[:-1] == [f"token_id:{token}" for token in TOKEN_IDS]


async def test_several_answers_with_one_token_to_choose_from_are_the_greedy_one(engine: EngineUnderTest) -> None:
    """The gateway asks so for several answers at temperature 0, which vLLM refuses."""
    greedy = (await engine.complete(max_tokens=3, ignore_eos=True)).json()
    reply = (await engine.complete(n=2, temperature=1, top_k=1, max_tokens=3, ignore_eos=True)).json()
    assert [choice["text"] for choice in reply["choices"]] == [greedy["choices"][0]["text"]] * 2


async def test_a_completion_stream_ends_with_usage_when_asked(engine: EngineUnderTest) -> None:
    body = {"model": engine.base, "prompt": PROMPT, "max_tokens": 3, "ignore_eos": True, "return_token_ids": True}
    body["stream_options"] = {"include_usage": True}
    *tokens, last = await chunks(engine, "/v1/completions", body)
    assert tokens_in(tokens) == 3
    assert len(tokens) == 3 or engine.joins_chunks
    assert set(tokens[0]) == {"id", "object", "created", "model", "choices"}
    assert set(tokens[0]["choices"][0]) == {
        "index", "text", "logprobs", "finish_reason", "stop_reason", "prompt_token_ids", "token_ids"
    }  # fmt: skip
    assert [event["choices"][0]["finish_reason"] for event in tokens] == [None] * (len(tokens) - 1) + ["length"]
    assert set(last) == {"id", "object", "created", "model", "choices", "usage"}
    assert last["choices"] == []
    assert set(last["usage"]) == {"prompt_tokens", "total_tokens", "completion_tokens", "prompt_tokens_details"}
    assert last["usage"]["completion_tokens"] == 3
    assert set(last["usage"]["prompt_tokens_details"]) == {"cached_tokens"}


async def test_a_chat_stream_opens_with_the_role_and_has_no_usage_unless_asked(engine: EngineUnderTest) -> None:
    body = {"model": engine.base, "messages": MESSAGES, "max_tokens": 3, "ignore_eos": True}
    first, *tokens, last = await chunks(engine, "/v1/chat/completions", body)
    assert len(tokens) == 2 or engine.joins_chunks
    assert set(first) == {"id", "object", "created", "model", "choices", "prompt_token_ids", "prompt_text"}
    assert first["object"] == "chat.completion.chunk"
    assert first["choices"] == [
        {"index": 0, "delta": {"role": "assistant", "content": ""}, "logprobs": None, "finish_reason": None}
    ]
    for chunk in (*tokens, last):
        assert set(chunk) == {"id", "object", "created", "model", "choices"}
        assert set(chunk["choices"][0]["delta"]) == {"content"}
        ends = {"stop_reason"} if chunk is last else set()
        assert set(chunk["choices"][0]) == {"index", "delta", "logprobs", "finish_reason", "token_ids"} | ends
        assert chunk["choices"][0]["finish_reason"] == ("length" if chunk is last else None)


async def test_continuous_usage_counts_up_on_every_event(engine: EngineUnderTest) -> None:
    body = {"model": engine.base, "messages": MESSAGES, "max_tokens": 2, "ignore_eos": True, "return_token_ids": True}
    body["stream_options"] = {"include_usage": True, "continuous_usage_stats": True}
    first, *tokens, last = await chunks(engine, "/v1/chat/completions", body)
    assert len(tokens) == 2 or engine.joins_chunks
    for number, chunk in enumerate(tokens, 1):
        assert chunk["usage"]["completion_tokens"] == tokens_in(tokens[:number])
    assert (first["usage"]["completion_tokens"], last["usage"]["completion_tokens"], tokens_in(tokens)) == (0, 2, 2)
    usage = first["usage"]
    assert usage == {**usage, "total_tokens": usage["prompt_tokens"], "completion_tokens_details": None}


async def test_a_running_count_is_of_one_choice_and_its_own_prompt_and_the_last_of_all(engine: EngineUnderTest) -> None:
    body = {"model": engine.base, "prompt": [PROMPT, f"{PROMPT} {PROMPT}"], "n": 2, "max_tokens": 2, "ignore_eos": True}
    body |= {"temperature": 1.0, "stream_options": {"include_usage": True, "continuous_usage_stats": True}}
    *said, last = [json.loads(event) async for event in events(engine, "/v1/completions", body)]
    read = {event["choices"][0]["index"]: event["usage"]["prompt_tokens"] for event in said}
    assert read[0] == read[1] < read[2] == read[3]
    written = {event["choices"][0]["index"]: event["usage"]["completion_tokens"] for event in said}
    assert written == dict.fromkeys(range(4), 2)
    assert last["usage"]["prompt_tokens"] == read[0] + read[2]
    assert last["usage"]["completion_tokens"] == 8


async def test_n_gives_as_many_choices_and_counts_all_their_tokens(engine: EngineUnderTest) -> None:
    reply = (await engine.complete(n=2, temperature=1, ignore_eos=True)).json()
    assert [choice["index"] for choice in reply["choices"]] == [0, 1]
    assert reply["usage"]["completion_tokens"] == 4


async def test_an_adapter_answers_under_its_own_name_with_its_own_numbers(engine: EngineUnderTest) -> None:
    name = await engine.loaded(seed=1, scale=0.5)
    with_adapter, without = await scored(engine, name), await scored(engine, engine.base)
    assert with_adapter["model"] == name
    assert abs(logprob(with_adapter) - logprob(without)) > 0.01


async def test_what_an_engine_says_of_its_base_is_a_fingerprint_that_it_agrees_with(engine: EngineUnderTest) -> None:
    control = VllmControl(str(engine.http.base_url))
    try:
        found = await fingerprint_of(control, engine.base, "http://engine")
        assert Fingerprint.from_json(found.to_json()) == found
        assert min(len(probe.positions) for probe in found.probes) >= 2
        assert await base_agreement(control, engine.base, found.questions()) < 0.01
        assert found.renderings
        assert await rendering_difference(control, engine.base, found.renderings) is None
    finally:
        await control.close()


async def test_an_adapter_with_zero_b_answers_as_the_base(engine: EngineUnderTest) -> None:
    name = await engine.loaded(scale=0.0)
    assert abs(logprob(await scored(engine, name)) - logprob(await scored(engine, engine.base))) < 0.01


async def test_log_probabilities_are_those_before_allowed_token_ids_limit_the_choice(engine: EngineUnderTest) -> None:
    """The gateway's effect proof rests on it: after the limit the only token would have a probability of 1."""
    reply = await scored(engine, engine.base)
    assert logprob(reply) < -0.001
    assert reply["usage"]["completion_tokens"] == 1


async def scored(engine: EngineUnderTest, model: str) -> dict[str, Any]:
    """The answer that says how likely the last of TOKEN_IDS is after the others."""
    *prefix, token = TOKEN_IDS
    body = {"prompt": prefix, "max_tokens": 1, "logprobs": 0, "allowed_token_ids": [token]}
    reply: dict[str, Any] = (await engine.complete(model=model, **body)).json()
    return reply


def logprob(reply: dict[str, Any]) -> float:
    """The log-probability of the token that `scored` asked for."""
    value: float = reply["choices"][0]["logprobs"]["token_logprobs"][0]
    return value


async def test_an_adapter_that_was_evicted_is_read_again(engine: EngineUnderTest) -> None:
    name = await engine.loaded(modules=("q_proj",))
    others = [await engine.loaded(seed=i, modules=("q_proj",)) for i in range(engine.max_cpu_loras)]
    answer = await engine.complete(model=name, max_tokens=1)
    assert (answer.status_code, answer.json()["model"]) == (200, name)
    for other in [name, *others]:
        await engine.unload(other)


async def test_a_stream_survives_the_unloading_of_its_adapter(engine: EngineUnderTest) -> None:
    name = await engine.loaded()
    body = {"model": name, "prompt": PROMPT, "max_tokens": 4, "ignore_eos": True, "return_token_ids": True}
    seen = []
    async for event in events(engine, "/v1/completions", body):
        seen.append(json.loads(event))
        if len(seen) == 1:
            assert (await engine.unload(name)).status_code == 200
    assert {event["model"] for event in seen} == {name}
    assert tokens_in(seen) == 4


async def test_a_client_that_leaves_frees_its_place(engine: EngineUnderTest) -> None:
    body = {"model": engine.base, "prompt": PROMPT, "max_tokens": engine.max_model_len // 2, "ignore_eos": True}
    stream = events(engine, "/v1/completions", body)
    await anext(stream)
    assert await engine.metric("vllm:num_requests_running") >= 1
    await stream.aclose()  # type: ignore[attr-defined]
    for _ in range(POLLS):
        if await engine.metric("vllm:num_requests_running") == 0:
            return
        await asyncio.sleep(POLL_S)
    raise AssertionError("the request still runs 10 s after its client left")
