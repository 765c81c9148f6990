"""Contract cases of an engine that pools: vectors and scores instead of tokens.

`test_pooling_contract.py` beside this file collects them on the mock engine, `tests/live/test_live_pooling.py` on a
real vLLM.
"""

from __future__ import annotations

import base64
import struct
from typing import Any

import httpx
import pytest

from tests.contract.contract_engine import MESSAGES, PROMPT, EngineUnderTest, error


async def embed(engine: EngineUnderTest, **body: Any) -> httpx.Response:
    return await engine.http.post("/v1/embeddings", json={"model": engine.base, "input": PROMPT, **body})


def vectors(answer: httpx.Response) -> list[list[float]]:
    assert answer.status_code == 200, answer.text
    return [one["embedding"] for one in answer.json()["data"]]


def near(one: list[float], other: list[float]) -> bool:
    return all(abs(a - b) < 1e-3 for a, b in zip(one, other, strict=True))


async def test_it_has_the_routes_of_its_kind_and_no_others(engine: EngineUnderTest) -> None:
    """By GET, which none of them takes: so the gateway finds out."""
    found = {}
    for path in (
        "/v1/chat/completions", "/v1/completions", "/tokenize", "/detokenize", "/v1/embeddings", "/score", "/rerank",
    ):  # fmt: skip
        found[path] = (await engine.http.get(path)).status_code
    assert found == {
        "/v1/chat/completions": 404,
        "/v1/completions": 404,
        "/tokenize": 405,
        "/detokenize": 405,
        "/v1/embeddings": 405,
        "/score": 405,
        "/rerank": 405,
    }
    answer = await engine.http.post("/v1/chat/completions", json={"model": engine.base, "messages": MESSAGES})
    assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"})


async def test_an_answer_has_a_vector_for_each_text_and_counts_the_prompt_alone(engine: EngineUnderTest) -> None:
    answer = await embed(engine, input=["Hello", "Hello", "world"], cache_salt="acme", user="u")
    reply = answer.json()
    assert list(reply) == ["id", "object", "created", "model", "data", "usage"], "the count stands at the end"
    assert (reply["object"], reply["model"]) == ("list", engine.base)
    assert [(one["index"], one["object"]) for one in reply["data"]] == [(n, "embedding") for n in range(3)]
    assert reply["usage"] == {
        "prompt_tokens": 3,
        "total_tokens": 3,
        "completion_tokens": 0,
        "prompt_tokens_details": None,
        "completion_tokens_details": None,
    }
    one, again, other = vectors(answer)
    assert near(one, again)
    assert not near(one, other)


async def test_the_answers_id_is_made_of_the_requests(engine: EngineUnderTest) -> None:
    answer = await engine.http.post(
        "/v1/embeddings", json={"model": engine.base, "input": "x"}, headers={"X-Request-Id": "r-7"}
    )
    assert answer.json()["id"] == "embd-r-7"
    assert answer.headers["x-request-id"] == "r-7"


async def test_base64_is_the_same_numbers(engine: EngineUnderTest) -> None:
    (floats,) = vectors(await embed(engine))
    coded: Any
    (coded,) = vectors(await embed(engine, encoding_format="base64"))
    raw = base64.b64decode(coded)
    assert near(list(struct.unpack(f"<{len(raw) // 4}f", raw)), floats)


async def test_token_ids_are_taken_alone_and_in_lists(engine: EngineUnderTest) -> None:
    answer = await embed(engine, input=[5, 6, 7])
    (one,) = vectors(answer)
    assert answer.json()["usage"]["prompt_tokens"] == 3
    same, other = vectors(await embed(engine, input=[[5, 6, 7], [8]]))
    assert near(one, same)
    assert not near(one, other)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"input": ""}, "cannot be empty"),
        ({"input": []}, "at least one prompt"),
        ({"input": ["x", ""]}, "cannot be empty"),
        ({"input": [99_999_999]}, "Token id 99999999 is out of vocabulary"),
        ({"dimensions": 7}, "does not support Matryoshka embeddings"),
    ],
    ids=str,
)
async def test_what_it_cannot_embed_is_a_400(engine: EngineUnderTest, fields: dict[str, Any], said: str) -> None:
    answer = await embed(engine, **fields)
    assert error(answer) == (400, "BadRequestError", None)
    assert said in answer.json()["error"]["message"]


async def test_a_text_that_is_too_long_is_a_400_unless_it_may_be_cut(engine: EngineUnderTest) -> None:
    long = [7] * (engine.max_model_len + 1)
    answer = await embed(engine, input=long)
    assert error(answer) == (400, "BadRequestError", "input_tokens")
    assert "maximum context length" in answer.json()["error"]["message"]
    cut = await embed(engine, input=long, truncate_prompt_tokens=5)
    assert (cut.status_code, cut.json()["usage"]["prompt_tokens"]) == (200, 5)


async def test_an_unknown_model_is_a_404_that_names_no_parameter(engine: EngineUnderTest) -> None:
    answer = await embed(engine, model="nobody")
    assert error(answer) == (404, "NotFoundError", None)
    assert answer.json()["error"]["message"] == "The model `nobody` does not exist."


async def test_an_adapter_is_loaded_and_signs_vectors_that_are_not_the_bases(engine: EngineUnderTest) -> None:
    name = await engine.loaded(seed=5, scale=0.5)
    assert name in await engine.cards()
    answer = await embed(engine, model=name)
    assert answer.json()["model"] == name
    assert not near(vectors(answer)[0], vectors(await embed(engine))[0])
    assert (await engine.unload(name)).status_code == 200
    assert (await embed(engine, model=name)).status_code == 404


async def test_a_score_is_one_with_each_of_many_or_pairs(engine: EngineUnderTest) -> None:
    asked = {"model": engine.base, "queries": "Hello", "documents": ["world", "Hello"]}
    reply = (await engine.http.post("/score", json=asked)).json()
    assert list(reply) == ["id", "object", "created", "model", "data", "usage"]
    assert [(one["index"], one["object"]) for one in reply["data"]] == [(0, "score"), (1, "score")]
    other, itself = (one["score"] for one in reply["data"])
    assert itself == pytest.approx(1, abs=1e-4)
    assert other < itself - 1e-3
    assert reply["usage"]["prompt_tokens"] == 3
    pairs = {"model": engine.base, "text_1": ["Hello", "world"], "text_2": ["Hello", "Hello"]}
    reply = (await engine.http.post("/score", json=pairs)).json()
    assert [one["score"] for one in reply["data"]] == [pytest.approx(itself, abs=1e-4), pytest.approx(other, abs=1e-4)]
    uneven = await engine.http.post("/score", json={**asked, "queries": ["a", "b", "c"]})
    assert error(uneven) == (400, "BadRequestError", None)


async def test_rerank_puts_the_best_document_first_and_has_its_count_before_the_results(
    engine: EngineUnderTest,
) -> None:
    asked = {"model": engine.base, "query": "Hello", "documents": ["world", "Hello", "moon"]}
    reply = (await engine.http.post("/rerank", json=asked)).json()
    assert list(reply) == ["id", "model", "usage", "results"]
    assert reply["usage"] == {"prompt_tokens": 4, "total_tokens": 4}
    assert reply["results"][0]["index"] == 1
    assert reply["results"][0]["document"] == {"text": "Hello", "multi_modal": None}
    assert [one["relevance_score"] for one in reply["results"]] == sorted(
        (one["relevance_score"] for one in reply["results"]), reverse=True
    )
    first = (await engine.http.post("/rerank", json={**asked, "top_n": 1})).json()
    assert [one["index"] for one in first["results"]] == [1]


async def test_what_is_read_is_counted_and_nothing_is_generated(engine: EngineUnderTest) -> None:
    read, made = [await engine.metric(f"vllm:{name}_tokens_total") for name in ("prompt", "generation")]
    steps = await engine.metric("vllm:iteration_tokens_total_count")
    await embed(engine, input=[[5, 6, 7], [8]])
    assert await engine.metric("vllm:prompt_tokens_total") == read + 4
    assert await engine.metric("vllm:generation_tokens_total") == made == 0
    assert await engine.metric("vllm:iteration_tokens_total_count") > steps
    for name in ("num_requests_running", "num_requests_waiting", "kv_cache_usage_perc"):
        assert await engine.metric(f"vllm:{name}") >= 0


async def test_it_renders_conversations_as_other_engines_do(engine: EngineUnderTest) -> None:
    reply = (await engine.http.post("/tokenize", json={"model": engine.base, "messages": MESSAGES})).json()
    assert reply["count"] == len(reply["tokens"]) > 3


__all__ = [name for name in globals() if name.startswith("test_")]
