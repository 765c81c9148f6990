"""Contract cases about what the fleet builds on: signs of progress, and names and copies of adapters."""

from __future__ import annotations

import json
from pathlib import Path

from tests.contract.contract_answers import logprob, scored
from tests.contract.contract_engine import PROMPT, EngineUnderTest, events, move_outside, tokens_in

STEPS = "vllm:iteration_tokens_total_count"


async def test_steps_are_counted_when_tokens_are_generated(engine: EngineUnderTest) -> None:
    """The gateway takes a standing count, with requests in flight, for a hung engine: /health does not show one."""
    before = await engine.metric(STEPS)
    await engine.complete(max_tokens=3, ignore_eos=True)
    assert await engine.metric(STEPS) > before


async def test_steps_are_counted_while_an_answer_is_still_being_made(engine: EngineUnderTest) -> None:
    body = {"model": engine.base, "prompt": PROMPT, "max_tokens": engine.max_model_len // 2, "ignore_eos": True}
    stream = events(engine, "/v1/completions", body)
    await anext(stream)
    before = await engine.metric(STEPS)
    for _ in range(8):
        await anext(stream)
    assert await engine.metric(STEPS) > before
    await stream.aclose()  # type: ignore[attr-defined]


async def test_a_version_loaded_again_under_a_new_name_leaves_its_running_stream_unharmed(
    engine: EngineUnderTest,
) -> None:
    """Under the old name it would kill the engine once a later load takes the slot of one of the two."""
    old, new = engine.new_name(), engine.new_name()
    folder = engine.adapter()
    assert (await engine.load(old, folder)).status_code == 200
    body = {"model": old, "prompt": PROMPT, "max_tokens": 4, "ignore_eos": True, "return_token_ids": True}
    seen = []
    async for event in events(engine, "/v1/completions", body):
        seen.append(json.loads(event))
        if len(seen) == 1:
            assert (await engine.unload(old)).status_code == 200
            assert (await engine.load(new, folder)).status_code == 200
            assert (await engine.complete(model=new, max_tokens=1)).json()["model"] == new
    assert {event["model"] for event in seen} == {old}
    assert tokens_in(seen) == 4
    assert (await engine.http.get("/health")).status_code == 200
    await engine.unload(new)


async def test_one_folder_under_two_names_answers_alike(engine: EngineUnderTest) -> None:
    folder = engine.adapter(seed=3, scale=0.5)
    names = [engine.new_name(), engine.new_name()]
    for name in names:
        assert (await engine.load(name, folder)).status_code == 200
    one, other = [logprob(await scored(engine, name)) for name in names]
    assert abs(one - other) < 0.001
    for name in names:
        await engine.unload(name)


async def test_an_adapter_whose_layers_lie_outside_the_model_loads_and_changes_nothing(engine: EngineUnderTest) -> None:
    path = engine.adapter(seed=4, scale=0.5)
    move_outside(Path(path), engine.base_config["num_hidden_layers"])
    name = engine.new_name()
    assert (await engine.load(name, path)).status_code == 200
    assert abs(logprob(await scored(engine, name)) - logprob(await scored(engine, engine.base))) < 0.01
    await engine.unload(name)


async def test_a_copy_of_a_request_runs_beside_it_on_another_adapter_under_its_id_with_a_tail(
    engine: EngineUnderTest,
) -> None:
    """As the gateway lets a candidate answer copies; the same id twice at a time would be refused or mixed up."""
    candidate = engine.new_name()
    assert (await engine.load(candidate, engine.adapter(seed=5))).status_code == 200
    body = {"model": engine.base, "prompt": PROMPT, "max_tokens": 6, "ignore_eos": True, "temperature": 0}
    streamed, named = {**body, "stream": True}, {"X-Request-Id": "asked-1"}
    async with engine.http.stream("POST", "/v1/completions", json=streamed, headers=named) as own:
        lines = own.aiter_lines()
        await anext(lines)
        copy = await engine.http.post(
            "/v1/completions", json={**body, "model": candidate}, headers={"X-Request-Id": "asked-1-s"}
        )
        assert (copy.status_code, copy.json()["model"], copy.json()["usage"]["completion_tokens"]) == (
            200,
            candidate,
            6,
        )
        assert [line async for line in lines if line][-1] == "data: [DONE]"
    await engine.unload(candidate)
