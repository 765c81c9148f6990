"""/v1/embeddings, /v1/score and /v1/rerank: as other inference for key, model, limits and books."""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx
import openai
import pytest
from anthropic import Anthropic
from openai import OpenAI

from registry.names import parse_ref
from tests.support.stack import (
    BASE,
    CHAT,
    MESSAGES,
    TEXT,
    House,
    Stack,
    open_house,
    proof,
    run_engines,
    run_gateway,
    run_stack,
)
from tests.support.waiting import wait_until

EMBEDDINGS, SCORE, RERANK = "/v1/embeddings", "/v1/score", "/v1/rerank"
POOLING = {"runner": "pooling"}
BODIES: dict[str, dict[str, Any]] = {
    EMBEDDINGS: {"input": "three little words"},
    SCORE: {"queries": "one two", "documents": ["one two", "three"]},
    RERANK: {"query": "one two", "documents": ["three", "one two"]},
}
READ = {EMBEDDINGS: 3, SCORE: 5, RERANK: 5}


def fill(house: House) -> None:
    house.tenant("acme")
    house.tenant("globex")
    house.keys["acme+base"] = house.key("acme", "inference", "base")
    for _ in range(2):
        house.publish("acme/triage", proof())
    house.publish("globex/sentiment")
    house.point("acme/triage", "1.0")
    house.point("globex/sentiment", "1.0")
    house.registry.model_names.map("acme", "text-embedding-3-small", "acme/triage")


@pytest.fixture(scope="module")
def pooling(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One engine that pools."""
    with open_house(tmp_path_factory.mktemp("pooling")) as house:
        fill(house)
        with run_stack(house, engines=[POOLING], answer_timeout_s=5.0) as stack:
            yield stack


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Of one base two engines that generate and two that pool."""
    with open_house(tmp_path_factory.mktemp("mixed")) as house:
        fill(house)
        with run_stack(house, engines=[{}, POOLING, {}, POOLING]) as stack:
            yield stack


def ask(stack: Stack, path: str, key: str = "acme", **fields: Any) -> Any:
    return stack.post(path, {"model": "triage", **BODIES[path], **fields}, key)


def engines_of(stack: Stack, answer: Any) -> list[str]:
    return [row["engine"] for row in stack.house.usage_of(answer.headers["x-request-id"])]


# Answers


def test_the_sdk_gets_the_numbers_that_it_asks_for_in_base64_and_as_floats(pooling: Stack) -> None:
    with OpenAI(base_url=f"{pooling.url}/v1", api_key=pooling.house.keys["acme"], max_retries=0) as client:
        coded = client.embeddings.create(model="text-embedding-3-small", input=["a b", "c"], user="u")
        floats = client.embeddings.create(model="triage", input=["a b", "c"], encoding_format="float")
    assert coded.model == floats.model == "acme/triage@1.0"
    assert (coded.usage.prompt_tokens, coded.usage.total_tokens) == (3, 3)
    assert [one.index for one in coded.data] == [0, 1]
    for one, other in zip(coded.data, floats.data, strict=True):
        assert len(one.embedding) == 32
        assert one.embedding == pytest.approx(other.embedding)


def test_base64_is_little_endian_floats(pooling: Stack) -> None:
    (floats,) = [one["embedding"] for one in ask(pooling, EMBEDDINGS).json()["data"]]
    (coded,) = [one["embedding"] for one in ask(pooling, EMBEDDINGS, encoding_format="base64").json()["data"]]
    assert struct.unpack("<32f", base64.b64decode(coded)) == pytest.approx(floats)


@pytest.mark.parametrize("given", ["a b", ["a b"], [1, 2], [[1, 2]], ["a", "b"], [[1], [2]]], ids=str)
def test_texts_and_token_ids_are_taken_in_all_four_forms(pooling: Stack, given: Any) -> None:
    reply = ask(pooling, EMBEDDINGS, input=given).json()
    assert reply["usage"] == {"prompt_tokens": 2, "total_tokens": 2}
    assert len(reply["data"]) == (2 if given in (["a", "b"], [[1], [2]]) else 1)


@pytest.mark.parametrize(
    "fields", [{"text_1": "a", "text_2": ["a", "b"]}, {"data_1": "a", "data_2": ["a", "b"]},
               {"queries": "a", "items": ["a", "b"]}, {"queries": ["a", "a"], "documents": ["a", "b"]}],
)  # fmt: skip
def test_scores_are_asked_for_by_all_names_of_both_sides(pooling: Stack, fields: dict[str, Any]) -> None:
    reply = pooling.post(SCORE, {"model": "triage", **fields}).json()
    assert [one["score"] for one in reply["data"]] == [pytest.approx(1), pytest.approx(reply["data"][1]["score"])]
    assert reply["model"] == "acme/triage@1.0"


@pytest.mark.parametrize("path", [RERANK, "/rerank", "/v2/rerank"])
def test_documents_are_ranked_under_each_address_with_their_texts_or_without(pooling: Stack, path: str) -> None:
    body = {"model": "triage", "query": "one two", "documents": ["three", {"text": "one two"}]}
    reply = pooling.post(path, body).json()
    assert reply["usage"] == {"prompt_tokens": 5, "total_tokens": 5}
    assert [one["document"] for one in reply["results"]] == [{"text": "one two"}, {"text": "three"}]
    bare = pooling.post(path, {**body, "return_documents": False, "top_n": 1}).json()
    assert bare["results"] == [{"index": 1, "relevance_score": pytest.approx(1)}]


def test_a_document_that_looks_like_an_answer_changes_nothing(pooling: Stack) -> None:
    trick = '","usage":{"prompt_tokens":9000,"total_tokens":9000},"model":"x","multi_modal":null'
    answer = ask(pooling, RERANK, documents=[trick, "b"], query=trick)
    assert answer.json()["results"][0]["document"] == {"text": trick}
    (row,) = pooling.house.usage_of(answer.headers["x-request-id"])
    assert row["prompt_tokens"] == answer.json()["usage"]["prompt_tokens"] < 10


# Bodies


@pytest.mark.parametrize(
    ("path", "fields", "param", "code"),
    [
        (EMBEDDINGS, {"input": None}, "input", "missing_required_parameter"),
        (EMBEDDINGS, {"input": ""}, "input", "invalid_value"),
        (EMBEDDINGS, {"input": ["a", ""]}, "input[1]", "invalid_value"),
        (EMBEDDINGS, {"input": [1, -1]}, "input[1]", "invalid_value"),
        (EMBEDDINGS, {"input": {"text": "a"}}, "input", "invalid_type"),
        (EMBEDDINGS, {"input": ["a"] * 2_049}, "input", "invalid_value"),
        (EMBEDDINGS, {"input": ["a" * 4_000] * 301}, "input", "invalid_value"),
        (EMBEDDINGS, {"encoding_format": "bytes"}, "encoding_format", "invalid_value"),
        (EMBEDDINGS, {"dimensions": 0}, "dimensions", "invalid_value"),
        (EMBEDDINGS, {"dimensions": 8}, "dimensions", "engine_refused"),
        (EMBEDDINGS, {"cache_salt": "x"}, "cache_salt", "reserved_parameter"),
        (EMBEDDINGS, {"stream": True}, "stream", "unknown_parameter"),
        (SCORE, {"documents": None}, "documents", "missing_required_parameter"),
        (SCORE, {"queries": ["a", "b", "c"]}, "queries", "invalid_value"),
        (SCORE, {"queries": "a" * 4_000, "documents": ["b"] * 301}, "documents", "invalid_value"),
        (SCORE, {"documents": [{"content": []}]}, "documents[0]", "invalid_type"),
        (RERANK, {"documents": None}, "documents", "missing_required_parameter"),
        (RERANK, {"query": None}, "query", "missing_required_parameter"),
        (RERANK, {"documents": []}, "documents", "invalid_value"),
        (RERANK, {"documents": [{"title": "a"}]}, "documents[0]", "invalid_type"),
        (RERANK, {"top_n": -1}, "top_n", "invalid_value"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_bad_body_is_refused_by_the_name_of_the_field(
    pooling: Stack, path: str, fields: dict[str, Any], param: str, code: str
) -> None:
    answer = ask(pooling, path, **fields)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (400, param, code), error["message"]
    assert error["type"] == "invalid_request_error"
    assert "base" not in error["message"].split()


def test_an_input_that_does_not_fit_the_context_is_said_as_openai_says_it(pooling: Stack) -> None:
    answer = ask(pooling, EMBEDDINGS, input=[7] * 1_025)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (400, "input", "context_length_exceeded")


# Keys, models, books


@pytest.mark.parametrize("path", BODIES)
def test_who_may_not_use_a_model_gets_nothing_of_it(pooling: Stack, path: str) -> None:
    assert ask(pooling, path, "globex", model="acme/triage").status_code == 404
    assert ask(pooling, path, model=BASE).status_code == 403
    assert ask(pooling, path, "acme+base", model=BASE).json()["model"] == BASE
    assert ask(pooling, path, "sk-unknown").status_code == 401


def test_versions_tenants_and_the_base_have_numbers_of_their_own(pooling: Stack) -> None:
    found = []
    for key, model in (
        ("acme", "triage@1.0"), ("acme", "triage@1.1"), ("globex", "sentiment"), ("acme+base", BASE),
    ):  # fmt: skip
        answer = ask(pooling, EMBEDDINGS, key, model=model)
        assert answer.status_code == 200, answer.text
        found.append(tuple(answer.json()["data"][0]["embedding"]))
    assert len(set(found)) == 4


@pytest.mark.parametrize("path", BODIES)
def test_a_request_is_on_record_with_its_prompt_and_no_token_written(pooling: Stack, path: str) -> None:
    answer = ask(pooling, path)
    (row,) = pooling.house.usage_of(answer.headers["x-request-id"])
    assert (row["endpoint"], row["outcome"], row["usage_source"]) == (path.rpartition("/")[2], "ok", "engine")
    assert (row["prompt_tokens"], row["completion_tokens"]) == (READ[path], 0)
    assert row["served_model"] == answer.headers["x-switchyard-model"] == "acme/triage@1.0"


def test_a_prompt_that_is_read_twice_is_held_twice_and_a_budget_is_never_overshot(house: House) -> None:
    """A cross-encoder reads the query with each document, so bytes alone would be too few."""
    fill_one(house)
    house.registry.limits.set("tenant:acme", {"daily_tokens": 3_000})
    query = "x" * 400
    with run_stack(house, engines=[POOLING]) as stack:
        assert ask(stack, RERANK, query=query, documents=["a"]).status_code == 200
        refused = ask(stack, RERANK, query=query, documents=["a"] * 8)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "insufficient_quota")
        assert ask(stack, EMBEDDINGS, input="a" * 2_000).status_code == 200
        refused = ask(stack, EMBEDDINGS, input=["a " * 1_000] * 4)
        assert refused.json()["error"]["code"] == "insufficient_quota"


def test_requests_and_tokens_of_a_minute_are_counted(house: House) -> None:
    fill_one(house)
    house.registry.limits.set("tenant:acme", {"requests_per_minute": 2})
    with run_stack(house, engines=[POOLING]) as stack:
        assert [ask(stack, EMBEDDINGS).status_code for _ in range(3)] == [200, 200, 429]


def test_its_cost_is_of_the_prompt_and_is_shown_to_who_asks(house: House) -> None:
    fill_one(house)
    house.registry.tariffs.add(f"base:{BASE}", input_dollars="2", output_dollars="8", source="a test")
    with run_stack(house, engines=[POOLING]) as stack:
        for path in BODIES:
            answer = ask(stack, path, usage={"include": True})
            (row,) = stack.house.usage_of(answer.headers["x-request-id"])
            assert row["cost_nano"] == READ[path] * 2_000
            assert answer.json()["usage"]["cost"] == pytest.approx(READ[path] * 2e-6)


def fill_one(house: House) -> None:
    house.publish("acme/triage")
    house.point("acme/triage", "1.0")


def test_a_split_keeps_a_unit_on_its_arm(house: House) -> None:
    for _ in range(2):
        house.publish("acme/triage")
    house.point("acme/triage", "1.0")
    with run_stack(house, engines=[POOLING]) as stack:
        house.split("acme/triage", {"1.0": 5_000, "1.1": 5_000})
        stack.wait_revision()
        for path in BODIES:
            arms = {}
            for unit in map(str, range(12)):
                asked = {"model": "triage", **BODIES[path]}
                answers = [stack.post(path, asked, headers={"X-Switchyard-Unit": unit}) for _ in range(2)]
                arms[unit] = {answer.headers["x-switchyard-arm"] for answer in answers}
                assert {answer.json()["model"] for answer in answers} == {f"acme/triage@{one}" for one in arms[unit]}
            assert {len(found) for found in arms.values()} == {1}
            assert set.union(*arms.values()) == {"1.0", "1.1"}
        (row, *_) = stack.house.usage_of(answers[-1].headers["x-request-id"])
        assert (row["arm"], row["unit_source"]) == (*arms["11"], "header")


def test_many_vectors_come_whole_and_are_counted(pooling: Stack) -> None:
    reply = ask(pooling, EMBEDDINGS, input=[[7, number] for number in range(2_048)], encoding_format="base64").json()
    assert [one["index"] for one in reply["data"]] == list(range(2_048))
    assert reply["usage"] == {"prompt_tokens": 4_096, "total_tokens": 4_096}


# Engines


def test_each_request_goes_to_an_engine_that_has_its_endpoint(mixed: Stack) -> None:
    generating, embedding = (
        {engine.url for engine in mixed.engines if engine.options.runner == runner}
        for runner in ("generate", "pooling")
    )
    for number in range(4):
        for path, of in ((EMBEDDINGS, embedding), (RERANK, embedding), (CHAT, generating)):
            body = BODIES.get(path, {"messages": MESSAGES, "max_tokens": 1})
            answer = mixed.post(path, {"model": f"triage@1.{number % 2}", **body})
            assert answer.status_code == 200, answer.text
            assert set(engines_of(mixed, answer)) <= of


def test_a_swap_brings_a_version_to_engines_of_both_kinds_before_traffic_moves(mixed: Stack) -> None:
    assert mixed.house.promote("acme/triage", "1.1").state == "done"
    wanted = mixed.house.registry.adapters.get(parse_ref("acme/triage@1.1")).id
    by_runner = {engine.url: engine.options.runner for engine in mixed.engines}
    holding = {by_runner[one.url] for one in mixed.worker.view().engines if wanted in one.resident}
    assert holding == {"generate", "pooling"}
    mixed.house.promote("acme/triage", "1.0")


@pytest.mark.parametrize(
    ("runner", "path", "has"),
    [("pooling", CHAT, EMBEDDINGS), ("pooling", TEXT, RERANK), ("generate", EMBEDDINGS, CHAT)],
)
def test_an_endpoint_that_no_engine_of_the_model_has_is_a_404_that_names_kind_and_endpoint(
    stack: Stack, pooling: Stack, runner: str, path: str, has: str
) -> None:
    served = pooling if runner == "pooling" else stack
    before = served.asked()
    bodies = {**BODIES, CHAT: {"messages": MESSAGES}, TEXT: {"prompt": "x"}}
    answer = served.post(path, {"model": "triage", **bodies[path]})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["type"]) == (404, "endpoint_not_served", "invalid_request_error")
    assert f"not served at {path}: its engines (vllm) lack that" in error["message"]
    assert has in error["message"].partition("They have")[2]
    assert served.asked() == before


def test_the_sdk_raises_its_own_not_found_for_it(stack: Stack) -> None:
    client = OpenAI(base_url=f"{stack.url}/v1", api_key=stack.house.keys["acme"], max_retries=0)
    with client, pytest.raises(openai.NotFoundError):
        client.embeddings.create(model="triage", input="x")


def test_a_cold_adapter_is_loaded_and_another_engine_is_asked_when_one_fails(house: House) -> None:
    fill_one(house)
    house.publish("acme/triage")
    with run_engines(house, POOLING, POOLING) as mocks, run_gateway(house, mocks) as stack:
        assert ask(stack, EMBEDDINGS, model="triage@1.1").json()["model"] == "acme/triage@1.1"
        (home,) = engines_of(stack, ask(stack, EMBEDDINGS, model="triage@1.1"))
        stack.http.post(f"{home}/mock/faults", json={"fail_next": [503]}).raise_for_status()
        rows = stack.house.usage_of(ask(stack, EMBEDDINGS, model="triage@1.1").headers["x-request-id"])
        assert [row["outcome"] for row in rows][-1] == "ok"
        assert len({row["engine"] for row in rows}) == len(rows) == 2


def test_an_engine_that_pools_comes_back_from_a_restart_with_what_it_held(house: House) -> None:
    fill_one(house)
    with run_stack(house, engines=[POOLING]) as stack:
        assert ask(stack, EMBEDDINGS).status_code == 200
        stack.restart_engine()
        assert wait_until("an answer", lambda: ask(stack, EMBEDDINGS).status_code == 200)


def test_a_client_that_hangs_up_stops_the_engine_and_pays_for_what_it_may_have_read(pooling: Stack) -> None:
    pooling.faults(ttft_ms=5_000.0)
    before = pooling.state()["aborted"]
    body = {"model": "triage", **BODIES[EMBEDDINGS]}
    headers = {"x-api-key": pooling.house.keys["acme"], "x-request-id": "gone"}
    try:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{pooling.url}{EMBEDDINGS}", json=body, headers=headers, timeout=httpx.Timeout(5, read=0.3))
        wait_until("the engine to hear of it", lambda: pooling.state()["aborted"] == before + 1)
    finally:
        pooling.heal()
    (row,) = wait_until("its row", lambda: pooling.house.usage(outcome="client_aborted"))
    assert (row["endpoint"], row["usage_source"], row["completion_tokens"]) == ("embeddings", "estimated", None)
    assert 0 < row["prompt_tokens"] <= 10


def test_an_adapter_that_the_engine_has_lost_is_loaded_again_for_who_asks(pooling: Stack) -> None:
    assert ask(pooling, EMBEDDINGS).status_code == 200
    version = pooling.house.registry.adapters.get(parse_ref("acme/triage@1.0")).id
    (engine,) = pooling.worker.view().engines
    pooling.faults(forget_adapter=engine.resident[version])
    answer = ask(pooling, EMBEDDINGS)
    assert (answer.status_code, answer.json()["model"]) == (200, "acme/triage@1.0")


def test_what_an_engine_lacks_is_said_in_the_form_of_the_client_that_asks(pooling: Stack) -> None:
    client = Anthropic(base_url=pooling.url, api_key=pooling.house.keys["acme"], max_retries=0)
    with client, pytest.raises(anthropic.NotFoundError, match="not served at /v1/messages") as caught:
        client.messages.create(model="triage", max_tokens=1, messages=MESSAGES)
    assert caught.value.body["error"]["type"] == "not_found_error"  # type: ignore[index]


def test_a_fault_on_an_engine_that_pools_takes_no_version_away(house: House) -> None:
    fill_one(house)
    with run_stack(house, engines=[{}, POOLING]) as stack:
        stack.http.post(f"{stack.engines[1].url}/mock/faults", json={"fail_loads": 500}).raise_for_status()
        house.publish("acme/triage")
        assert stack.house.promote("acme/triage", "1.1").state == "done"
        assert stack.chat("triage").json()["model"] == "acme/triage@1.1"
        assert ask(stack, EMBEDDINGS).status_code == 503
        stack.http.post(f"{stack.engines[1].url}/mock/faults", json={"fail_loads": 0}).raise_for_status()


def test_a_base_that_only_pools_cannot_be_fine_tuned(pooling: Stack) -> None:
    for model in ("tiny", "triage"):
        answer = pooling.post("/v1/fine_tuning/jobs", {"model": model, "training_file": "file-x"})
        error = answer.json()["error"]
        assert (answer.status_code, error["param"], error["code"]) == (400, "model", "model_not_available")
