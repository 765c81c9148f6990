"""Keys that are for some of a tenant's adapters: all others are to them as if they were not there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from openai import OpenAI

from registry.errors import InvalidInput
from registry.tenants.key_adapters import MOST_ADAPTERS_OF_KEY
from tests.support.admin_calls import Admin
from tests.support.stack import House, Stack, run_stack
from tests.support.training_parts import ordered
from tests.support.waiting import wait_until

EVERY = ("inference", "base", "training")
NO_JOB = "ftjob-" + 24 * "0"


@pytest.fixture
def two(house: House) -> Iterator[Stack]:
    """A tenant with two adapters, and names of its own for both and for the base."""
    for name in ("triage", "billing"):
        house.publish(f"acme/{name}")
        house.point(f"acme/{name}", "1.0")
        house.registry.model_names.map("acme", f"gpt-{name}", f"acme/{name}")
    with run_stack(house) as stack:
        yield stack


def narrow(stack: Stack, *adapters: str, scopes: tuple[str, ...] = EVERY) -> str:
    """The secret of a key for these alone."""
    key = stack.house.registry.tenants.create_key("acme", scopes=scopes, adapters=adapters or ("triage",))
    stack.wait_revision()
    return key.secret


def ask(stack: Stack, method: str, path: str, secret: str, **more: Any) -> httpx.Response:
    return httpx.request(
        method, f"{stack.url}{path}", headers={"Authorization": f"Bearer {secret}"}, timeout=60, **more
    )


def test_it_asks_its_adapter_by_every_name_and_others_by_none(two: Stack) -> None:
    secret = narrow(two)
    for name in ("triage", "acme/triage", "acme/triage@1.0", "triage@production", "gpt-triage", "tiny"):
        assert two.chat(name, secret).status_code == 200, name
    missing = two.chat("nowhere", secret).json()["error"]
    for name in ("billing", "acme/billing", "acme/billing@1.0", "billing@production", "gpt-billing"):
        answer = two.chat(name, secret)
        assert answer.status_code == 404, name
        said = answer.json()["error"]
        assert said["message"].replace(name, "nowhere") == missing["message"], "as of one that there is not"
        assert said["code"] == missing["code"]


def test_it_lists_and_shows_its_own_models_alone(two: Stack) -> None:
    secret = narrow(two)
    ids = {card["id"] for card in ask(two, "GET", "/v1/models", secret).json()["data"]}
    assert "acme/triage" in ids
    assert "gpt-triage" in ids
    assert not [one for one in ids if "billing" in one]
    assert ask(two, "GET", "/v1/models/acme/triage", secret).status_code == 200
    for name in ("acme/billing", "gpt-billing", "billing@1.0"):
        assert ask(two, "GET", f"/v1/models/{name}", secret).status_code == 404
        assert ask(two, "DELETE", f"/v1/models/{name}", secret).status_code == 404
    other = {card["id"] for card in ask(two, "GET", "/v1/models", two.house.keys["acme"]).json()["data"]}
    assert "acme/billing" in other


def test_it_gives_feedback_on_answers_of_its_own_adapter_alone(two: Stack) -> None:
    secret = narrow(two)
    own = two.chat("triage", two.house.keys["acme"]).json()["id"]
    others = two.chat("billing", two.house.keys["acme"]).json()["id"]

    def give(response: str) -> int:
        return ask(
            two, "POST", "/v1/feedback", secret, json={"response_id": response, "metric": "ok", "value": True}
        ).status_code

    wait_until("the answer to be known", lambda: give(own) == 200)
    assert give(others) == 404
    assert ask(two, "GET", "/v1/feedback", secret).status_code == 403


def test_it_trains_on_from_its_own_adapter_into_its_own_adapter(two: Stack) -> None:
    secret = narrow(two)
    rows = b'{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}\n' * 12
    file = ask(
        two, "POST", "/v1/files", secret, data={"purpose": "fine-tune"}, files={"file": ("a.jsonl", rows)}
    ).json()

    def order(secret: str, **fields: Any) -> httpx.Response:
        return ask(two, "POST", "/v1/fine_tuning/jobs", secret, json={"training_file": file["id"], **fields})

    assert order(secret, model="acme/billing", suffix="triage").status_code == 404
    for fields in (
        {"model": "triage"},
        {"model": "triage", "suffix": "billing"},
        {"model": "tiny", "suffix": "billing"},
    ):
        refused = order(secret, **fields)
        assert (refused.status_code, refused.json()["error"]["param"]) == (403, "suffix")
    own = order(secret, model="triage", suffix="triage", seed=1)
    assert own.status_code == 200, own.text
    whole = two.house.key("acme", *EVERY)
    two.wait_revision()
    others = order(whole, model="billing", suffix="billing", seed=2).json()["id"]
    listed = ask(two, "GET", "/v1/fine_tuning/jobs", secret).json()["data"]
    assert [job["id"] for job in listed] == [own.json()["id"]]
    for path in ("", "/events", "/checkpoints"):
        assert ask(two, "GET", f"/v1/fine_tuning/jobs/{others}{path}", secret).status_code == 404
    for path in ("/{}/events?after=x", "/{}/checkpoints?after=x", "?after={}"):
        answers = [ask(two, "GET", f"/v1/fine_tuning/jobs{path.format(id_)}", secret) for id_ in (others, NO_JOB)]
        assert [one.status_code for one in answers] == [404, 404]
        assert answers[0].json() == json.loads(answers[1].text.replace(NO_JOB, others)), "as of one that there is not"
    for wish in ("pause", "resume", "cancel"):
        assert ask(two, "POST", f"/v1/fine_tuning/jobs/{others}/{wish}", secret).status_code == 404
    assert ask(two, "POST", f"/v1/fine_tuning/jobs/{own.json()['id']}/cancel", secret).status_code == 200


def test_it_finds_its_jobs_behind_pages_of_others(two: Stack) -> None:
    jobs, secret = two.house.registry.training, narrow(two)
    own = jobs.create(ordered(adapter="triage"))
    for seed in range(3):
        jobs.create(ordered(adapter="billing", seed=seed))
    with OpenAI(base_url=f"{two.url}/v1", api_key=secret, max_retries=0) as client:
        assert [job.id for job in client.fine_tuning.jobs.list(limit=2)] == [own.id]


def test_what_is_of_the_whole_tenant_is_not_for_it(two: Stack) -> None:
    secret = narrow(two)
    assert ask(two, "GET", "/v1/account", secret).json()["adapters"] == ["triage"]
    assert ask(two, "GET", "/v1/account", two.house.keys["acme"]).json()["adapters"] is None
    for path in ("/v1/account/usage", "/v1/account/budgets"):
        assert ask(two, "GET", path, secret).status_code == 403
        assert ask(two, "GET", path, two.house.keys["acme"]).status_code == 200


def test_a_key_that_is_rotated_stays_as_narrow(two: Stack) -> None:
    tenants = two.house.registry.tenants
    key = tenants.create_key("acme", adapters=("triage",))
    made = tenants.rotate_key(key.id)
    assert tenants.get_key(made.id).adapters == ("acme/triage",)
    two.wait_revision()
    assert two.chat("billing", made.secret).status_code == 404


def test_the_admin_api_makes_and_shows_narrow_keys(two: Stack) -> None:
    admin = Admin(two.house, two.url, two.http)
    made = admin.post("/keys", tenant="acme", adapters=["acme/triage", "billing", "triage"])
    assert made["adapters"] == ["acme/billing", "acme/triage"]
    assert admin.post("/keys", tenant="acme")["adapters"] is None
    status, error = admin.refused("POST", "/keys", json={"tenant": "acme", "adapters": ["globex/sentiment"]})
    assert (status, error["param"]) == (400, "adapters")
    assert admin.refused("POST", "/keys", json={"tenant": "acme", "adapters": []})[0] == 400


@pytest.mark.parametrize(
    "given", [(), ("globex/sentiment",), ("triage@1.0",), ("acme/triage@production",), ("",), ("acme/",), ("UPPER",),
              tuple(f"a-{number}" for number in range(MOST_ADAPTERS_OF_KEY + 1))],
)  # fmt: skip
def test_what_is_no_adapter_of_the_tenants_is_refused(house: House, given: tuple[str, ...]) -> None:
    with pytest.raises(InvalidInput, match="adapters"):
        house.registry.tenants.create_key("acme", adapters=given)
