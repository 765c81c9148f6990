"""Who hears that a model is there asks it at once, and who hears that it is gone asks it no more: so it must be so by
then, with workers that look for changes seldom.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import openai
import pytest
from openai import OpenAI

from registry.training.jobs import JobOrder, TrainingJob
from tests.support.admin_calls import Admin
from tests.support.stack import BASE, Stack, open_house, run_stack
from tests.support.training_worker import FakeWorker
from tests.support.waiting import wait_until
from tests.support.webhook_host import webhook_host

LOOKS_EVERY_S = 1.0
Hears = Callable[[Stack, OpenAI, TrainingJob], None]


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Its worker looks for a new catalog once a second."""
    folder = tmp_path_factory.mktemp("slow")
    with open_house(folder, catalog_poll_s=LOOKS_EVERY_S, webhook_networks=["127.0.0.0/8"]) as house:
        house.tenant("acme")
        with run_stack(house, engines=[{}]) as stack:
            yield stack


@pytest.fixture
def sdk(slow: Stack) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{slow.url}/v1", api_key=slow.house.keys["acme"], max_retries=0) as client:
        yield client


def trained(stack: Stack) -> TrainingJob:
    """A job that has done all but end."""
    stack.house.registry.training.create(
        JobOrder(tenant="acme", model=BASE, base=BASE, training_file="file-1", suffix="served")
    )
    return FakeWorker(stack.house).train()


def by_retrieving(stack: Stack, client: OpenAI, job: TrainingJob) -> None:
    assert client.fine_tuning.jobs.retrieve(job.id).status == "succeeded"


def by_listing(stack: Stack, client: OpenAI, job: TrainingJob) -> None:
    assert client.fine_tuning.jobs.list(limit=1).data[0].status == "succeeded"


def by_an_event(stack: Stack, client: OpenAI, job: TrainingJob) -> None:
    assert client.fine_tuning.jobs.list_events(job.id, limit=1).data[0].message == "The job has succeeded."


def by_an_operators_event(stack: Stack, client: OpenAI, job: TrainingJob) -> None:
    assert (
        Admin(stack.house, stack.url, stack.http).get(f"/jobs/{job.id}/events")["events"][0]["message"]
        == "The job has succeeded."
    )


@pytest.mark.parametrize("hears", [by_retrieving, by_listing, by_an_event, by_an_operators_event])
def test_a_model_answers_whoever_has_heard_of_it(hears: Hears, slow: Stack, sdk: OpenAI) -> None:
    model = FakeWorker(slow.house).succeed(trained(slow)).fine_tuned_model
    assert model is not None
    hears(slow, sdk, slow.house.registry.training.page("acme", None, 1)[0])
    sdk.chat.completions.create(model=model, messages=[{"role": "user", "content": "x"}], max_tokens=2)


def test_a_webhook_tells_of_a_model_when_it_answers(slow: Stack, sdk: OpenAI) -> None:
    with webhook_host() as host:
        endpoint = sdk.webhooks.create(name="mine", url=host.url, event_types=["fine_tuning.job.succeeded"])
        model = FakeWorker(slow.house).succeed(trained(slow)).fine_tuned_model
        assert model is not None
        wait_until("the event", lambda: host.bodies)
        sdk.chat.completions.create(model=model, messages=[{"role": "user", "content": "x"}], max_tokens=2)
        sdk.webhooks.delete(endpoint.id)


def test_a_model_that_was_deleted_answers_nobody(slow: Stack, sdk: OpenAI) -> None:
    model = FakeWorker(slow.house).succeed(trained(slow)).fine_tuned_model
    assert model is not None
    by_retrieving(slow, sdk, slow.house.registry.training.page("acme", None, 1)[0])
    sdk.models.delete(model)
    with pytest.raises(openai.NotFoundError):
        sdk.chat.completions.create(model=model, messages=[{"role": "user", "content": "x"}], max_tokens=2)
    assert model not in {card.id for card in sdk.models.list()}
