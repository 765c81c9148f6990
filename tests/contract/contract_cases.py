"""What Switchyard relies on in an engine, as tests over a fixture `engine`.

`test_engine_contract.py` beside this file collects them on the mock engine; tests/live collects the same functions
on a real vLLM. On that one an answer takes a second, so the cases ask for few tokens and few answers.
"""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from loadtest.folders import write_adapter

PROMPT = "The capital of France is"
TOKEN_IDS = [504, 3575, 282, 4649, 314]
MESSAGES = [{"role": "user", "content": "Say hello."}]
POLLS, POLL_S = 100, 0.1


@dataclass(frozen=True, slots=True)
class EngineUnderTest:
    """An engine, and where to write adapters for it."""

    http: httpx.AsyncClient
    base: str
    """Served name of the base model."""
    max_lora_rank: int
    max_cpu_loras: int
    max_model_len: int
    base_config: Mapping[str, Any]
    folder: Path
    """Empty, this test's own."""

    def new_name(self) -> str:
        """A name that no test has used: names are never loaded twice."""
        return f"a-{uuid.uuid4().hex[:16]}-1"

    def adapter(self, name: str = "adapter", **options: Any) -> str:
        """The path of a new adapter folder; `options` are write_adapter's."""
        return str(write_adapter(self.folder / name, self.base_config, **options))

    async def load(self, name: str, path: str) -> httpx.Response:
        return await self.http.post("/v1/load_lora_adapter", json={"lora_name": name, "lora_path": path})

    async def unload(self, name: str) -> httpx.Response:
        return await self.http.post("/v1/unload_lora_adapter", json={"lora_name": name})

    async def loaded(self, **options: Any) -> str:
        """The name of a new, loaded adapter."""
        name = self.new_name()
        answer = await self.load(name, self.adapter(name, **options))
        assert answer.status_code == 200, answer.text
        return name

    async def complete(self, **body: Any) -> httpx.Response:
        whole = {"model": self.base, "prompt": PROMPT, "max_tokens": 2, "temperature": 0, **body}
        return await self.http.post("/v1/completions", json=whole)

    async def cards(self) -> dict[str, dict[str, Any]]:
        return {card["id"]: card for card in (await self.http.get("/v1/models")).json()["data"]}

    async def metric(self, name: str) -> float:
        text = (await self.http.get("/metrics")).text
        found = re.search(rf"^{re.escape(name)}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE)
        assert found, f"{name} is not in /metrics"
        return float(found[1])


async def events(engine: EngineUnderTest, path: str, body: dict[str, Any]) -> AsyncIterator[str]:
    """The data of each event of a stream; ends at [DONE], which must come."""
    async with engine.http.stream("POST", path, json={"stream": True, "temperature": 0, **body}) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        async for line in answer.aiter_lines():
            if line.startswith("data: "):
                if line == "data: [DONE]":
                    return
                yield line.removeprefix("data: ")
    raise AssertionError("the stream ended without [DONE]")


def error(answer: httpx.Response) -> tuple[int, str, str | None]:
    """Status, type and param of an error, after checking its shape."""
    body = answer.json()["error"]
    assert set(body) == {"message", "type", "param", "code"}
    assert body["code"] == answer.status_code
    return answer.status_code, body["type"], body["param"]


async def test_health_is_an_empty_200(engine: EngineUnderTest) -> None:
    answer = await engine.http.get("/health")
    assert (answer.status_code, answer.content) == (200, b"")
    assert (await engine.http.get("/ping")).status_code == 200


async def test_version_is_one_that_the_gateway_knows(engine: EngineUnderTest) -> None:
    assert (await engine.http.get("/version")).json() == {"version": "0.32.0"}


async def test_the_base_card_has_no_parent_and_tells_the_context_length(engine: EngineUnderTest) -> None:
    card = (await engine.cards())[engine.base]
    assert set(card) == {"id", "object", "created", "owned_by", "root", "parent", "max_model_len", "permission"}
    assert (card["object"], card["owned_by"], card["parent"]) == ("model", "vllm", None)
    assert card["max_model_len"] == engine.max_model_len
    assert card["root"]


async def test_a_load_answers_plain_text_without_content_type_and_lists_the_path_as_root(
    engine: EngineUnderTest,
) -> None:
    name, path = engine.new_name(), engine.adapter()
    answer = await engine.load(name, path)
    assert answer.status_code == 200
    assert answer.text == f"Success: LoRA adapter '{name}' added successfully."
    assert "content-type" not in answer.headers
    card = (await engine.cards())[name]
    assert (card["root"], card["parent"], card["max_model_len"]) == (path, engine.base, None)


async def test_an_unload_removes_the_card_and_its_name_becomes_unknown(engine: EngineUnderTest) -> None:
    name = await engine.loaded()
    answer = await engine.unload(name)
    assert (answer.status_code, answer.text) == (200, f"Success: LoRA adapter '{name}' removed successfully.")
    assert "content-type" not in answer.headers
    assert name not in await engine.cards()
    assert error(await engine.complete(model=name)) == (404, "NotFoundError", "model")


async def test_loading_a_loaded_name_again_is_refused(engine: EngineUnderTest) -> None:
    name = await engine.loaded()
    answer = await engine.load(name, engine.adapter("other"))
    assert error(answer) == (400, "InvalidUserInput", None)
    assert "has already been loaded" in answer.text


async def test_the_base_models_name_cannot_be_loaded(engine: EngineUnderTest) -> None:
    answer = await engine.load(engine.base, engine.adapter())
    assert error(answer) == (400, "InvalidUserInput", None)
    assert "conflicts with a served base model" in answer.text


async def test_an_empty_name_is_refused(engine: EngineUnderTest) -> None:
    assert error(await engine.load("", engine.adapter())) == (400, "InvalidUserInput", None)


async def test_a_missing_field_is_a_400_that_names_it(engine: EngineUnderTest) -> None:
    answer = await engine.http.post("/v1/load_lora_adapter", json={"lora_name": "x"})
    assert error(answer) == (400, "Bad Request", "body.lora_path")


async def test_a_body_that_is_not_json_is_a_400(engine: EngineUnderTest) -> None:
    headers = {"content-type": "application/json"}
    answer = await engine.http.post("/v1/load_lora_adapter", content=b"{", headers=headers)
    assert error(answer)[:2] == (400, "Bad Request")


async def test_another_content_type_is_a_400(engine: EngineUnderTest) -> None:
    headers = {"content-type": "text/plain"}
    answer = await engine.http.post("/v1/completions", content=b'{"prompt":"x"}', headers=headers)
    assert error(answer) == (400, "Bad Request", None)


async def test_a_folder_that_is_not_there_is_a_404(engine: EngineUnderTest) -> None:
    answer = await engine.load(name := engine.new_name(), str(engine.folder / "nothing"))
    assert error(answer) == (404, "NotFoundError", None)
    assert f"Loading lora {name} failed: No adapter found for" in answer.text


async def test_a_rank_over_the_engines_limit_is_a_500(engine: EngineUnderTest) -> None:
    rank = 2 * engine.max_lora_rank
    answer = await engine.load(engine.new_name(), engine.adapter(rank=rank, modules=("q_proj",)))
    assert error(answer) == (500, "InternalServerError", None)
    assert f"LoRA rank {rank} is greater than max_lora_rank {engine.max_lora_rank}." in answer.text


async def test_a_module_that_the_base_lacks_is_a_500(engine: EngineUnderTest) -> None:
    answer = await engine.load(engine.new_name(), engine.adapter(renamed={"q_proj": "z_proj"}))
    assert error(answer) == (500, "InternalServerError", None)
    assert "target modules in" in answer.text


async def test_a_folder_without_weights_is_a_500(engine: EngineUnderTest) -> None:
    path = engine.adapter()
    (Path(path) / "adapter_model.safetensors").unlink()
    answer = await engine.load(engine.new_name(), path)
    assert error(answer) == (500, "InternalServerError", None)
    assert "doesn't contain tensors" in answer.text


async def test_tensors_larger_than_the_bases_are_a_500(engine: EngineUnderTest) -> None:
    larger = {**engine.base_config, "hidden_size": 2 * engine.base_config["hidden_size"], "num_hidden_layers": 1}
    path = str(write_adapter(engine.folder / "larger", larger))
    answer = await engine.load(engine.new_name(), path)
    assert error(answer) == (500, "InternalServerError", None)
    assert "must match the size of tensor" in answer.text


async def test_dora_is_a_500(engine: EngineUnderTest) -> None:
    answer = await engine.load(engine.new_name(), engine.adapter(config={"use_dora": True}))
    assert error(answer) == (500, "InternalServerError", None)
    assert "does not yet support DoRA" in answer.text


async def test_a_failed_load_leaves_no_card_and_a_healthy_engine(engine: EngineUnderTest) -> None:
    name = engine.new_name()
    await engine.load(name, engine.adapter(config={"use_dora": True}))
    assert name not in await engine.cards()
    assert (await engine.http.get("/health")).status_code == 200


async def test_unloading_an_unknown_name_is_a_404(engine: EngineUnderTest) -> None:
    answer = await engine.unload("zz")
    assert error(answer) == (404, "NotFoundError", None)
    assert "The lora adapter 'zz' cannot be found." in answer.text


async def test_an_unknown_model_is_a_404_that_lists_only_the_base(engine: EngineUnderTest) -> None:
    await engine.loaded()
    answer = await engine.complete(model="nobody")
    assert error(answer) == (404, "NotFoundError", "model")
    message = answer.json()["error"]["message"]
    assert message == f"The model `nobody` does not exist. Valid aliases: {engine.base}."


async def test_an_unknown_route_is_told_apart_from_an_unknown_model(engine: EngineUnderTest) -> None:
    answer = await engine.http.post("/v1/embeddings", json={"model": engine.base, "input": "x"})
    assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"})


async def test_a_completion_has_all_of_vllms_fields_and_our_request_id(engine: EngineUnderTest) -> None:
    request_id = uuid.uuid4().hex
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


async def test_a_completion_stream_ends_with_usage_when_asked(engine: EngineUnderTest) -> None:
    body = {"model": engine.base, "prompt": PROMPT, "max_tokens": 3, "ignore_eos": True}
    body["stream_options"] = {"include_usage": True}
    *tokens, last = [json.loads(event) async for event in events(engine, "/v1/completions", body)]
    assert len(tokens) == 3
    assert set(tokens[0]) == {"id", "object", "created", "model", "choices"}
    assert set(tokens[0]["choices"][0]) == {
        "index", "text", "logprobs", "finish_reason", "stop_reason", "prompt_token_ids", "token_ids"
    }  # fmt: skip
    assert [event["choices"][0]["finish_reason"] for event in tokens] == [None, None, "length"]
    assert set(last) == {"id", "object", "created", "model", "choices", "usage", "system_fingerprint"}
    assert last["choices"] == []
    assert set(last["usage"]) == {"prompt_tokens", "total_tokens", "completion_tokens", "prompt_tokens_details"}
    assert last["usage"]["completion_tokens"] == 3
    assert set(last["usage"]["prompt_tokens_details"]) == {"cached_tokens"}


async def test_a_chat_stream_opens_with_the_role_and_has_no_usage_unless_asked(engine: EngineUnderTest) -> None:
    body = {"model": engine.base, "messages": MESSAGES, "max_tokens": 3, "ignore_eos": True}
    first, *tokens = [json.loads(event) async for event in events(engine, "/v1/chat/completions", body)]
    assert set(first) == {"id", "object", "created", "model", "choices", "prompt_token_ids", "prompt_text"}
    assert first["object"] == "chat.completion.chunk"
    assert first["choices"] == [
        {"index": 0, "delta": {"role": "assistant", "content": ""}, "logprobs": None, "finish_reason": None}
    ]
    assert set(tokens[0]) == {"id", "object", "created", "model", "choices"}
    assert set(tokens[0]["choices"][0]) == {"index", "delta", "logprobs", "finish_reason", "token_ids"}
    assert set(tokens[0]["choices"][0]["delta"]) == {"content"}
    assert set(tokens[-1]) == {"id", "object", "created", "model", "choices", "system_fingerprint"}
    assert set(tokens[-1]["choices"][0]) == {"index", "delta", "logprobs", "finish_reason", "stop_reason", "token_ids"}
    assert tokens[-1]["choices"][0]["finish_reason"] == "length"


async def test_continuous_usage_counts_up_on_every_event(engine: EngineUnderTest) -> None:
    body = {"model": engine.base, "messages": MESSAGES, "max_tokens": 2, "ignore_eos": True}
    body["stream_options"] = {"include_usage": True, "continuous_usage_stats": True}
    seen = [json.loads(event)["usage"] async for event in events(engine, "/v1/chat/completions", body)]
    assert [usage["completion_tokens"] for usage in seen] == [0, 1, 2, 2]
    assert seen[0] == {**seen[0], "total_tokens": seen[0]["prompt_tokens"], "completion_tokens_details": None}


async def test_n_gives_as_many_choices_and_counts_all_their_tokens(engine: EngineUnderTest) -> None:
    reply = (await engine.complete(n=2, temperature=1, ignore_eos=True)).json()
    assert [choice["index"] for choice in reply["choices"]] == [0, 1]
    assert reply["usage"]["completion_tokens"] == 4


async def test_an_adapter_answers_under_its_own_name_with_its_own_numbers(engine: EngineUnderTest) -> None:
    name = await engine.loaded(seed=1, scale=0.5)
    body = {"prompt": TOKEN_IDS, "max_tokens": 1, "prompt_logprobs": 0}
    with_adapter = (await engine.complete(model=name, **body)).json()
    without = (await engine.complete(**body)).json()
    assert with_adapter["model"] == name
    entries = with_adapter["choices"][0]["prompt_logprobs"]
    assert entries[0] is None
    assert [str(token) in entry for token, entry in zip(TOKEN_IDS[1:], entries[1:], strict=True)] == [True] * 4
    assert set(entries[1][str(TOKEN_IDS[1])]) == {"logprob", "rank", "decoded_token"}
    assert farthest(entries, without["choices"][0]["prompt_logprobs"]) > 0.1


async def test_an_adapter_with_zero_b_answers_as_the_base(engine: EngineUnderTest) -> None:
    name = await engine.loaded(scale=0.0)
    body = {"prompt": TOKEN_IDS, "max_tokens": 1, "prompt_logprobs": 0}
    with_adapter = (await engine.complete(model=name, **body)).json()["choices"][0]
    without = (await engine.complete(**body)).json()["choices"][0]
    assert farthest(with_adapter["prompt_logprobs"], without["prompt_logprobs"]) < 0.01
    assert with_adapter["text"] == without["text"]


def farthest(one: list[Any], other: list[Any]) -> float:
    """The largest difference between two answers' log-probabilities of TOKEN_IDS."""
    keys = [str(token) for token in TOKEN_IDS]
    gaps = [float(one[i][keys[i]]["logprob"]) - float(other[i][keys[i]]["logprob"]) for i in range(1, len(keys))]
    return max(map(abs, gaps))


async def test_an_adapter_that_was_evicted_is_read_again(engine: EngineUnderTest) -> None:
    name = await engine.loaded(modules=("q_proj",))
    others = [await engine.loaded(seed=i, modules=("q_proj",)) for i in range(engine.max_cpu_loras)]
    answer = await engine.complete(model=name, max_tokens=1)
    assert (answer.status_code, answer.json()["model"]) == (200, name)
    for other in [name, *others]:
        await engine.unload(other)


async def test_a_stream_survives_the_unloading_of_its_adapter(engine: EngineUnderTest) -> None:
    name = await engine.loaded()
    body = {"model": name, "prompt": PROMPT, "max_tokens": 4, "ignore_eos": True}
    seen = []
    async for event in events(engine, "/v1/completions", body):
        seen.append(json.loads(event))
        if len(seen) == 1:
            assert (await engine.unload(name)).status_code == 200
    assert [event["model"] for event in seen] == [name] * 4


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


async def test_tokenize_counts_tokens_under_an_adapters_name_too(engine: EngineUnderTest) -> None:
    name = await engine.loaded()
    reply = (await engine.http.post("/tokenize", json={"model": name, "prompt": PROMPT})).json()
    assert set(reply) == {"count", "max_model_len", "tokens", "token_strs"}
    assert reply["count"] == len(reply["tokens"]) == 5
    assert reply["max_model_len"] == engine.max_model_len


async def test_more_tokens_than_the_context_holds_is_a_400(engine: EngineUnderTest) -> None:
    too_many = await engine.complete(max_tokens=engine.max_model_len + 1)
    assert error(too_many) == (400, "BadRequestError", "max_tokens")
    too_long = await engine.complete(prompt=[7] * (engine.max_model_len + 1))
    assert error(too_long) == (400, "BadRequestError", "input_tokens")


async def test_a_chat_without_messages_is_a_400_that_names_them(engine: EngineUnderTest) -> None:
    answer = await engine.http.post("/v1/chat/completions", json={"model": engine.base})
    assert error(answer) == (400, "Bad Request", "body.messages")


async def test_stream_options_without_a_stream_are_a_400(engine: EngineUnderTest) -> None:
    answer = await engine.complete(stream_options={"include_usage": True})
    assert error(answer) == (400, "BadRequestError", "stream_options")


async def test_no_room_for_an_answer_is_a_400(engine: EngineUnderTest) -> None:
    for answer in (await engine.complete(max_tokens=0), await engine.complete(prompt=[7] * engine.max_model_len)):
        assert error(answer) == (400, "BadRequestError", "max_tokens")


async def test_a_token_outside_the_vocabulary_is_a_400(engine: EngineUnderTest) -> None:
    answer = await engine.complete(prompt=[99_999_999])
    assert error(answer) == (400, "BadRequestError", None)
    assert "Token id 99999999 is out of vocabulary" in answer.text


async def test_an_empty_prompt_is_a_400(engine: EngineUnderTest) -> None:
    answer = await engine.complete(prompt="")
    assert error(answer) == (400, "BadRequestError", "prompt")


async def test_metrics_carry_the_names_that_the_gateway_reads(engine: EngineUnderTest) -> None:
    assert await engine.metric("process_start_time_seconds") > 1e9
    for name in ("num_requests_running", "num_requests_waiting", "kv_cache_usage_perc", "prompt_tokens_total"):
        assert await engine.metric(f"vllm:{name}") >= 0
    text = (await engine.http.get("/metrics")).text
    assert f'model_name="{engine.base}"' in text
    assert "vllm:time_to_first_token_seconds_bucket{" in text
    assert 'vllm:request_success_total{engine="0",finished_reason="length"' in text
