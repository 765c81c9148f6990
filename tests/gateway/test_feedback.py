"""Feedback by the official clients and by hand: to the answer of every dialect, once, and to one's own alone."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from anthropic import Anthropic
from openai import OpenAI

from gateway.api.request_ids import new_id
from gateway.feedback.body import FIELDS, MOST_PIECES
from gateway.splits.assignment import hash_of
from registry.names import parse_ref
from registry.outcomes.said import Subject
from registry.outcomes.subjects import Subjects
from tests.clients.page import snippets
from tests.live.installation import ROOT
from tests.support.stack import MESSAGES, Stack, open_house, run_stack
from tests.support.waiting import DEADLINE_S, wait_until

FEEDBACK = "/v1/feedback"


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Two tenants; the traffic of acme's triage is split."""
    with open_house(tmp_path_factory.mktemp("feedback")) as house:
        house.tenant("acme")
        house.tenant("globex")
        house.keys["acme+base"] = house.key("acme", "inference", "base")
        for _ in range(2):
            house.publish("acme/triage")
        house.point("acme/triage", "1.0")
        house.publish("acme/plain")
        house.point("acme/plain", "1.0")
        with run_stack(house) as stack:
            house.split("acme/triage", {"1.0": 5_000, "1.1": 5_000})
            yield stack


@pytest.fixture
def client(split: Stack) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{split.url}/v1", api_key=split.house.keys["acme"], max_retries=0) as client:
        yield client


def give(stack: Stack, body: dict[str, Any], key: str = "acme", **headers: str) -> httpx.Response:
    return stack.post(FEEDBACK, body, key, headers)


def answered(stack: Stack, **body: Any) -> str:
    """The id of an answer whose usage is in the ledger."""
    answer = stack.chat("acme/triage", **body)
    assert answer.status_code == 200, answer.text
    stack.house.usage_of(answer.headers["x-request-id"])
    return str(answer.json()["id"])


def error_of(answer: httpx.Response) -> tuple[int, str | None, str | None]:
    error = answer.json()["error"]
    return answer.status_code, error["code"], error["param"]


def test_the_official_client_gives_feedback_to_an_answer_that_it_has_just_got(split: Stack, client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model="acme/triage", messages=MESSAGES, max_tokens=4, extra_headers={"X-Switchyard-Unit": "u-1"}
    )
    said = {"response_id": answer.id, "metric": "solved", "value": True, "comment": "Thanks!"}
    given = client.post("/feedback", body=said, cast_to=dict[str, Any])
    assert (given["object"], given["metric"], given["value"], given["comment"]) == (
        "feedback",
        "solved",
        True,
        "Thanks!",
    )
    assert given["request_id"] in answer.id
    assert given["arm"] == answer.model.partition("@")[2]
    row = split.house.usage_of(given["request_id"])[0]
    assert (row["unit_hash"], row["arm"]) == (given["unit_hash"], given["arm"])
    rows = split.house.registry.outcomes.after(row["adapter_id"], 0)
    (outcome,) = [one for one in rows if one.request_id == given["request_id"]]
    assert (outcome.source, outcome.value, outcome.split_id) == ("feedback", 1.0, row["split_id"])


def test_ids_of_every_dialect_lead_to_the_request(split: Stack, client: OpenAI) -> None:
    model: dict[str, Any] = {"model": "acme/triage"}
    found = [
        client.chat.completions.create(**model, messages=MESSAGES, max_tokens=2).id,
        client.completions.create(**model, prompt="a", max_tokens=2).id,
        client.responses.create(**model, input="a", max_output_tokens=2).id,
    ]
    with client.chat.completions.create(**model, messages=MESSAGES, max_tokens=2, stream=True) as stream:
        found.append([chunk.id for chunk in stream][-1])
    named = client.chat.completions.with_raw_response.create(
        **model, messages=MESSAGES, max_tokens=2, extra_headers={"X-Client-Request-Id": "my own/name"}
    )
    found += [named.parse().id, named.headers["x-request-id"]]
    with Anthropic(base_url=split.url, api_key=split.house.keys["acme"], max_retries=0) as anthropic:
        found.append(anthropic.messages.create(**model, messages=MESSAGES, max_tokens=2).id)
    assert [id_.partition("-")[0].partition("_")[0] for id_ in found[:3]] == ["chatcmpl", "cmpl", "resp"]
    assert found[-1].startswith("msg_")
    for id_ in found:
        given = give(split, {"response_id": id_, "metric": "solved", "value": 1})
        assert given.status_code == 200, (id_, given.text)
        assert given.json()["request_id"] in id_


def test_an_answer_of_a_base_model_may_have_feedback_too(split: Stack) -> None:
    answer = split.chat("tiny", key="acme+base").json()
    given = give(split, {"response_id": answer["id"], "metric": "solved", "value": 0.5}).json()
    assert (given["arm"], given["unit_hash"], given["value"]) == (None, None, 0.5)


def test_feedback_that_is_sent_again_is_stored_once_and_other_words_under_its_key_are_refused(split: Stack) -> None:
    id_ = answered(split)
    key = secrets.token_hex(8)
    body = {"response_id": id_, "metric": "stars", "value": 4, "idempotency_key": key}
    first = give(split, body).json()
    by_header = {name: value for name, value in body.items() if name != "idempotency_key"}
    again = [give(split, body).json() for _ in range(20)]
    again.append(give(split, by_header, **{"Idempotency-Key": key}).json())
    assert {one["id"] for one in again} == {first["id"]}
    assert [first["replayed"], *{one["replayed"] for one in again}] == [False, True]
    refused = give(split, {**body, "value": 5})
    assert error_of(refused) == (409, "idempotency_key_reused", "idempotency_key")
    assert refused.headers["x-should-retry"] == "false"
    listed = split.http.get(f"{split.url}{FEEDBACK}?request_id={first['request_id']}", headers=bearer(split)).json()
    assert [one["id"] for one in listed["data"]] == [first["id"]]


def bearer(stack: Stack, key: str = "acme") -> dict[str, str]:
    return {"Authorization": f"Bearer {stack.house.keys[key]}"}


def test_an_unknown_answer_and_another_tenants_are_the_same_404(split: Stack) -> None:
    mine = answered(split)
    old = f"chatcmpl-{'0' * 32}"
    told = []
    for id_, key in ((old, "acme"), (mine, "globex"), ("chatcmpl-xyz", "acme"), ("resp_", "acme")):
        answer = give(split, {"response_id": id_, "metric": "solved", "value": 1}, key)
        assert error_of(answer) == (404, "response_not_found", "response_id")
        told.append(answer.json()["error"]["message"].replace(id_, "…"))
    assert len(set(told)) == 1


def test_an_id_that_is_young_is_waited_for_a_moment(split: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.feedback.box.LONGEST_WAIT_S", 0.3)
    looks: list[set[str]] = []
    asked = Subjects.of_requests

    def looking(subjects: Subjects, tenant: str, ids: set[str]) -> dict[str, Subject]:
        looks.append(ids)
        return asked(subjects, tenant, ids)

    monkeypatch.setattr(Subjects, "of_requests", looking)
    for id_, is_young in ((new_id(), True), ("0" * 32, False)):
        looks.clear()
        assert give(split, {"response_id": id_, "metric": "solved", "value": 1}).status_code == 404
        assert (len(looks) > 1) is is_young


@pytest.mark.parametrize("unit", ["user-7", "Zoë → 7"])
def test_a_unit_is_known_by_the_name_that_its_requests_had(split: Stack, unit: str) -> None:
    answer = split.chat("acme/triage", headers={"X-Switchyard-Unit": unit.encode()})  # type: ignore[dict-item]
    row = split.house.usage_of(answer.headers["x-request-id"])[0]
    given = give(split, {"unit": unit, "model": "triage", "metric": "solved", "value": False}).json()
    assert (given["unit_hash"], given["request_id"], given["value"]) == (row["unit_hash"], None, False)


def test_a_unit_is_the_same_in_the_header_in_latin_1_and_in_metadata(split: Stack) -> None:
    rows = []
    for headers, metadata in (
        ({"X-Switchyard-Unit": "Zoë".encode()}, {}),
        ({"X-Switchyard-Unit": "Zoë".encode("latin-1")}, {}),
        ({}, {"conversation_id": "Zoë"}),
    ):
        answer = split.chat("acme/triage", headers=headers, metadata=metadata)  # type: ignore[arg-type]
        rows.append(split.house.usage_of(answer.headers["x-request-id"])[0]["unit_hash"])
    assert len(set(rows)) == 1


def test_a_unit_needs_an_alias_that_was_split(split: Stack) -> None:
    for model, code in (
        ("acme/plain", "no_units"),
        ("acme/triage@1.0", "no_units"),
        ("globex/x", "model_not_found"),
        ("nothing", "model_not_found"),
    ):
        answer = give(split, {"unit": "u", "model": model, "metric": "solved", "value": 1})
        assert answer.json()["error"]["code"] == code, answer.text
        assert answer.json()["error"]["param"] == "model"


def test_a_unit_is_known_after_its_split_has_ended(split: Stack) -> None:
    house = split.house
    house.publish("acme/late")
    house.publish("acme/late")
    house.point("acme/late", "1.0")
    house.split("acme/late", {"1.0": 5_000, "1.1": 5_000})
    house.end_split("acme/late")
    salt = house.registry.splits.history(parse_ref("acme/late"))[-1].salt.encode()
    given = wait_until("the model", lambda: _ok(split, {"unit": "u", "model": "late", "metric": "solved", "value": 1}))
    assert given["unit_hash"] == hash_of(salt, "u").hex()


def _ok(stack: Stack, body: dict[str, Any]) -> dict[str, Any] | None:
    answer = give(stack, body)
    return answer.json() if answer.status_code == 200 else None


def test_many_pieces_are_stored_all_or_none(split: Stack) -> None:
    id_ = answered(split)
    good = [{"response_id": id_, "metric": f"m{number}", "value": number} for number in range(3)]
    answer = give(split, {"feedback": good}, **{"Idempotency-Key": "b1"})
    assert [one["metric"] for one in answer.json()["data"]] == ["m0", "m1", "m2"]
    assert all(one["replayed"] for one in give(split, {"feedback": good}, **{"Idempotency-Key": "b1"}).json()["data"])
    other = [{**good[0], "metric": "fresh"}, {**good[1], "value": 7, "idempotency_key": "b1/1"}]
    assert error_of(give(split, {"feedback": other})) == (
        409,
        "idempotency_key_reused",
        "feedback[1].idempotency_key",
    )
    missing = [{**good[0], "metric": "fresh"}, {**good[1], "response_id": f"chatcmpl-{'0' * 32}"}]
    assert error_of(give(split, {"feedback": missing})) == (404, "response_not_found", "feedback[1].response_id")
    assert not split.http.get(f"{split.url}{FEEDBACK}?metric=fresh", headers=bearer(split)).json()["data"]


BAD: list[tuple[dict[str, Any], str, str]] = [
    ({"metric": None}, "metric", "missing_required_parameter"),
    ({"metric": "Solved!"}, "metric", "invalid_value"),
    ({"metric": "refusal"}, "metric", "invalid_value"),
    ({"metric": 3}, "metric", "invalid_type"),
    ({"value": None}, "value", "missing_required_parameter"),
    ({"value": [1]}, "value", "invalid_type"),
    ({"value": 1e300}, "value", "invalid_value"),
    ({"value": "x" * 300}, "value", "invalid_value"),
    ({"value": ""}, "value", "invalid_value"),
    ({"comment": "x" * 3_000}, "comment", "invalid_value"),
    ({"comment": 1}, "comment", "invalid_type"),
    ({"idempotency_key": "a b"}, "idempotency_key", "invalid_value"),
    ({"response_id": None}, "response_id", "missing_required_parameter"),
    ({"response_id": 7}, "response_id", "invalid_type"),
    ({"unit": "u", "model": "triage"}, "response_id", "invalid_value"),
    ({"response_id": None, "unit": "u"}, "model", "missing_required_parameter"),
    ({"response_id": None, "unit": "u" * 300, "model": "triage"}, "unit", "invalid_value"),
    ({"stars": 4}, "stars", "unknown_parameter"),
]


@pytest.mark.parametrize(("change", "param", "code"), BAD)
def test_what_is_wrong_is_named_by_its_field(split: Stack, change: dict[str, Any], param: str, code: str) -> None:
    body = {"response_id": f"chatcmpl-{'0' * 32}", "metric": "solved", "value": 1, **change}
    assert error_of(give(split, body)) == (400, code, param)
    if param in FIELDS:
        assert error_of(give(split, {"feedback": [body]})) == (400, code, f"feedback[0].{param}")


def test_a_list_of_pieces_is_a_list_of_a_few_objects(split: Stack) -> None:
    piece = {"response_id": "x", "metric": "solved", "value": 1}
    for body, param in (
        ({"feedback": []}, "feedback"),
        ({"feedback": {}}, "feedback"),
        ({"feedback": [1]}, "feedback[0]"),
        ({"feedback": [piece] * (MOST_PIECES + 1)}, "feedback"),
        ({"feedback": [piece], "value": 1}, "value"),
        ({"feedback": [{**piece, "stars": 1}]}, "feedback[0].stars"),
    ):
        answer = give(split, body)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param), answer.text


def test_a_header_and_a_field_that_disagree_are_refused(split: Stack) -> None:
    body = {"response_id": "x", "metric": "solved", "value": 1, "idempotency_key": "a"}
    assert error_of(give(split, body, **{"Idempotency-Key": "b"})) == (400, "invalid_value", "idempotency_key")
    assert error_of(give(split, body, **{"Idempotency-Key": "b c"})) == (400, "invalid_value", "Idempotency-Key")


def test_a_key_without_inference_gives_no_feedback(split: Stack) -> None:
    split.house.keys["trainer"] = split.house.key("acme", "training")
    split.wait_revision()
    assert error_of(give(split, {"metric": "x", "value": 1}, "trainer"))[:2] == (403, "missing_scope")
    assert give(split, {}, "nobody").status_code == 401


def test_a_tenant_with_as_much_feedback_as_is_kept_is_told_so(split: Stack) -> None:
    house = split.gateway.house
    assert house is not None
    id_ = answered(split)
    object.__setattr__(house.feedback, "most", 0)
    try:
        answer = give(split, {"response_id": id_, "metric": "solved", "value": 1})
    finally:
        object.__setattr__(house.feedback, "most", 1_000_000)
    assert error_of(answer) == (429, "feedback_full", None)
    assert answer.headers["x-should-retry"] == "false"


def test_a_page_of_feedback_is_the_tenants_own(split: Stack) -> None:
    id_ = answered(split)
    for number in range(3):
        give(split, {"response_id": id_, "metric": "paged", "value": f"label {number}"}).raise_for_status()
    url = f"{split.url}{FEEDBACK}?metric=paged&limit=2"
    first = split.http.get(url, headers=bearer(split)).json()
    assert ([one["value"] for one in first["data"]], first["has_more"]) == (["label 2", "label 1"], True)
    rest = split.http.get(f"{url}&after={first['data'][-1]['id']}", headers=bearer(split)).json()
    assert ([one["value"] for one in rest["data"]], rest["has_more"]) == (["label 0"], False)
    assert split.http.get(url, headers=bearer(split, "globex")).json()["data"] == []


def test_the_client_raises_what_it_is_told(client: OpenAI) -> None:
    body = {"response_id": f"resp_{'0' * 32}", "metric": "solved", "value": True}
    with pytest.raises(openai.NotFoundError) as refused:
        client.post("/feedback", body=body, cast_to=dict[str, Any])
    assert refused.value.code == "response_not_found"


def test_feedback_is_found_where_clients_may_look_for_it(split: Stack) -> None:
    id_ = answered(split)
    for path in ("/feedback", "/v1/v1/feedback/", "/openai/v1/feedback"):
        answer = split.post(path, {"response_id": id_, "metric": "solved", "value": 1})
        assert answer.status_code == 200, path


def test_the_snippets_of_the_page_run_as_they_stand(
    split: Stack, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", f"{split.url}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", split.house.keys["acme"])
    python, bash = snippets(ROOT / "docs" / "feedback.md")
    exec(compile(python.code, "docs/feedback.md", "exec"), {})
    subprocess.run(["bash", "-ec", bash.code], check=True, timeout=DEADLINE_S)
    said = capfd.readouterr().out
    assert "'metric': 'solved', 'value': True" in said
    assert '"metric":"stars","value":4.0' in said


@pytest.mark.parametrize("name", ["metric", "request_id", "after"])
def test_a_nul_character_in_a_question_is_refused_whatever_the_database(split: Stack, name: str) -> None:
    headers = {"Authorization": f"Bearer {split.house.keys['acme']}"}
    answer = httpx.get(f"{split.url}{FEEDBACK}?{name}=%00", headers=headers, timeout=DEADLINE_S)
    assert error_of(answer) == (400, "invalid_value", name)
