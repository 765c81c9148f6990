"""Every error code that docs/fine-tuning.md names for an order is an answer, with the status that stands beside it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from tests.live.installation import ROOT
from tests.support.stack import Stack, open_house, run_stack
from tests.support.training_worker import FakeWorker

JOBS, HOOKS = "/v1/fine_tuning/jobs", "/v1/webhook_endpoints"
ROWS = b'{"prompt": "Hi", "completion": "Hello"}\n' * 12
NO_FILE, NO_JOB, NO_HOOK = (f"{kind}-{'0' * 24}" for kind in ("file", "ftjob", "we"))
REINFORCEMENT = {"method": {"type": "reinforcement"}}
WANDB = {"integrations": [{"type": "wandb", "wandb": {"project": "p"}}]}


def named_on_the_page() -> dict[str, int]:
    """Code and status."""
    page = (ROOT / "docs" / "fine-tuning.md").read_text()
    table = page.partition("## Errors")[2].partition("###")[0]
    rows = [row.split("|")[1:3] for row in table.splitlines() if re.match(r"\| [45]\d\d ", row)]
    return {code: int(status) for status, codes in rows for code in re.findall(r"`(\w+)`", codes)}


@dataclass(frozen=True)
class Desk:
    """Asks with acme's key."""

    stack: Stack
    rows: str
    evals: str

    def order(self, **body: Any) -> httpx.Response:
        """A good order, but for what is given."""
        given = {"model": "tiny", "training_file": self.rows, **body}
        return self.stack.post(JOBS, {name: value for name, value in given.items() if value is not None})

    def ask(self, method: str, path: str, key: str | None = "acme") -> httpx.Response:
        """Without a body."""
        head = {} if key is None else {"Authorization": f"Bearer {self.stack.house.keys.get(key, key)}"}
        return self.stack.http.request(method, f"{self.stack.url}{path}", headers=head)


@pytest.fixture(scope="module")
def desk(shared_stack: Stack) -> Desk:
    def uploaded(purpose: str) -> str:
        answer = shared_stack.http.post(
            f"{shared_stack.url}/v1/files",
            headers={"Authorization": f"Bearer {shared_stack.house.keys['acme']}"},
            data={"purpose": purpose},
            files={"file": ("rows.jsonl", ROWS)},
        )
        return str(answer.json()["id"])

    return Desk(shared_stack, uploaded("fine-tune"), uploaded("evals"))


@pytest.fixture(autouse=True)
def _none_left(stack: Stack) -> Iterator[None]:
    yield
    FakeWorker(stack.house).drop_all()


def _ended(desk: Desk) -> httpx.Response:
    job = desk.order(seed=1).json()["id"]
    desk.ask("POST", f"{JOBS}/{job}/cancel")
    return desk.ask("POST", f"{JOBS}/{job}/pause")


def _key_twice(desk: Desk) -> httpx.Response:
    head = {"Idempotency-Key": "the-same"}
    desk.stack.post(JOBS, {"model": "tiny", "training_file": desk.rows, "seed": 1}, headers=head)
    return desk.stack.post(JOBS, {"model": "tiny", "training_file": desk.rows, "seed": 2}, headers=head)


def _quarantined(desk: Desk) -> httpx.Response:
    version = desk.stack.house.publish("acme/poor")
    desk.stack.house.registry.adapters.quarantine(version.id, "it lies")
    desk.stack.wait_revision()
    return desk.order(model=version.name)


def _without_scope(desk: Desk) -> httpx.Response:
    key = desk.stack.house.key("acme", "inference")
    desk.stack.wait_revision()
    return desk.ask("GET", JOBS, key)


def _too_many(desk: Desk) -> httpx.Response:
    for seed in range(desk.stack.house.settings.max_unfinished_jobs_per_tenant):
        desk.order(seed=seed)
    return desk.order(seed=1_000)


def _private_hook(desk: Desk) -> httpx.Response:
    body = {"name": "sly", "url": "https://localhost:9/", "event_types": ["fine_tuning.job.failed"]}
    made = desk.stack.post(HOOKS, body).json()["id"]
    answer = desk.stack.post(f"{HOOKS}/{made}/test", {"event_type": "fine_tuning.job.failed"})
    desk.ask("DELETE", f"{HOOKS}/{made}")
    return answer


def _without_database(desk: Desk) -> httpx.Response:
    def rename(old: str, new: str) -> None:
        with desk.stack.house.registry.db.write() as session:
            session.execute(text(f"ALTER TABLE {old} RENAME TO {new}"))

    rename("training_jobs", "away")
    try:
        return desk.ask("GET", JOBS)
    finally:
        rename("away", "training_jobs")


PROVOKED: dict[str, Callable[[Desk], httpx.Response]] = {
    "missing_required_parameter": lambda desk: desk.order(training_file=None),
    "invalid_type": lambda desk: desk.order(seed="1"),
    "invalid_value": lambda desk: desk.order(suffix=""),
    "unknown_parameter": lambda desk: desk.order(nonsense=1),
    "unsupported_method": lambda desk: desk.order(**REINFORCEMENT),
    "invalid_file_purpose": lambda desk: desk.order(training_file=desk.evals),
    "model_quarantined": _quarantined,
    "integration_not_offered": lambda desk: desk.order(**WANDB),
    "job_has_ended": _ended,
    "idempotency_key_reused": _key_twice,
    "missing_api_key": lambda desk: desk.ask("GET", JOBS, None),
    "invalid_api_key": lambda desk: desk.ask("GET", JOBS, "sk-nobody"),
    "missing_scope": _without_scope,
    "model_not_deletable": lambda desk: desk.ask("DELETE", "/v1/models/acme/triage"),
    "webhook_not_delivered": _private_hook,
    "model_not_found": lambda desk: desk.order(model="nothing"),
    "file_not_found": lambda desk: desk.order(training_file=NO_FILE),
    "job_not_found": lambda desk: desk.ask("GET", f"{JOBS}/{NO_JOB}"),
    "webhook_endpoint_not_found": lambda desk: desk.ask("GET", f"{HOOKS}/{NO_HOOK}"),
    "rate_limit_exceeded": _too_many,
    "checkpoint_permissions_not_offered": lambda desk: desk.ask(
        "GET", "/v1/fine_tuning/checkpoints/ft:tiny:acme::x/permissions"
    ),
    "graders_not_offered": lambda desk: desk.ask("POST", "/v1/fine_tuning/alpha/graders/run"),
    "jobs_unavailable": _without_database,
}
BY_OTHER_ENGINES = "model_not_available"


@pytest.mark.parametrize("code", PROVOKED)
def test_a_code_of_the_page_is_an_answer_with_its_status(code: str, desk: Desk) -> None:
    answer = PROVOKED[code](desk)
    assert (answer.json()["error"]["code"], answer.status_code) == (code, named_on_the_page()[code])


def test_a_base_that_generates_nothing_is_answered_with_its_code(tmp_path_factory: pytest.TempPathFactory) -> None:
    with open_house(tmp_path_factory.mktemp("pooling")) as house:
        house.tenant("acme")
        with run_stack(house, engines=[{"runner": "pooling"}]) as stack:
            answer = stack.post(JOBS, {"model": "tiny", "training_file": NO_FILE})
    assert (answer.json()["error"]["code"], answer.status_code) == (
        BY_OTHER_ENGINES,
        named_on_the_page()[BY_OTHER_ENGINES],
    )


def test_the_page_names_no_other_code() -> None:
    assert named_on_the_page().keys() == {*PROVOKED, BY_OTHER_ENGINES}
