"""What a job has published is compared with the version in production, through the gateway, where somebody asks."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from registry.gates.policy import Policy
from registry.names import parse_ref
from registry.training.jobs import JobOrder, TrainingJob
from tests.support.scripted_executor import FINISHED, TRAINED, VALID, ScriptedExecutor
from tests.support.stack import BASE, run_stack
from tests.support.training_jobs import chat_rows
from tests.trainer.jobs.conftest import Shop
from trainer.jobs.verdict import Asked, Verdicts
from trainer.jobs.workplace import Workplace

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
    assert said.startswith("Verdict: undecided. acme/triage@1.1 against acme/triage@1.0 on 24 held-out rows: ")
    assert "target label_exact: +0" in said
    (certificate,) = registry.gates.certificates(parse_ref("acme/triage@1.1"))
    assert (data["verdict"], data["certificate"]) == ("undecided", certificate.digest)
    assert certificate.document["gate"]["target"] == "label_exact"
    assert registry.adapters.get(parse_ref("acme/triage@production")).name == "acme/triage@1.0"


def test_a_gate_of_the_operators_is_asked_about_every_job_of_its_adapter(shop: Shop) -> None:
    shop.house.publish("acme/triage")
    shop.house.registry.gates.set(parse_ref("acme/triage"), Policy("rouge_l"), actor="kim")
    with run_stack(shop.house) as stack:
        shop.settings = shop.settings.model_copy(update={"trainer_gateway": stack.url})
        ((_, said, _),) = verdicts(shop)
    assert said.startswith("Verdict: undecided. acme/triage@1.1 against tiny on 24 held-out rows: target rouge_l")


def test_without_a_gateway_the_job_succeeds_and_its_tenant_hears_no_address_of_ours(shop: Shop) -> None:
    shop.settings = shop.settings.model_copy(update={"trainer_gateway": AWAY})
    ((level, said, data),) = verdicts(shop, options=GATE)
    assert (level, data) == ("warn", {})
    assert said.startswith("No verdict: the new model could not be compared")
    assert AWAY not in said
    assert any(f"no verdict: nothing answers at {AWAY}" in line for line in shop.said)


def test_a_verdict_that_takes_too_long_is_none_and_says_so(shop: Shop) -> None:
    with run_stack(shop.house) as stack:
        shop.settings = shop.settings.model_copy(update={"trainer_gateway": stack.url, "trainer_verdict_s": 1e-9})
        ((level, said, _),) = verdicts(shop, options=GATE)
    assert level == "warn"
    assert "longer than this operator allows (SWITCHYARD_TRAINER_VERDICT_S)" in said


def test_a_fault_of_ours_in_one_comparison_keeps_no_other_from_its_verdict(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    falls = iter([KeyError("torn")])

    def judge(place: Workplace, asked: Asked) -> None:
        for error in falls:
            raise error
        place.say(f"{asked.job.id}: verdict: passed")

    monkeypatch.setattr("trainer.jobs.verdict._judge", judge)
    first, second = (shop.order(adapter="triage", options=GATE) for _ in range(2))
    shop.work(VALID, TRAINED, VALID, TRAINED)
    assert shop.events(first)[-1].message.startswith("No verdict: the new model could not be compared")
    assert any("KeyError: 'torn'" in line for line in shop.said)
    assert f"{second.id}: verdict: passed" in shop.said


def test_of_tenants_that_wait_for_verdicts_each_has_its_turn_and_questions_do_not_stay(
    shop: Shop, tmp_path: Path
) -> None:
    registry = shop.house.registry
    order: list[str] = []
    jobs: list[TrainingJob] = []
    shop.house.tenant("globex")
    settings = shop.settings.model_copy(update={"trainer_gateway": AWAY})
    place = Workplace(registry, settings, ScriptedExecutor([]), "worker", threading.Event(), order.append)
    waiting = Verdicts(place, tmp_path / "verdicts")
    for tenant in ("acme", "acme", "globex"):
        job = shop.order(tenant=tenant, adapter="triage", options=GATE) if tenant == "acme" else _of_globex(shop)
        shop.work(VALID, [*TRAINED[:4], {"leave": len(jobs) + 1}, FINISHED], trainer_gateway=AWAY)
        jobs.append(shop.job(job))
        questions = tmp_path / f"{job.id}.questions"
        questions.write_text('{"prompt": "q", "completion": "a"}\n')
        waiting.ask(jobs[-1], questions)
    waiting.close()
    waiting.run()
    assert [line.split(":")[0] for line in order] == [jobs[0].id, jobs[2].id, jobs[1].id]
    assert list((tmp_path / "verdicts").iterdir()) == []


def _of_globex(shop: Shop) -> TrainingJob:
    file = shop.house.registry.files.create("globex", "train.jsonl", "fine-tune", [chat_rows(12).encode()])
    return shop.house.registry.training.create(JobOrder("globex", BASE, BASE, file.id, adapter="triage", options=GATE))


def test_nobody_is_told_of_a_verdict_that_nobody_asked_for(shop: Shop) -> None:
    assert verdicts(shop) == []
