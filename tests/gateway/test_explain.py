"""`explain` tells the steps of the path with the very functions that serve."""

from __future__ import annotations

import pytest

from gateway.explain import Step, explain
from tests.support.stack import House


@pytest.fixture
def triage(house: House) -> House:
    house.publish("acme/triage")
    house.publish("acme/triage")
    house.point("acme/triage", "1.0")
    house.registry.model_names.map("acme", "gpt-4o-mini", "acme/triage")
    return house


def told(house: House, model: str, key: str = "acme", unit: str | None = None) -> list[Step]:
    return explain(model, house.keys.get(key, key), unit, house.registry.catalog(), house.registry.skews.alarming)


def test_every_step_is_told_up_to_the_bytes_that_answer(triage: House) -> None:
    steps = told(triage, "gpt-4o-mini")
    assert [step.step for step in steps] == ["authenticate", "resolve", "assign", "version"]
    assert all(step.ok for step in steps)
    assert "tenant 'acme'" in steps[0].found
    assert "scopes inference" in steps[0].found
    assert "maps 'gpt-4o-mini' to 'acme/triage'" in steps[1].found
    assert "alias acme/triage@production, which points at acme/triage@1.0" in steps[1].found
    version = triage.registry.adapters.all("acme")[0]
    assert version.manifest_digest in steps[3].found
    assert version.base_digest in steps[3].found


def test_a_version_named_directly_is_told_as_such(triage: House) -> None:
    assert "version acme/triage@1.1, named directly" in told(triage, "triage@1.1")[1].found


def test_the_base_is_told_to_a_key_with_its_scope_and_refused_to_others(triage: House) -> None:
    key = triage.key("acme", "base")
    assert "base model 'tiny'" in told(triage, "tiny", key)[1].found
    refused = told(triage, "tiny")[-1]
    assert (refused.step, refused.ok) == ("resolve", False)
    assert "HTTP 403 missing_scope" in refused.found


@pytest.mark.parametrize(
    ("model", "key", "step", "found"),
    [
        ("acme/triage", "sk-wrong", "authenticate", "HTTP 401 invalid_api_key"),
        ("acme/nothing", "acme", "resolve", "HTTP 404 model_not_found"),
        ("acme/triage", "globex", "resolve", "HTTP 404 model_not_found"),
    ],
)
def test_a_refusal_is_the_last_step_and_says_what_the_client_gets(
    triage: House, model: str, key: str, step: str, found: str
) -> None:
    last = told(triage, model, key)[-1]
    assert (last.step, last.ok) == (step, False)
    assert found in last.found


def test_a_split_is_told_with_its_weights_and_a_units_own_arm(triage: House) -> None:
    split = triage.split("acme/triage", {"1.0": 9_000, "1.1": 1_000}).detail["split"]
    assert f"split {split}: 1.0 90 %, 1.1 10 %" in told(triage, "triage")[-1].found
    arms = {told(triage, "triage", unit=f"u{number}")[-1].found.rpartition(" ")[2] for number in range(60)}
    assert arms == {"acme/triage@1.0", "acme/triage@1.1"}


def test_a_quarantined_version_is_told_as_refused_and_a_split_with_it_as_ended(triage: House) -> None:
    bad = triage.registry.adapters.all("acme")[1]
    triage.split("acme/triage", {"1.0": 0, "1.1": 10_000})
    assert told(triage, "triage", unit="u")[2].found.endswith("gets acme/triage@1.1")
    triage.registry.adapters.quarantine(bad.id, "it was found bad")
    last = told(triage, "triage@1.1")[-1]
    assert (last.step, last.ok) == ("resolve", False)
    assert "HTTP 503 model_quarantined" in last.found
    assert "it was found bad" in last.found
    assert told(triage, "triage", unit="u")[2].found == "acme/triage@1.0 (not split)"
