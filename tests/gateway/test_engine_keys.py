"""Each engine's own key, on every way to it: control, proofs and inference, in one process and in several."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from gateway.settings import EngineSettings, GatewaySettings
from tests.support.cli_runner import Run, run
from tests.support.stack import House, run_engines, run_gateway

__all__ = ["run"]


def test_an_engine_with_a_key_of_its_own_is_asked_with_it(house: House) -> None:
    house.publish("acme/triage")
    house.point("acme/triage", "1.0")
    key = house.key("acme", "inference", "base")
    with run_engines(house, {"api_key": "first"}, {"api_key": "common"}) as (first, second):
        engines = [EngineSettings(url=f"{first.url}/", api_key="first"), second.url]
        with run_gateway(house, [first, second], engines=engines, engine_api_key="common") as stack:
            stack.wait_resident("acme/triage@1.0")
            for _ in range(4):  # the base lives on both
                assert [stack.chat(model, key=key).status_code for model in ("acme/triage", "tiny")] == [200, 200]
            for engine, other in ((first, second), (second, first)):
                house.registry.drains.order(other.url, actor="test")
                stack.wait_state(other, "draining")
                answers = [
                    stack.chat(model, key=key, stream=streams)
                    for model in ("acme/triage", "tiny")
                    for streams in (False, True)
                ]
                assert [answer.status_code for answer in answers] == [200] * 4, engine.url
                assert not any("error" in answer.text for answer in answers)
                house.registry.drains.lift(other.url)
                stack.wait_ready()


@pytest.mark.parametrize("key", ["two words", "line\r\nX-Admin: yes", "schlüssel", "tab\t"])
def test_a_key_that_no_header_can_carry_is_refused_at_the_start(key: str) -> None:
    for settings in ({"engine_api_key": key}, {"engines": [{"url": "http://a:1", "api_key": key}]}):
        with pytest.raises(ValidationError, match="api_key"):
            GatewaySettings(**settings)


def test_doctor_asks_an_engine_of_the_running_gateway_with_its_own_key(
    house: House, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with run_engines(house, {"api_key": "first"}) as (engine,):
        declared = EngineSettings(url=engine.url, api_key="first")
        with run_gateway(house, [engine], engines=[declared], engine_platform="cpu") as stack:
            monkeypatch.setenv("SWITCHYARD_STATE_DIR", str(house.settings.state_dir))
            monkeypatch.setenv("SWITCHYARD_PORT", stack.url.rpartition(":")[2])
            monkeypatch.setenv("SWITCHYARD_ENGINES", json.dumps([declared.model_dump()]))
            found = {check["name"]: check for check in run("doctor", "--json", "--isolation").document}
    assert found[f"isolation {engine.url}"]["ok"], found
