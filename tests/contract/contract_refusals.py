"""Contract cases about everything but answers: health, cards, loads and unloads, refusals, metrics."""

from __future__ import annotations

from pathlib import Path

from loadtest.folders import write_adapter
from tests.contract.contract_engine import MESSAGES, PROMPT, EngineUnderTest, error


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
    for name in ("prompt_tokens_cached_total", "generation_tokens_total", "iteration_tokens_total_count"):
        assert await engine.metric(f"vllm:{name}") >= 0, "weights are fitted from these"
    text = (await engine.http.get("/metrics")).text
    assert f'model_name="{engine.base}"' in text
    assert "vllm:time_to_first_token_seconds_bucket{" in text
    assert 'vllm:request_success_total{engine="0",finished_reason="length"' in text


TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


async def test_an_engine_without_a_parser_refuses_tools_before_it_works_on_them(engine: EngineUnderTest) -> None:
    """The gateway asks so what an engine can do: with a parser the answer of no tokens would be what is refused."""
    for choice in ("auto", "required", {"type": "function", "function": {"name": "f"}}):
        body = {"model": engine.base, "messages": MESSAGES, "tools": [TOOL], "tool_choice": choice, "max_tokens": 0}
        answer = await engine.http.post("/v1/chat/completions", json=body)
        assert error(answer) == (400, "BadRequestError", None)
        assert "--tool-call-parser" in answer.json()["error"]["message"]


async def test_an_engine_without_a_parser_for_thoughts_refuses_a_budget_of_them_before_it_works(
    engine: EngineUnderTest,
) -> None:
    """So the gateway asks whether it has one: with one, the prompt would be what is refused."""
    nobodys = [2**31 - 1]
    answer = await engine.complete(prompt=nobodys, thinking_token_budget=1)
    assert error(answer) == (400, "BadRequestError", None)
    assert "--reasoning-parser" in answer.json()["error"]["message"]
    answer = await engine.complete(prompt=nobodys)
    assert error(answer) == (400, "BadRequestError", None)
    assert "out of vocabulary" in answer.json()["error"]["message"]


async def test_an_answer_of_no_tokens_is_refused_when_nothing_else_is_wrong(engine: EngineUnderTest) -> None:
    body = {"model": engine.base, "messages": MESSAGES, "tools": [TOOL], "tool_choice": "none"}
    answer = await engine.http.post("/v1/chat/completions", json={**body, "max_tokens": 0})
    assert error(answer) == (400, "BadRequestError", "max_tokens")
    assert (await engine.http.post("/v1/chat/completions", json={**body, "max_tokens": 1})).status_code == 200


async def test_several_answers_at_temperature_0_are_refused(engine: EngineUnderTest) -> None:
    answer = await engine.complete(n=2, temperature=0)
    assert error(answer)[:2] == (400, "BadRequestError")
    assert "n must be 1 when using greedy sampling" in answer.json()["error"]["message"]
