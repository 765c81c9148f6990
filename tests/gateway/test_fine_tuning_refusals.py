"""What an order of a fine-tuning job cannot say, and who may not ask."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from tests.support.stack import Stack
from tests.support.training_worker import FakeWorker

JOBS = "/v1/fine_tuning/jobs"
ROWS = b'{"prompt": "Hi", "completion": "Hello"}\n' * 12
NO_FILE, NO_JOB = "file-000000000000000000000000", "ftjob-000000000000000000000000"
BETA = {"hyperparameters": {"beta": 0.1}}


@pytest.fixture(scope="module")
def uploaded(shared_stack: Stack) -> dict[str, str]:
    """A file of acme's to train with, one for something else, and one of globex's."""
    found = {}
    for name, key, purpose in (
        ("rows", "acme", "fine-tune"),
        ("other", "acme", "evals"),
        ("theirs", "globex", "fine-tune"),
    ):
        answer = shared_stack.http.post(
            f"{shared_stack.url}/v1/files",
            headers={"Authorization": f"Bearer {shared_stack.house.keys[key]}"},
            data={"purpose": purpose},
            files={"file": ("rows.jsonl", ROWS)},
        )
        found[name] = answer.json()["id"]
    return found


@pytest.fixture(autouse=True)
def none_left(stack: Stack) -> Iterator[None]:
    yield
    FakeWorker(stack.house).drop_all()


def refused(answer: httpx.Response, status: int) -> tuple[str | None, str | None]:
    """Param and code of a refusal with this status."""
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["message"].endswith((".", "?"))
    return error["param"], error["code"]


def _wandb(**fields: Any) -> dict[str, Any]:
    return {"integrations": [{"type": "wandb", "wandb": fields}]}


def _nested(levels: int) -> Any:
    return [] if levels == 1 else [_nested(levels - 1)]


def _modules(names: list[str]) -> dict[str, Any]:
    return {"switchyard": {"lora": {"target_modules": names}}}


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"model": None}, "model", "missing_required_parameter"),
    ({"training_file": None}, "training_file", "missing_required_parameter"),
    ({"model": 5}, "model", "invalid_type"),
    ({"training_file": ""}, "training_file", "invalid_value"),
    ({"nonsense": 1}, "nonsense", "unknown_parameter"),
    ({"suffix": ""}, "suffix", "invalid_value"),
    ({"suffix": "x" * 65}, "suffix", "invalid_value"),
    ({"suffix": "a\nb"}, "suffix", "invalid_value"),
    ({"seed": -1}, "seed", "invalid_value"),
    ({"seed": "1"}, "seed", "invalid_type"),
    ({"seed": 2**32}, "seed", "invalid_value"),
    ({"metadata": {str(n): "x" for n in range(17)}}, "metadata", "invalid_value"),
    ({"metadata": {"k" * 65: "x"}}, "metadata", "invalid_value"),
    ({"metadata": {"k": "x" * 513}}, "metadata.k", "invalid_value"),
    ({"metadata": {"k": 1}}, "metadata.k", "invalid_type"),
    ({"metadata": {"k": "\0"}}, "metadata", "invalid_value"),
    ({"hyperparameters": {"n_epochs": 0}}, "hyperparameters.n_epochs", "invalid_value"),
    ({"hyperparameters": {"n_epochs": 51}}, "hyperparameters.n_epochs", "invalid_value"),
    ({"hyperparameters": {"n_epochs": "many"}}, "hyperparameters.n_epochs", "invalid_type"),
    ({"hyperparameters": {"batch_size": 257}}, "hyperparameters.batch_size", "invalid_value"),
    (
        {"hyperparameters": {"learning_rate_multiplier": 0}},
        "hyperparameters.learning_rate_multiplier",
        "invalid_value",
    ),
    ({"hyperparameters": {"beta": 0.1}}, "hyperparameters.beta", "unknown_parameter"),
    ({"hyperparameters": {"n_epochs": 1}, "method": {"type": "dpo"}}, "hyperparameters", "invalid_value"),
    ({"method": {}}, "method.type", "missing_required_parameter"),
    ({"method": {"type": "magic"}}, "method.type", "invalid_value"),
    ({"method": {"type": "reinforcement"}}, "method.type", "unsupported_method"),
    ({"method": {"type": "supervised", "dpo": BETA}}, "method.dpo", "invalid_value"),
    (
        {"method": {"type": "supervised", "supervised": BETA}},
        "method.supervised.hyperparameters.beta",
        "unknown_parameter",
    ),
    (
        {"method": {"type": "dpo", "dpo": {"hyperparameters": {"beta": 2.1}}}},
        "method.dpo.hyperparameters.beta",
        "invalid_value",
    ),
    ({"integrations": [{"type": "mlflow", "wandb": {}}]}, "integrations[0].type", "invalid_value"),
    ({"integrations": [{"type": "wandb"}]}, "integrations[0].wandb", "missing_required_parameter"),
    ({"integrations": [{"type": "wandb", "wandb": {}}]}, "integrations[0].wandb.project", "missing_required_parameter"),
    ({"integrations": [{"type": "wandb", "wandb": {"project": "p"}}] * 2}, "integrations", "invalid_value"),
    (_wandb(project="p"), "integrations", "integration_not_offered"),
    (_wandb(project="a\0b"), "integrations[0].wandb.project", "invalid_value"),
    (_wandb(project="p", name="n" * 129), "integrations[0].wandb.name", "invalid_value"),
    (_wandb(project="p", tags=["a,b"]), "integrations[0].wandb.tags[0]", "invalid_value"),
    (_wandb(project="p", tags=["t" * 65]), "integrations[0].wandb.tags[0]", "invalid_value"),
    (_modules(["q" * 101]), "switchyard.lora.target_modules", "invalid_value"),
    (_modules(["q_proj|.*"]), "switchyard.lora.target_modules", "invalid_value"),
    (_modules(["q_proj"] * 129), "switchyard.lora.target_modules", "invalid_value"),
    ({"switchyard": []}, "switchyard", "invalid_type"),
    ({"switchyard": {"lora": {"r": 1_000}}}, "switchyard.lora.r", "invalid_value"),
    ({"switchyard": {"lora": {"rank": 16}}}, "switchyard.lora.rank", "unknown_parameter"),
    ({"switchyard": {"laura": {}}}, "switchyard.laura", "unknown_parameter"),
    ({"switchyard": {"gate": {"target": "loss", "beter_by": 1}}}, "switchyard.gate.beter_by", "unknown_parameter"),
    (
        {"switchyard": {"gate": {"target": "loss", "guards": [{"metric": "accuracy", "margins": 1, "margin": 1}]}}},
        "switchyard.gate.guards[0].margins",
        "unknown_parameter",
    ),
    ({"switchyard": {"gate": {"target": "regex:a"}}}, "switchyard.gate.target", "invalid_value"),
    ({"switchyard": {"lora": {"r": _nested(255)}}}, "switchyard", "invalid_value"),
    ({"metadata": {"switchyard.lora.r": "[" * 255 + "]" * 255}}, "switchyard.lora.r", "invalid_value"),
    ({"switchyard": {"lora": 16}}, "switchyard.lora", "invalid_value"),
    ({"switchyard": {"adapter": "Not A Name"}}, "switchyard.adapter", "invalid_value"),
    ({"switchyard": {"training": {"seed": 1}}}, "switchyard.training.seed", "invalid_value"),
    ({"switchyard": {"training": {"method": "dpo"}}}, "switchyard.training.method", "invalid_value"),
    ({"switchyard": {"model": {"tuning": "full"}}}, "switchyard.model.tuning", "invalid_value"),
    ({"switchyard": {"dpo": {"loss": "ipo"}}}, "switchyard.dpo", "invalid_value"),
    ({"switchyard": {"evaluation": {"max_rows": 1}}}, "switchyard.evaluation.max_rows", "invalid_value"),
    (
        {"switchyard": {"training": {"max_steps": 5}}, "hyperparameters": {"n_epochs": 2}},
        "switchyard.training.max_steps",
        "invalid_value",
    ),
    ({"metadata": {"switchyard.lora.r": "much"}}, "switchyard.lora.r", "invalid_value"),
    (
        {"metadata": {"switchyard.lora.r": "16"}, "switchyard": {"lora": {"r": 8}}},
        "metadata.switchyard.lora.r",
        "invalid_value",
    ),
    ({"validation_file": "rows"}, "validation_file", "invalid_value"),
    ({"training_file": "other"}, "training_file", "invalid_file_purpose"),
]


@pytest.mark.parametrize(("fields", "param", "code"), REFUSED, ids=[f"{param} {code}" for _, param, code in REFUSED])
def test_a_fault_in_an_order_is_named(
    fields: dict[str, Any], param: str, code: str, stack: Stack, uploaded: dict[str, str]
) -> None:
    body = {"model": "tiny", "training_file": "rows", **fields}
    for name in ("training_file", "validation_file"):
        body[name] = uploaded.get(str(body.get(name)), body.get(name))
    assert refused(stack.post(JOBS, body), 400) == (param, code)


def test_several_faults_are_named_at_once(stack: Stack) -> None:
    answer = stack.post(JOBS, {"model": 5, "seed": -1, "hyperparameters": {"n_epochs": 0, "batch_size": 0}})
    message = answer.json()["error"]["message"]
    for name in ("training_file", "model", "seed", "n_epochs", "batch_size"):
        assert name in message


def test_a_misspelt_option_is_told_the_right_one(stack: Stack, uploaded: dict[str, str]) -> None:
    body = {"model": "tiny", "training_file": uploaded["rows"], "switchyard": {"training": {"max_length_token": 512}}}
    assert "Did you mean 'max_length_tokens'?" in stack.post(JOBS, body).json()["error"]["message"]


@pytest.mark.parametrize("param", ["training_file", "validation_file"])
def test_a_file_that_is_not_there_or_another_tenants_is_none(
    param: str, stack: Stack, uploaded: dict[str, str]
) -> None:
    answers = []
    for file in (NO_FILE, uploaded["theirs"]):
        answer = stack.post(JOBS, {"model": "tiny", "training_file": uploaded["rows"], param: file})
        assert refused(answer, 404) == (param, "file_not_found")
        answers.append(answer.text.replace(file, "FILE"))
    assert answers[0] == answers[1]


@pytest.mark.parametrize("model", ["gpt-5", "globex/triage", "globex/triage@1.0", "acme/nothing", "acme/triage@9.9"])
def test_a_model_that_is_not_there_or_another_tenants_is_none(
    model: str, stack: Stack, uploaded: dict[str, str]
) -> None:
    answer = stack.post(JOBS, {"model": model, "training_file": uploaded["rows"]})
    assert refused(answer, 404) == ("model", "model_not_found")


def test_a_version_in_quarantine_is_not_gone_on_from(stack: Stack, uploaded: dict[str, str]) -> None:
    version = stack.house.publish("acme/bad")
    stack.house.registry.adapters.quarantine(version.id, "it lies")
    stack.wait_revision()
    answer = stack.post(JOBS, {"model": version.name, "training_file": uploaded["rows"]})
    assert refused(answer, 400) == ("model", "model_quarantined")


def test_a_key_without_the_scope_may_do_nothing(stack: Stack, uploaded: dict[str, str]) -> None:
    key = stack.house.key("acme", "inference", "base")
    stack.wait_revision()
    head = {"Authorization": f"Bearer {key}"}
    for method, path in (
        ("POST", JOBS),
        ("GET", JOBS),
        ("GET", f"{JOBS}/{NO_JOB}"),
        ("POST", f"{JOBS}/{NO_JOB}/cancel"),
        ("POST", f"{JOBS}/{NO_JOB}/pause"),
        ("POST", f"{JOBS}/{NO_JOB}/resume"),
        ("GET", f"{JOBS}/{NO_JOB}/events"),
        ("GET", f"{JOBS}/{NO_JOB}/checkpoints"),
        ("DELETE", "/v1/models/acme/triage"),
        ("POST", "/v1/fine_tuning/alpha/graders/run"),
    ):
        answer = stack.http.request(method, f"{stack.url}{path}", headers=head)
        assert refused(answer, 403)[1] == "missing_scope", path
        assert refused(stack.http.request(method, f"{stack.url}{path}"), 401)[1] == "missing_api_key", path


def test_another_tenants_job_is_none_everywhere(stack: Stack, uploaded: dict[str, str]) -> None:
    job = stack.post(JOBS, {"model": "tiny", "training_file": uploaded["rows"]}).json()["id"]
    head = {"Authorization": f"Bearer {stack.house.keys['globex']}"}
    for method, path in (
        ("GET", ""),
        ("POST", "/cancel"),
        ("POST", "/pause"),
        ("POST", "/resume"),
        ("GET", "/events"),
        ("GET", "/checkpoints"),
    ):
        texts = []
        for id_ in (job, NO_JOB):
            answer = stack.http.request(method, f"{stack.url}{JOBS}/{id_}{path}", headers=head)
            assert refused(answer, 404) == ("fine_tuning_job_id", "job_not_found")
            texts.append(answer.text.replace(id_, "ID"))
        assert texts[0] == texts[1]
    listed = stack.http.get(f"{stack.url}{JOBS}", headers=head, params={"limit": 100}).json()["data"]
    assert job not in {one["id"] for one in listed}
    after = stack.http.get(f"{stack.url}{JOBS}", headers=head, params={"after": job})
    assert refused(after, 404)[1] == "job_not_found"


@pytest.mark.parametrize("id_", ["x", "ftjob-" + "a" * 500, "%F0%9F%98%80"])
def test_what_no_id_can_be_is_none(id_: str, stack: Stack) -> None:
    head = {"Authorization": f"Bearer {stack.house.keys['acme']}"}
    answer = stack.http.get(f"{stack.url}{JOBS}/{id_}/events", headers=head)
    assert refused(answer, 404) == ("fine_tuning_job_id", "job_not_found")


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "101"}, "limit"),
        ({"metadata": "none"}, "metadata"),
        ({"metadata": "null", "metadata[k]": "v"}, "metadata"),
        ({"metadata[]": "v"}, "metadata"),
        ({"metadata[k]": "v" * 513}, "metadata"),
        ({f"metadata[{n}]": "v" for n in range(17)}, "metadata"),
    ],
)
def test_a_query_that_means_nothing_is_refused(query: dict[str, str], param: str, stack: Stack) -> None:
    head = {"Authorization": f"Bearer {stack.house.keys['acme']}"}
    answer = stack.http.get(f"{stack.url}{JOBS}", headers=head, params=query)
    assert refused(answer, 400) == (param, "invalid_value")


def test_a_tenant_with_too_many_jobs_is_told_so_and_not_to_try_again(stack: Stack, uploaded: dict[str, str]) -> None:
    most = stack.house.settings.max_unfinished_jobs_per_tenant
    answers = [
        stack.post(JOBS, {"model": "tiny", "training_file": uploaded["rows"], "seed": seed}) for seed in range(most + 1)
    ]
    assert [answer.status_code for answer in answers[:-1]] == [200] * most
    assert refused(answers[-1], 429)[1] == "rate_limit_exceeded"
    assert answers[-1].headers["x-should-retry"] == "false"
    theirs = {"model": "tiny", "training_file": uploaded["theirs"]}
    assert stack.post(JOBS, theirs, key="globex").status_code == 200


def test_without_the_database_a_client_is_told_to_come_back(stack: Stack) -> None:
    def rename(old: str, new: str) -> None:
        with stack.house.registry.db.write() as session:
            session.execute(text(f"ALTER TABLE {old} RENAME TO {new}"))

    head = {"Authorization": f"Bearer {stack.house.keys['acme']}"}
    rename("training_jobs", "away")
    try:
        answer = stack.http.get(f"{stack.url}{JOBS}", headers=head)
    finally:
        rename("away", "training_jobs")
    assert refused(answer, 503)[1] == "jobs_unavailable"
    assert answer.headers["retry-after"]
    assert stack.http.get(f"{stack.url}{JOBS}", headers=head).status_code == 200
