from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path

import pytest

from loadtest.scenario import Ask, Caller, Model, Outcome, Tenant, is_right, next_ask, read_tenants
from loadtest.testing import MockEngine, run_mock_engine

ACME = Tenant("k", (Model("base"),))


@pytest.mark.parametrize(
    ("asked", "answered", "tenant", "right"),
    [
        ("base", "base", None, True),
        ("support", "acme/support@1.0", "acme", True),
        ("support", "acme/support@1.0", "rival", False),
        ("acme/support", "acme/support@1.1", "acme", True),
        ("acme/support", "rival/support@1.1", None, False),
        ("acme/support", "acme/triage@1.1", "acme", False),
        ("acme/support@canary", "acme/support@2.0", "acme", True),
        ("acme/support@1.0", "acme/support@1.0", "acme", True),
        ("acme/support@1.0", "acme/support@1.1", "acme", False),
        ("acme/support", "base", None, False),
    ],
)
def test_an_answer_is_right_when_it_is_a_version_of_what_was_asked_in_this_tenant(
    asked: str, answered: str, tenant: str | None, right: bool
) -> None:
    assert is_right(Model(asked), answered, tenant) is right


def test_listed_answers_replace_the_rule() -> None:
    gpt = Model("gpt-4o", ("acme/support@1.0",))
    assert is_right(gpt, "acme/support@1.0", None)
    assert not is_right(gpt, "gpt-4o", None)


def test_the_scenario_mixes_all_four_kinds_and_repeats_under_one_seed() -> None:
    first, again = ([next_ask(ACME, draw) for _ in range(100)] for draw in (random.Random(3), random.Random(3)))
    assert first == again
    assert {ask.kind for ask in first} == {"chat", "chat stream", "text", "text stream"}
    assert all(ask.body["stream_options"] == {"include_usage": True} for ask in first if ask.stream)


def test_a_keys_file_may_name_models_as_texts_or_with_their_answers(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text(json.dumps([{"key": "k", "tenant": "t", "models": ["a", {"name": "b", "answers": ["c"]}]}]))
    assert read_tenants(path) == (Tenant("k", (Model("a"), Model("b", ("c",))), "t"),)


@pytest.mark.parametrize("content", ["[]", '[{"key": "k", "models": []}]', '[{"models": ["a"]}]'])
def test_a_keys_file_without_keys_or_models_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "keys.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"keys\.json"):
        read_tenants(path)


async def call(engine: MockEngine, tenant: Tenant, **body: object) -> Outcome:
    model = tenant.models[0]
    caller = Caller(engine.url, tenant, timeout_s=5)
    asked = Ask("/v1/completions", {"model": model.name, "prompt": "Hi", "max_tokens": 4, **body}, model)
    try:
        return await asyncio.to_thread(caller.call, asked)
    finally:
        caller.close()


STREAM = {"stream": True, "stream_options": {"include_usage": True}}


async def test_a_caller_measures_the_first_text_and_the_gaps_of_a_stream() -> None:
    async with run_mock_engine(ttft_ms=40, token_ms=10) as engine:
        whole, stream = await call(engine, ACME), await call(engine, ACME, **STREAM)
    assert whole.failure is None
    assert whole.ttft_ms is None
    assert stream.failure is None
    assert stream.ttft_ms is not None
    assert 40 <= stream.ttft_ms <= stream.total_ms
    assert len(stream.gaps_ms) == 3
    assert stream.total_ms >= 70


async def test_a_caller_fails_what_another_tenant_answered() -> None:
    names = ("rival/support@1.0", "support")
    async with run_mock_engine(served_model_name=names) as engine:
        outcomes = [await call(engine, Tenant("k", (Model("support"),), "acme"), **body) for body in ({}, STREAM)]
    for outcome in outcomes:
        assert outcome.failure == "asked for 'support' as tenant 'acme', answered by ['rival/support@1.0']"


async def test_a_caller_fails_broken_and_unusable_answers_and_goes_on() -> None:
    async with run_mock_engine() as engine:
        await engine.faults(error_after_chunks=1)
        assert (await call(engine, ACME, **STREAM)).failure == (
            "error event: {'message': 'Internal server error', 'type': 'InternalServerError', "
            "'param': None, 'code': 500}"
        )
        await engine.faults(error_after_chunks=None, die_after_chunks=1)
        assert (await call(engine, ACME, **STREAM)).failure == "the stream ended without [DONE]"
        await engine.faults(die_after_chunks=None, fail_next=[503])
        assert str((await call(engine, ACME)).failure).startswith("HTTP 503")
        assert (await call(engine, ACME, stream=True)).failure == "the stream has no usage"
        assert (await call(engine, ACME)).failure is None
