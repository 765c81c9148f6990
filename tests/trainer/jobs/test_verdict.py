"""What a job has published is compared with the version in production, through the gateway, where somebody asks."""

from __future__ import annotations

from typing import Any

from registry.gates.policy import Policy
from registry.names import parse_ref
from tests.support.scripted_child import TRAINED, VALID
from tests.support.stack import run_stack
from tests.trainer.jobs.conftest import Shop

GATE = {"gate": {"target": "label_exact", "guards": [{"metric": "rouge_l", "margin": 0.5}]}}
AWAY = "http://127.0.0.1:9"


def verdicts(shop: Shop, **order: Any) -> list[tuple[str, str, Any]]:
    """Level, sentence and data of what the job's events say after it has succeeded."""
    job = shop.order(adapter="triage", **order)
    shop.work(VALID, TRAINED)
    assert shop.job(job).status == "succeeded"
    events = shop.events(job)
    end = next(number for number, event in enumerate(events) if "has succeeded" in event.message)
    return [(event.level, event.message, event.data) for event in events[end + 1 :]]


def test_a_job_with_a_gate_says_what_became_of_it_and_promotes_nothing(shop: Shop) -> None:
    registry = shop.house.registry
    shop.house.publish("acme/triage")
    shop.house.point("acme/triage", "1.0")
    with run_stack(shop.house) as stack:
        shop.settings = shop.settings.model_copy(update={"trainer_gateway": stack.url})
        ((level, said, data),) = verdicts(shop, options=GATE)
    assert level == "warn"
    assert said.startswith("Verdict: cannot tell. acme/triage@1.1 against acme/triage@1.0 on 24 held-out rows: ")
    assert "target label_exact: +0" in said
    (certificate,) = registry.gates.certificates(parse_ref("acme/triage@1.1"))
    assert (data["verdict"], data["certificate"]) == ("cannot tell", certificate.digest)
    assert certificate.document["gate"]["target"] == "label_exact"
    assert registry.adapters.get(parse_ref("acme/triage@production")).name == "acme/triage@1.0"


def test_a_gate_of_the_operators_is_asked_about_every_job_of_its_adapter(shop: Shop) -> None:
    shop.house.publish("acme/triage")
    shop.house.registry.gates.set(parse_ref("acme/triage"), Policy("rouge_l"), actor="kim")
    with run_stack(shop.house) as stack:
        shop.settings = shop.settings.model_copy(update={"trainer_gateway": stack.url})
        ((_, said, _),) = verdicts(shop)
    assert said.startswith("Verdict: cannot tell. acme/triage@1.1 against tiny on 24 held-out rows: target rouge_l")


def test_without_a_gateway_the_job_succeeds_and_its_tenant_hears_no_address_of_ours(shop: Shop) -> None:
    shop.settings = shop.settings.model_copy(update={"trainer_gateway": AWAY})
    ((level, said, data),) = verdicts(shop, options=GATE)
    assert (level, data) == ("warn", {})
    assert said.startswith("No verdict: the new model could not be compared")
    assert AWAY not in said
    assert any(f"no verdict: nothing answers at {AWAY}" in line for line in shop.said)


def test_nobody_is_told_of_a_verdict_that_nobody_asked_for(shop: Shop) -> None:
    assert verdicts(shop) == []
