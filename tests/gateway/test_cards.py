"""/v1/models: what a key can call, what is behind each name and can be asked of it, for clients of both vendors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import httpx
import pytest
from anthropic import Anthropic
from openai import OpenAI

from gateway.api.cards import Skills
from gateway.api.dialects import DIALECTS
from gateway.api.retirements import retires_at_vendor
from gateway.fleet.homes import Homes
from gateway.fleet.view import EngineView, FleetView
from gateway.handoffs import Ability
from tests.support.fleet_parts import engine_view
from tests.support.stack import BASE, Stack, open_house, run_stack
from tests.support.waiting import DEADLINE_S

ANTHROPIC = {"anthropic-version": "2023-06-01"}
GENERATING = {one.path for one in DIALECTS.values()} - {"/v1/embeddings", "/v1/score", "/v1/rerank"}
POOLING = {"/v1/embeddings", "/v1/score", "/v1/rerank", "/v1/tokenize", "/v1/detokenize"}
COUNTING = {one.path for one in DIALECTS.values() if one.asks == "tokenize"}
"""What every engine has that counts."""
OPENAIS = {"id", "object", "created", "owned_by"}


@pytest.fixture
def http(stack: Stack) -> Iterator[httpx.Client]:
    headers = {"x-api-key": stack.house.keys["acme+base"]}
    with httpx.Client(base_url=f"{stack.url}/v1", headers=headers, timeout=DEADLINE_S) as http:
        yield http


@pytest.fixture
def claude(stack: Stack) -> Iterator[Anthropic]:
    with Anthropic(base_url=stack.url, api_key=stack.house.keys["acme+base"], max_retries=0) as client:
        yield client


def card(http: httpx.Client, name: str) -> dict[str, Any]:
    found: dict[str, Any] = http.get(f"/models/{name}").raise_for_status().json()
    return found


def test_a_card_says_what_is_behind_a_name_and_what_can_be_asked_of_it(stack: Stack, http: httpx.Client) -> None:
    found = card(http, "acme/triage")
    created = found.pop("created")
    assert set(found.pop("endpoints")) == GENERATING
    assert created > 1_700_000_000
    assert found == {
        "id": "acme/triage",
        "object": "model",
        "owned_by": "acme",
        "root": "acme/triage@1.0",
        "base": BASE,
        "max_model_len": stack.engine.options.max_model_len,
        "features": ["streaming", "structured_outputs"],
    }
    base = card(http, BASE)
    assert (base["owned_by"], base["root"], base["base"]) == ("switchyard", None, BASE)


def test_a_name_of_the_tenants_own_says_what_it_stands_for_and_when_its_vendor_ends_it(http: httpx.Client) -> None:
    tuned, plain = card(http, "ft:gpt-4o-mini:acme::7"), card(http, "gpt-4o-mini")
    assert (tuned["maps_to"], tuned["root"], tuned["base"]) == ("acme/triage", "acme/triage@1.0", BASE)
    assert (plain["maps_to"], plain["root"], plain["owned_by"]) == (BASE, None, "acme")
    assert tuned["retires_at_vendor"] == plain["retires_at_vendor"] == "2027-01-14"
    assert "maps_to" not in card(http, "acme/triage")


@pytest.mark.parametrize(
    ("name", "day"),
    [
        ("gpt-4", "2026-10-23"), ("gpt-4-0613", "2026-10-23"), ("gpt-4-turbo-2024-04-09", "2026-10-23"),
        ("gpt-4o-mini-2024-07-18", "2027-01-14"), ("ft:gpt-4o-mini-2024-07-18:acme:support:8Xq", "2027-01-14"),
        ("ft:gpt-4.1-mini-2025-04-14:acme::1", "2027-01-14"), ("gpt-4o-audio-preview", None), ("gpt-5", None),
        ("ft:", None), ("triage", None), ("", None),
    ],
)  # fmt: skip
def test_retirements_are_known_of_families_snapshots_and_what_was_tuned_of_them(name: str, day: str | None) -> None:
    assert retires_at_vendor(name) == day


def test_every_card_of_the_list_is_the_one_that_is_got_by_its_name(http: httpx.Client) -> None:
    listed = http.get("/models").json()
    assert listed["object"] == "list"
    assert len(listed["data"]) > 5
    for found in listed["data"]:
        assert found.keys() >= OPENAIS
        assert card(http, found["id"]) == found


def test_the_openai_sdk_reads_cards(client: OpenAI) -> None:
    for found in [*client.models.list(), client.models.retrieve("triage"), client.models.retrieve("acme/triage@1.1")]:
        assert (found.object, found.owned_by) == ("model", "acme")
        assert found.model_extra is not None
        assert "/v1/chat/completions" in found.model_extra["endpoints"]


def test_the_anthropic_sdk_reads_all_cards_page_by_page(http: httpx.Client, claude: Anthropic) -> None:
    ids = [found["id"] for found in http.get("/models").json()["data"]]
    assert [found.id for found in claude.models.list(limit=2)] == ids
    first = claude.models.list(limit=2)
    assert (first.has_more, first.first_id, first.last_id) == (True, ids[0], ids[1])
    last = claude.models.list(limit=1_000, after_id=ids[1])
    assert (last.has_more, [found.id for found in last.data]) == (False, ids[2:])
    before = claude.models.list(limit=2, before_id=ids[3])
    assert (before.has_more, [found.id for found in before.data]) == (True, ids[1:3])
    assert not claude.models.list(limit=5, before_id=ids[3]).has_more


def test_a_card_in_anthropics_form_has_all_that_its_sdk_reads(stack: Stack, claude: Anthropic) -> None:
    found = claude.models.retrieve("acme/triage")
    assert (found.type, found.id, found.display_name, found.lifecycle) == (
        "model",
        "acme/triage",
        "acme/triage",
        "active",
    )
    assert found.created_at.year >= 2025
    assert found.max_input_tokens == stack.engine.options.max_model_len


def test_errors_are_in_the_form_of_the_client_that_asks(stack: Stack, http: httpx.Client, claude: Anthropic) -> None:
    with pytest.raises(anthropic.NotFoundError):
        claude.models.retrieve("globex/sentiment")
    with pytest.raises(anthropic.BadRequestError):
        claude.models.list(after_id="nobody")
    with pytest.raises(anthropic.BadRequestError):
        claude.models.list(limit=0)
    nobody = httpx.get(f"{stack.url}/v1/models", headers={"x-api-key": "sk-no", **ANTHROPIC})
    assert (nobody.status_code, nobody.json()["type"], nobody.json()["error"]["type"]) == (
        401,
        "error",
        "authentication_error",
    )
    assert http.get("/models/globex/sentiment").json()["error"]["code"] == "model_not_found"


def test_cards_promise_only_what_engines_say_of_themselves() -> None:
    def engine(length: int | None, *lacks: Ability, **status: Any) -> EngineView:
        return engine_view("http://e:1", lacks=frozenset(lacks), max_model_len=length, **status)

    def skills(*engines: EngineView) -> tuple[int | None, set[str]]:
        of = Skills(FleetView(engines, Homes({}), {})).of("sha256:0")
        return of["max_model_len"], set(of["features"]) - {"streaming", "structured_outputs"}

    every: tuple[Ability, ...] = ("tool_calls", "reasoning", "prompt_logprobs")
    assert skills() == (None, set())
    assert skills(engine(None)) == (None, {"tools", "reasoning", "prompt_logprobs"})
    assert skills(engine(4096, *every)) == (4096, set())
    assert skills(engine(4096, *every), engine(2048, "prompt_logprobs", "reasoning")) == (2048, {"tools"})
    pooling = engine(512, missing=frozenset({"chat", "completions"}))
    assert skills(pooling) == (512, set())
    assert Skills(FleetView((), Homes({}), {})).of("sha256:0")["endpoints"] == []


def test_endpoints_are_those_of_all_engines_of_the_base(tmp_path_factory: pytest.TempPathFactory) -> None:
    with open_house(tmp_path_factory.mktemp("cards")) as house:
        house.tenant("acme")
        house.publish("acme/triage")
        house.point("acme/triage", "1.0")
        engines: list[dict[str, Any]] = [{"runner": "pooling"}]
        with run_stack(house, engines=engines) as stack:
            (found, *_) = stack.http.get(f"{stack.url}/v1/models", headers={"x-api-key": house.keys["acme"]}).json()[
                "data"
            ]
            assert (set(found["endpoints"]), found["features"]) == (POOLING | COUNTING, [])
        engines.append({"reasoning_parser": "qwen3", "tool_call_parser": "hermes"})
        with run_stack(house, engines=engines) as stack:
            found = stack.http.get(f"{stack.url}/v1/models/triage", headers={"x-api-key": house.keys["acme"]}).json()
            assert set(found["endpoints"]) == GENERATING | POOLING
            assert found["features"] == ["streaming", "structured_outputs", "tools", "reasoning"]


def test_thoughts_with_a_budget_go_to_an_engine_that_reasons_or_are_refused(stack: Stack) -> None:
    answer = stack.chat("triage", thinking_token_budget=4)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (
        400, "unsupported_by_engine", "thinking_token_budget",
    )  # fmt: skip
    assert "--reasoning-parser" in error["message"]
