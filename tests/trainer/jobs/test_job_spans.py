"""What a trainer does for a job is told as spans, if anything is."""

from __future__ import annotations

from telemetry.spans import Ended, Tracer
from tests.support.scripted_executor import TRAINED, VALID, ScriptedExecutor
from tests.trainer.jobs.conftest import Shop
from trainer.jobs.worker import Worker


def work(shop: Shop, executor: ScriptedExecutor) -> list[Ended]:
    """Spans of a worker, until no job waits."""
    ended: list[Ended] = []
    Worker(shop.house.registry, shop.settings, executor, shop.said.append, Tracer(1.0, ended.append)).run(
        until_idle=True
    )
    return sorted(ended, key=lambda span: span.began_ns)


def test_the_check_and_the_training_of_a_job_are_spans_that_say_whose_it_is_and_how_it_stands(shop: Shop) -> None:
    job = shop.order()
    checked, trained = work(shop, ScriptedExecutor([VALID, TRAINED]))
    assert (checked.name, trained.name) == ("job validate", "job train")
    of_job = {"switchyard.job": job.id, "switchyard.tenant": "acme", "switchyard.base": job.order.base}
    assert of_job.items() <= checked.attributes.items()
    assert of_job.items() <= trained.attributes.items()
    assert (checked.attributes["switchyard.status"], checked.error) == ("queued", None)
    assert (trained.attributes["switchyard.status"], trained.error) == ("succeeded", None)
    assert trained.ended_ns > trained.began_ns
    assert checked.trace_id != trained.trace_id, "they may be days apart, and on other machines"


def test_the_span_of_a_job_that_failed_has_failed_and_says_of_what(shop: Shop) -> None:
    shop.order()
    refusal = {"say": "failed", "code": "training_refused", "message": "diverged; lower it", "param": None}
    _, trained = work(shop, ScriptedExecutor([VALID, [{"say": refusal}]]))
    assert (trained.attributes["switchyard.status"], trained.error) == ("failed", "training_refused")
    assert "diverged" not in str(trained.attributes)
