"""The main job on real parts: two tenants' trained adapters, called with the official SDK through the gateway."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import openai
import pytest

from gateway.engines.vllm import on_cpu
from gateway.samples import samples
from registry.names import parse_ref
from registry.service import Registry
from tests.live.installation import ROOT, Live
from tests.support.waiting import wait_until, wait_until_async

TICKET, REVIEW = (sample.request for sample in samples(ROOT / "examples"))
SWAP_REQUESTS, SWAP_CONCURRENCY = 60, 24


def heldout(task: str) -> list[dict[str, Any]]:
    text = (ROOT / "examples" / task / "heldout.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


async def triage(client: openai.AsyncOpenAI, model: str, **options: Any) -> Any:
    return await client.chat.completions.create(
        model=model, messages=TICKET["messages"], temperature=0, **{"max_tokens": 24, **options}
    )


async def test_a_tenants_adapter_answers_as_it_was_trained(live: Live) -> None:
    async with live.client("acme") as client:
        answer = await triage(client, "acme/triage")
    assert answer.model == "acme/triage@1.0"
    assert set(json.loads(answer.choices[0].message.content)) == {"team", "priority"}
    assert answer.usage.prompt_tokens > 0


async def test_the_other_tenants_adapter_answers_on_the_same_engine(live: Live) -> None:
    async with live.client("globex") as client:
        answer = await client.completions.create(
            model="sentiment", prompt=REVIEW["prompt"], max_tokens=6, temperature=0, stop=["\n"]
        )
    labels = {row["completion"].strip() for row in heldout("sentiment")}
    assert answer.choices[0].text.strip() in labels


async def test_a_tenant_cannot_reach_another_tenants_adapter(live: Live) -> None:
    async with live.client("globex") as client:
        with pytest.raises(openai.NotFoundError) as caught:
            await triage(client, "acme/triage")
    assert caught.value.code == "model_not_found"


async def test_a_stream_carries_the_public_name_and_no_usage_that_was_not_asked_for(live: Live) -> None:
    async with live.client("acme") as client:
        stream = await triage(client, "triage", stream=True)
        chunks = [chunk async for chunk in stream]
    assert {chunk.model for chunk in chunks} == {"acme/triage@1.0"}
    assert all(chunk.usage is None for chunk in chunks)
    assert json.loads("".join(chunk.choices[0].delta.content or "" for chunk in chunks))


async def test_mixed_batches_of_two_tenants_and_the_base_do_not_mix(live: Live) -> None:
    async with live.client("acme") as acme, live.client("globex") as globex:

        async def one(index: int) -> tuple[str, str]:
            if index % 3 == 0:
                return "triage", (await triage(acme, "triage")).choices[0].message.content
            if index % 3 == 1:
                answer = await globex.completions.create(
                    model="sentiment", prompt=REVIEW["prompt"], max_tokens=4, temperature=0
                )
                return "sentiment", answer.choices[0].text
            answer = await acme.completions.create(
                model=live.base_name, prompt="The capital of France is", max_tokens=4, temperature=0
            )
            return "base", answer.choices[0].text

        alone = dict([await one(index) for index in range(3)])
        together = await asyncio.gather(*(one(index) for index in range(12)))
    assert all(text == alone[name] for name, text in together), together


def test_the_engine_multiplies_by_adapters_where_they_are(live: Live) -> None:
    log = (live.state_dir / "engine.log").read_text()
    assert log.count(on_cpu.SAID) == 2, "said by the server's process and by the engine's own"


async def test_a_bad_request_that_only_the_engine_can_refuse_is_a_400_in_the_public_name(live: Live) -> None:
    async with live.client("acme") as client:
        with pytest.raises(openai.BadRequestError) as caught:
            await triage(client, "triage", max_tokens=100_000)
    assert "a-" not in caught.value.message.split()
    assert caught.value.param == "max_tokens"


async def test_an_evaluation_harness_scores_prompts_beside_other_requests(live: Live) -> None:
    ids = [[504, 3575, 282, 4649, 314], [504, 3575]]
    asked: dict[str, Any] = {"max_tokens": 1, "logprobs": 1, "echo": True, "temperature": 0, "seed": 1_234}
    async with live.client("acme") as client:
        scored, *_ = await asyncio.gather(
            client.completions.create(model="acme/triage", prompt=ids, **asked),
            *(triage(client, "acme/triage") for _ in range(4)),
        )
    for prompt, choice in zip(ids, scored.choices, strict=True):
        assert choice.logprobs is not None
        assert [value is None for value in choice.logprobs.token_logprobs or []] == [True, *[False] * len(prompt)]


async def test_tools_are_refused_in_our_words_by_an_engine_without_a_parser(live: Live) -> None:
    tool: Any = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    async with live.client("acme") as client:
        with pytest.raises(openai.BadRequestError) as refusal:
            await triage(client, "acme/triage", tools=[tool])
        answer = await triage(client, "acme/triage", tools=[tool], tool_choice="none")
    assert refusal.value.code == "unsupported_by_engine"
    assert answer.choices
    assert not answer.model_extra.keys() & {"kv_transfer_params", "ec_transfer_params", "metrics", "prompt_logprobs"}


@pytest.fixture(scope="module")
def trained_1_1(live: Live) -> str:
    """A second version, made by the real trainer from the smoke recipe while the gateway serves."""
    done = live.switchyard("train", "examples/triage/smoke.toml", "--base", str(live.base_folder), "--json")
    assert done.returncode == 0, done.stderr
    version: str = json.loads(done.stdout.splitlines()[-1])["version"]
    return version


async def test_a_new_version_is_swapped_in_under_traffic_and_no_request_fails(live: Live, trained_1_1: str) -> None:
    assert trained_1_1 == "acme/triage@1.1"
    seen: list[tuple[float, float, str]] = []
    places = asyncio.Semaphore(SWAP_CONCURRENCY)

    async with live.client("acme") as client:

        async def one(index: int) -> None:
            async with places:
                began = time.time()
                if index % 2:
                    answer = await triage(client, "acme/triage", max_tokens=4)
                    seen.append((began, time.time(), answer.model))
                else:
                    models = {
                        chunk.model async for chunk in await triage(client, "acme/triage", max_tokens=4, stream=True)
                    }
                    (model,) = models
                    seen.append((began, time.time(), model))

        traffic = [asyncio.create_task(one(index)) for index in range(SWAP_REQUESTS)]
        await wait_until_async("the first answers", lambda: len(seen) >= SWAP_REQUESTS // 6)
        promote_began = time.time()
        promoted = await asyncio.to_thread(live.switchyard, "adapters", "promote", trained_1_1, "--json")
        promote_ended = time.time()
        await asyncio.gather(*traffic)
        after = await triage(client, "acme/triage", max_tokens=4)

    assert promoted.returncode == 0, promoted.stderr
    assert json.loads(promoted.stdout)["state"] == "done"
    assert after.model == trained_1_1
    assert len(seen) == SWAP_REQUESTS
    for began, ended, model in seen:
        if ended < promote_began:
            assert model == "acme/triage@1.0"
        if began > promote_ended:
            assert model == trained_1_1
        assert model in ("acme/triage@1.0", trained_1_1)


def test_the_proof_was_replayed_in_full_before_the_swap(live: Live, trained_1_1: str) -> None:
    log = (live.state_dir / "gateway.log").read_text()
    loaded = [line for line in log.splitlines() if f"loaded {trained_1_1}" in line]
    assert loaded, log[-2000:]
    assert "effect" in loaded[0]


def test_the_engine_renders_conversations_as_the_registered_base_does(live: Live) -> None:
    (engine,) = json.loads(live.switchyard("engines", "list", "--url", live.url, "--json").stdout)
    assert engine["chat_template"] == "same"


def test_every_answer_is_a_usage_row(live: Live) -> None:
    with Registry.open(live.registry_settings()) as registry:

        def served() -> list[dict[str, Any]] | None:
            rows = registry.ledger.recent(500, tenant="acme")
            found = [row for row in rows if row["outcome"] == "ok" and row["endpoint"] == "chat"]
            return found if len(found) >= SWAP_REQUESTS else None

        assert all(row["completion_tokens"] for row in wait_until("usage of all answers", served))
        history = registry.adapters.history(parse_ref("acme/triage"))
    assert [move.to_version for move in history] == ["acme/triage@1.0", "acme/triage@1.1"]


def test_examples_are_what_the_readme_says_they_are() -> None:
    for task in ("triage", "sentiment"):
        assert len(heldout(task)) >= 200
        assert (ROOT / "examples" / task / "adapter" / "effect_proof.json").exists()
