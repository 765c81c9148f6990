"""A second kind of engine is one object in a table: here one without adapters that answers chats and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

import pytest

from gateway.engines import kinds
from gateway.engines.engine import Platform
from gateway.engines.kind import EngineControl, Quirks
from gateway.engines.vllm.control import VllmControl
from gateway.engines.vllm.kind import Vllm
from gateway.fleet.sources import declared_fleet
from gateway.handoffs import Endpoint
from gateway.settings import EngineSettings
from registry.errors import InvalidInput
from tests.support.stack import CHAT, MESSAGES, TEXT, House, run_engines, run_gateway


class Unharmed(Quirks):
    refused = None
    base_needs_zero_adapter = False


class PlainControl(VllmControl):
    """Any question about adapters fails the test."""

    asked = False

    def _never(self, *_: Any, **__: Any) -> NoReturn:
        type(self).asked = True
        raise AssertionError("it was asked about adapters")

    load_adapter = unload_adapter = next_token_logprob = rendered = greedy = _never


class Plain(Vllm):
    paths: Mapping[Endpoint, bytes] = {"chat": b"/v1/chat/completions"}
    takes_adapters = False

    def control(self, url: str, api_key: str | None) -> EngineControl:
        return PlainControl(url, api_key)

    def quirks(self, version: str, platform: Platform) -> Quirks:
        return Unharmed()


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(kinds.KINDS, "plain", Plain())
    monkeypatch.setattr(PlainControl, "asked", False)
    yield
    assert not PlainControl.asked


@pytest.mark.usefixtures("plain")
def test_an_engine_of_a_kind_without_adapters_serves_its_base_beside_those_that_have_them(house: House) -> None:
    house.publish("acme/triage")
    house.point("acme/triage", "1.0")
    key = house.key("acme", "base", "inference")
    with run_engines(house, {}, {}) as (other, vllm):
        engines = [EngineSettings(url=other.url, kind="plain"), vllm.url]
        with run_gateway(house, [other, vllm], engines=engines) as stack:
            stack.wait_ready()
            for _ in range(4):
                answer = stack.chat("triage", key=key)
                assert answer.status_code == 200, answer.text
                assert house.usage_of(answer.headers["x-request-id"])[0]["engine"] == vllm.url
            answer = stack.post(TEXT, {"model": "tiny", "prompt": "a", "max_tokens": 1}, key=key)
            assert answer.status_code == 200, "the other one has the endpoint"


@pytest.mark.usefixtures("plain")
def test_an_endpoint_that_a_kind_does_not_have_is_a_404_that_names_both(house: House) -> None:
    house.publish("acme/triage")
    house.point("acme/triage", "1.0")
    key = house.key("acme", "base", "inference")
    with (
        run_engines(house, {}) as (other,),
        run_gateway(house, [other], engines=[EngineSettings(url=other.url, kind="plain")]) as stack,
    ):
        stack.wait_ready()
        answer = stack.post(CHAT, {"model": "tiny", "messages": MESSAGES, "max_tokens": 1}, key=key)
        assert answer.status_code == 200, answer.text
        assert answer.json()["model"] == "tiny"
        answer = stack.post(TEXT, {"model": "tiny", "prompt": "a", "max_tokens": 1}, key=key)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "endpoint_not_served")
        assert "/v1/completions" in answer.text
        assert "(plain)" in answer.text
        answer = stack.chat("triage", key=key)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "engine_unavailable")


def test_a_kind_that_there_is_not_is_refused_with_those_that_there_are(house: House) -> None:
    engines = [EngineSettings(url="http://127.0.0.1:1", kind="other")]
    with pytest.raises(InvalidInput, match="kind is 'other'; engines are vllm"):
        declared_fleet(house.registry, house.settings.model_copy(update={"engines": engines}))
