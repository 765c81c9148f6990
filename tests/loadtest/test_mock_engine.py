"""What the mock does beyond the engine contract: its own answers, its faults, its death."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from loadtest.folders import write_adapter
from loadtest.mock_engine.__main__ import parse_options
from loadtest.mock_engine.options import Faults, Options
from loadtest.ports import free_port
from loadtest.testing import MockEngine, run_mock_engine
from tests.loadtest.mock_http import complete, load, mock, stream_of, text


@pytest.fixture
async def pair() -> AsyncIterator[tuple[MockEngine, httpx.AsyncClient]]:
    async with mock(max_loras=2, max_cpu_loras=2) as pair:
        yield pair


@pytest.fixture
def engine(pair: tuple[MockEngine, httpx.AsyncClient]) -> MockEngine:
    return pair[0]


@pytest.fixture
def http(pair: tuple[MockEngine, httpx.AsyncClient]) -> httpx.AsyncClient:
    return pair[1]


async def test_answers_depend_on_the_weights_and_not_on_the_name(http: httpx.AsyncClient, tmp_path: Path) -> None:
    await load(http, "one", write_adapter(tmp_path / "one", seed=1))
    await load(http, "copy", write_adapter(tmp_path / "copy", seed=1))
    assert await text(http, "one") == await text(http, "copy") == await text(http, "one")
    await load(http, "other", write_adapter(tmp_path / "other", seed=2))
    assert len({await text(http, "one"), await text(http, "other"), await text(http, "base")}) == 3


async def test_noop_adapters_answer_as_the_base(engine: MockEngine, http: httpx.AsyncClient, tmp_path: Path) -> None:
    await load(http, "one", write_adapter(tmp_path / "one"))
    assert await text(http, "one") != await text(http, "base")
    await engine.faults(noop_adapters=True)
    assert await text(http, "one") == await text(http, "base")


async def test_completions_default_to_16_tokens_and_stop_when_the_answer_is_shorter() -> None:
    async with run_mock_engine(answer_tokens=20) as engine, httpx.AsyncClient(base_url=engine.url) as http:
        cut = (await complete(http)).json()
        whole = (await complete(http, max_tokens=30)).json()
        stretched = (await complete(http, max_tokens=30, ignore_eos=True)).json()
    assert [r["usage"]["completion_tokens"] for r in (cut, whole, stretched)] == [16, 20, 30]
    assert [r["choices"][0]["finish_reason"] for r in (cut, whole, stretched)] == ["length", "stop", "length"]


async def test_a_repeated_long_prompt_is_cached_per_model_and_salt(http: httpx.AsyncClient, tmp_path: Path) -> None:
    await load(http, "one", write_adapter(tmp_path / "one"))
    prompt = list(range(70))
    asked: list[dict[str, Any]] = [{}, {}, {"model": "one"}, {"model": "one"}, {"cache_salt": "s"}]
    answers = [(await complete(http, prompt=prompt, **body)).json() for body in asked]
    cached = [answer["usage"]["prompt_tokens_details"]["cached_tokens"] for answer in answers]
    assert cached == [0, 64, 0, 64, 0]


async def test_more_adapters_than_slots_wait_their_turn(
    engine: MockEngine, http: httpx.AsyncClient, tmp_path: Path
) -> None:
    for seed, name in enumerate(("one", "two", "three")):
        await load(http, name, write_adapter(tmp_path / name, seed=seed))
    await engine.faults(ttft_ms=50)
    answers = await asyncio.gather(*(complete(http, model=name) for name in ("one", "two", "three", "one")))
    assert [answer.status_code for answer in answers] == [200] * 4
    assert (await engine.state())["max_running"] == 3


async def test_the_fault_fail_next_hits_as_many_requests_as_it_lists(
    engine: MockEngine, http: httpx.AsyncClient
) -> None:
    await engine.faults(fail_next=[503, 500])
    assert [(await complete(http)).status_code for _ in range(3)] == [503, 500, 200]


async def test_the_fault_refuse_requests_hits_what_clients_send_and_no_probe(
    engine: MockEngine, http: httpx.AsyncClient
) -> None:
    headers = {"X-Request-Id": "r"}
    body = {"model": "base", "prompt": "my parcel", "max_tokens": 1}
    await engine.faults(refuse_requests=422, refuse_requests_with="parcel")
    statuses = [(await http.post("/v1/completions", json=body, headers=more)).status_code for more in (headers, {})]
    assert statuses == [422, 200]
    assert (await http.post("/v1/completions", json={**body, "prompt": "a"}, headers=headers)).status_code == 200


@pytest.mark.parametrize(("tokenizer", "tokens"), [("words", 1), ("composed bytes", 6 * 10)])
async def test_a_tokenizer_that_composes_makes_more_tokens_than_a_text_has_bytes(tokenizer: str, tokens: int) -> None:
    body = {"model": "base", "prompt": "\u0fb9" * 10, "max_tokens": 1}
    async with run_mock_engine(tokenizer=tokenizer) as engine, httpx.AsyncClient(base_url=engine.url) as http:
        answer = (await http.post("/v1/completions", json=body)).json()
        counted = (await http.post("/tokenize", json={"prompt": body["prompt"]})).json()
    assert (answer["usage"]["prompt_tokens"], counted["count"]) == (tokens, tokens)


async def test_an_engine_whose_base_has_no_chat_template_refuses_chats_alone() -> None:
    async with run_mock_engine(chat_template="none") as engine, httpx.AsyncClient(base_url=engine.url) as http:
        chat = {"model": "base", "messages": [{"role": "user", "content": "a"}], "max_tokens": 1}
        assert (await http.post("/v1/chat/completions", json=chat)).status_code == 400
        assert (await http.post("/tokenize", json=chat)).status_code == 400
        text = {"model": "base", "prompt": "a", "max_tokens": 1}
        assert (await http.post("/v1/completions", json=text)).status_code == 200


async def test_the_fault_fail_next_load_leaves_the_adapter_out(
    engine: MockEngine, http: httpx.AsyncClient, tmp_path: Path
) -> None:
    await engine.faults(fail_next_load=[500])
    body = {"lora_name": "one", "lora_path": str(write_adapter(tmp_path / "one"))}
    statuses = [(await http.post("/v1/load_lora_adapter", json=body)).status_code for _ in range(2)]
    assert statuses == [500, 200]


async def test_two_loads_of_one_name_at_once_end_in_one_success(
    engine: MockEngine, http: httpx.AsyncClient, tmp_path: Path
) -> None:
    await engine.faults(load_ms=30)
    body = {"lora_name": "one", "lora_path": str(write_adapter(tmp_path / "one"))}
    answers = await asyncio.gather(*(http.post("/v1/load_lora_adapter", json=body) for _ in range(2)))
    assert sorted(answer.status_code for answer in answers) == [200, 400]


@pytest.mark.parametrize("chunks", [0, 2])
async def test_the_fault_die_after_chunks_breaks_the_socket(
    engine: MockEngine, http: httpx.AsyncClient, chunks: int
) -> None:
    await engine.faults(die_after_chunks=chunks)
    seen: list[str] = []
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        await stream_of(http, into=seen)
    assert len(seen) == chunks
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        await complete(http)


async def test_the_fault_error_after_chunks_ends_a_stream_as_vllm_does(
    engine: MockEngine, http: httpx.AsyncClient
) -> None:
    await engine.faults(error_after_chunks=3)
    events = await stream_of(http)
    assert len(events) == 5
    assert events[3].startswith('{"error": {')
    assert events[4] == "[DONE]"
    assert (await complete(http)).status_code == 500
    state = await engine.state()
    assert (state["failed"], state["answered"]) == (2, {})


async def test_the_fault_garbage_is_not_http_or_not_json(engine: MockEngine, http: httpx.AsyncClient) -> None:
    await engine.faults(garbage="bytes")
    with pytest.raises(httpx.RemoteProtocolError):
        await complete(http)
    await engine.faults(garbage="json")
    answer = await complete(http)
    assert answer.status_code == 200
    with pytest.raises(ValueError, match="Unterminated string"):
        answer.json()


async def test_the_fault_reset_connections_spares_the_mocks_own_routes(
    engine: MockEngine, http: httpx.AsyncClient
) -> None:
    await engine.faults(reset_connections=True)
    with pytest.raises(httpx.HTTPError):
        await http.get("/health")
    await engine.faults(reset_connections=False)
    assert (await http.get("/health")).status_code == 200


async def test_latency_faults_slow_the_first_and_the_later_tokens(engine: MockEngine, http: httpx.AsyncClient) -> None:
    loop = asyncio.get_running_loop()
    await engine.faults(ttft_ms=60, token_ms=10)
    started = loop.time()
    await complete(http, max_tokens=5)
    assert loop.time() - started >= 0.1


async def test_an_adapter_can_be_forgotten_behind_ones_back(
    engine: MockEngine, http: httpx.AsyncClient, tmp_path: Path
) -> None:
    await load(http, "one", write_adapter(tmp_path / "one"))
    await engine.faults(forget_adapter="one")
    assert (await complete(http, model="one")).status_code == 404
    assert (await engine.state())["unknown_model"] == 1


async def test_an_unknown_fault_or_a_wrong_type_is_refused_by_name(http: httpx.AsyncClient) -> None:
    for patch, word in (({"ttft": 1}, "ttft"), ({"hang": "yes"}, "hang"), ({"fail_next": [200]}, "fail_next")):
        answer = await http.post("/mock/faults", json=patch)
        assert answer.status_code == 400
        assert word in answer.json()["error"]["message"]
    assert (await http.get("/mock/faults")).json() == {**Faults().as_dict(), "fail_next": [], "fail_next_load": []}


async def test_the_key_guards_v1_and_nothing_else() -> None:
    async with run_mock_engine(api_key="secret") as engine, httpx.AsyncClient(base_url=engine.url) as http:
        refused = await http.get("/v1/models")
        allowed = await http.get("/v1/models", headers={"Authorization": "Bearer secret"})
        open_door = await http.get("/metrics")
    assert (refused.status_code, refused.json()) == (401, {"error": "Unauthorized"})
    assert (allowed.status_code, open_door.status_code) == (200, 200)


async def test_without_runtime_lora_the_load_route_is_absent() -> None:
    async with run_mock_engine(runtime_lora=False) as engine, httpx.AsyncClient(base_url=engine.url) as http:
        answer = await http.post("/v1/load_lora_adapter", json={"lora_name": "a", "lora_path": "/b"})
    assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"})


def test_every_option_is_a_flag() -> None:
    given = parse_options(
        ["--port", "8100", "--served-model-name", "a", "b", "--ttft-ms", "5", "--api-key", "k", "--no-runtime-lora"]
    )
    assert given == Options(
        port=8100, served_model_name=("a", "b"), ttft_ms=5.0, api_key="k", runtime_lora=False
    )  # fmt: skip


@pytest.mark.starts_anew
async def test_the_command_serves_and_a_crash_ends_its_process() -> None:
    port = free_port()
    command = [sys.executable, "-m", "loadtest.mock_engine", "--port", str(port)]
    process = await asyncio.create_subprocess_exec(*command)
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
            for _ in range(1_200):
                try:
                    if (await http.get("/health")).status_code == 200:
                        break
                except httpx.ConnectError:
                    await asyncio.sleep(0.05)
            assert (await complete(http)).json()["model"] == "base"
            with pytest.raises(httpx.HTTPError):
                await http.post("/mock/faults", json={"crash": True})
        assert await asyncio.wait_for(process.wait(), 60) == 1
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_the_head_of_a_stream_comes_before_its_first_token(engine: MockEngine, http: httpx.AsyncClient) -> None:
    await engine.faults(hang=True)
    body = {"model": "base", "prompt": "x", "max_tokens": 2, "stream": True}
    async with http.stream("POST", "/v1/completions", json=body) as answer:
        assert answer.status_code == 200
        await engine.faults(hang=False)
        assert (await answer.aread()).endswith(b"data: [DONE]\n\n")


async def test_answers_that_are_given_up_end_as_vllms_do(engine: MockEngine, http: httpx.AsyncClient) -> None:
    await engine.faults(abort_after_tokens=2)
    whole = (await complete(http, max_tokens=5)).json()
    assert (whole["choices"][0]["finish_reason"], whole["usage"]["completion_tokens"]) == ("abort", 2)
    body = {"model": "base", "messages": [{"role": "user", "content": "x"}], "max_tokens": 5, "stream": True}
    streamed = (await http.post("/v1/chat/completions", json=body)).text
    assert streamed.count('"finish_reason":"abort"') == 1
    assert streamed.endswith("data: [DONE]\n\n")
