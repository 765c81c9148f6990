"""What requests and answers hold of memory: counted, bounded by tenant and in all, and given back."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import orjson
import pytest

from gateway.api.dialects import DIALECTS
from gateway.api.fields.caps import Caps
from gateway.bytes_in_flight import UNCOUNTED, BytesInFlight
from gateway.door_settings import MEBIBYTE
from gateway.errors import Overloaded, RateLimited
from gateway.sealed_body import SealedBody, SealedItems
from tests.support.stack import CHAT, Stack, open_house, run_stack
from tests.support.waiting import wait_until

BUDGET = 16 * MEBIBYTE
BODY_BYTES = 1_500_000


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A gateway that holds 16 MiB and answers of 1 MiB, and two engines that take any prompt."""
    engines = [{"max_model_len": 4_000_000, "tool_call_parser": "hermes"}] * 2
    settings = {"max_bytes_in_flight": BUDGET, "max_answer_bytes": MEBIBYTE}
    with open_house(tmp_path_factory.mktemp("narrow")) as house:
        for name in ("acme", "bolt"):
            house.tenant(name)
            house.publish(f"{name}/triage")
            house.point(f"{name}/triage", "1.0")
        with run_stack(house, engines=engines, **settings) as stack:
            stack.wait_resident("acme/triage@1.0", "bolt/triage@1.0")
            yield stack


def taken(stack: Stack) -> int:
    assert stack.gateway.house is not None
    return stack.gateway.house.admission.bytes.taken


def held_as_bytes(stack: Stack, body_bytes: int) -> bool:
    """Whether what is held is some bodies, but for their short fields."""
    held = taken(stack)
    return held > 0 and abs(held - round(held / body_bytes) * body_bytes) < 1_000


def long_chat() -> bytes:
    return json.dumps(
        {
            "model": "triage",
            "messages": [{"role": "user", "content": "a " * (BODY_BYTES // 2)}],
            "max_tokens": 1,
        }
    ).encode()


def test_a_tenant_alone_gets_half_and_there_is_some_left_for_whoever_comes_next() -> None:
    budget = BytesInFlight(100_000, 80_000)
    first = budget.held_for("a")
    first.asked(50_000)
    with pytest.raises(RateLimited, match="budget of bytes in flight") as caught:
        first.asked(50_001)
    assert caught.value.code == "bytes_in_flight"
    budget.held_for("b").asked(50_000)
    with pytest.raises(Overloaded, match="budget of bytes in flight"):
        budget.held_for("c").asked(UNCOUNTED + 1)
    budget.held_for("c").asked(UNCOUNTED)


def test_what_is_given_back_is_forgotten_whatever_happens() -> None:
    budget = BytesInFlight(100_000, 80_000)
    with budget.held_for("a") as held:
        held.asked(30_000)
        held.answered(20_000)
        with pytest.raises(RateLimited):
            held.answered(90_000)
        assert budget.taken == 50_000
    assert (budget.taken, budget.by_tenant) == (0, {})


@pytest.mark.parametrize("endpoint", ["chat", "completions", "rerank", "embeddings"])
def test_a_sealed_body_is_written_for_engines_as_the_body_itself(endpoint: str) -> None:
    text = 'long "text" \\ é ' * 200
    bodies: dict[str, dict[str, Any]] = {
        "chat": {"messages": [{"role": "user", "content": text}], "temperature": 0.5, "n": 2, "stream": True},
        "completions": {"prompt": [[1, 2, 3] * 400, [4]], "max_tokens": 3},
        "rerank": {"query": "q", "documents": [text, text], "return_documents": False},
        "embeddings": {"input": [text], "encoding_format": "float"},
    }
    dialect = DIALECTS[endpoint]
    raw = orjson.dumps({"model": "m", **bodies[endpoint]})
    body = dialect.parse(raw, caps=Caps(), allow_unknown=False).body
    sealed = SealedBody.of(body)
    assert sealed.held_bytes() > 2_000
    assert dict(sealed) == body
    written = b"".join(sealed.pieces(dialect.engine_body(sealed.short, "a-1", "acme")))
    assert orjson.loads(written) == dialect.engine_body(body, "a-1", "acme")
    field = dialect.prompt_field(body)
    assert sealed.written(field) == orjson.dumps(body[field])
    assert field not in sealed.without({field})
    changed = sealed.with_fields({field: [], "seed": 1})
    assert dict(changed) == {**body, field: [], "seed": 1}
    assert dict(SealedBody.of(changed.with_fields({field: body[field]}))) == {**body, "seed": 1}
    assert "model" not in sealed
    assert sealed.get("nothing") is None


def test_sealed_items_are_read_as_the_items() -> None:
    items = [{"type": "message", "role": "user", "content": "x"}, {"type": "reasoning", "id": "r"}]
    sealed = SealedItems(items)
    assert [*sealed] == items == [sealed[0], sealed[1]]
    assert (len(sealed), sealed.held_bytes()) == (2, len(orjson.dumps(items)))


def test_bodies_that_wait_for_an_engine_are_bounded_and_the_rest_hears_of_the_budget(narrow: Stack) -> None:
    body, asked = long_chat(), 12
    narrow.faults(hang=True)
    try:
        with ThreadPoolExecutor(asked) as pool:
            asking = [
                pool.submit(httpx.post, narrow.url + CHAT, content=body, headers=key(narrow, "acme"), timeout=60)
                for _ in range(asked)
            ]
            wait_until("all that are too many to be refused", lambda: sum(one.done() for one in asking) >= 7)
            wait_until("each of the others to be held once, as bytes", lambda: held_as_bytes(narrow, len(body)))
            assert BODY_BYTES < taken(narrow) <= BUDGET // 2
            narrow.faults(hang=False)
            answers = [one.result() for one in asking]
    finally:
        narrow.heal()
    errors = [one.json()["error"] for one in answers if one.status_code == 429]
    assert len(errors) >= 6
    assert {error["code"] for error in errors} == {"bytes_in_flight"}
    assert {one.status_code for one in answers} == {200, 429}
    assert taken(narrow) == 0


def test_another_tenant_is_served_while_one_has_used_its_part(narrow: Stack) -> None:
    assert narrow.gateway.house is not None
    budget = narrow.gateway.house.admission.bytes
    with budget.held_for("acme") as held:
        held.asked(BUDGET // 2)
        assert narrow.post(CHAT, long_chat()).status_code == 429
        assert narrow.post(CHAT, long_chat(), "bolt").status_code == 200
        assert narrow.chat("triage").status_code == 200, "short ones are not counted"
    assert narrow.post(CHAT, long_chat()).status_code == 200


def test_a_long_body_is_asked_of_a_second_engine_as_it_was_of_the_first(narrow: Stack) -> None:
    secret, asked = narrow.house.key("acme", "inference", "base"), narrow.asked()
    narrow.wait_revision()
    body = long_chat().replace(b'"triage"', b'"tiny"')
    try:
        for engine in narrow.engines:  # one of them is asked first
            narrow.http.post(f"{engine.url}/mock/faults", json={"fail_next": [503]}).raise_for_status()
            assert narrow.post(CHAT, body, secret).json()["usage"]["prompt_tokens"] > BODY_BYTES // 8
            narrow.http.post(f"{engine.url}/mock/faults", json={"fail_next": []}).raise_for_status()
        assert narrow.asked() > asked + 2
    finally:
        narrow.heal()


@pytest.mark.parametrize("more", [{"seed": 7}, {"tools": [{"type": "function", "function": {"name": "f"}}]}])
def test_an_answer_in_one_piece_that_is_too_long_is_refused_with_a_remedy_and_paid(
    narrow: Stack, more: dict[str, Any]
) -> None:
    asked = {"max_tokens": 3_000, "min_tokens": 3_000, "logprobs": True, "top_logprobs": 20, **more}
    answer = narrow.chat("triage", **asked)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "answer_too_long")
    assert "'stream': true" in error["message"]
    assert answer.headers["x-should-retry"] == "false"
    assert narrow.house.usage_of(answer.headers["x-request-id"])[0]["outcome"] == "client_aborted"
    assert taken(narrow) == 0
    with narrow.http.stream(
        "POST",
        narrow.url + CHAT,
        json={"model": "triage", "messages": [{"role": "user", "content": "x"}], "stream": True, **asked},
        headers=key(narrow, "acme"),
    ) as streamed:
        assert sum(map(len, streamed.iter_raw())) > MEBIBYTE


def test_what_is_refused_leaves_nothing_behind_for_the_garbage_collector(narrow: Stack) -> None:
    assert narrow.gateway.house is not None
    ids = [*range(100_000, 200_000), 123_457_689]
    body = orjson.dumps({"model": "triage", "prompt": [ids], "max_tokens": 1})
    del ids
    gc.collect()
    gc.disable()
    try:
        with narrow.gateway.house.admission.bytes.held_for("acme") as held:
            held.asked(BUDGET // 2 - len(body) // 2)
            assert narrow.post("/v1/completions", body).json()["error"]["code"] == "bytes_in_flight"
        bad = orjson.loads(body) | {"temperature": "hot"}
        assert narrow.post("/v1/completions", orjson.dumps(bad)).status_code == 400
        del bad
        wait_until(
            "the ids to be let go",
            lambda: not [one for one in gc.get_objects() if type(one) is list and one and _is_last_id(one[-1])],
        )
    finally:
        gc.enable()


def _is_last_id(value: object) -> bool:
    return type(value) is int and value == 123_457_689


def key(stack: Stack, tenant: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {stack.house.keys[tenant]}"}
