"""A candidate gets copies of a tenant's requests: with consent, beside them, on nobody's bill, and first to go."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from registry.db import now_ms
from registry.ledger.usage_report import report_usage
from registry.names import parse_ref
from tests.support.shadows import CANDIDATE, CONTROL, counted, pairs, running_copy, shadow, stream, told
from tests.support.stack import CHAT, MESSAGES, TEXT, Stack, open_house, run_stack
from tests.support.waiting import wait_until

BODIES: dict[str, dict[str, Any]] = {
    CHAT: {"messages": MESSAGES, "max_tokens": 6},
    TEXT: {"prompt": "My parcel is late.", "max_tokens": 6},
    "/v1/messages": {"messages": MESSAGES, "max_tokens": 6},
    "/v1/responses": {"input": "My parcel is late.", "max_output_tokens": 16, "store": True},
}


@pytest.fixture(scope="module")
def shadowed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with open_house(tmp_path_factory.mktemp("shadow")) as house:
        house.tenant("acme")
        house.publish("acme/triage")
        house.publish("acme/triage")
        house.point("acme/triage", "1.0")
        house.registry.tenants.change("acme", {"shadow_consent": True})
        house.registry.tariffs.add("tenant:acme", input_dollars="1000", output_dollars="2000", source="a test")
        with run_stack(house) as stack:
            yield stack


@pytest.fixture
def stack(shadowed: Stack) -> Iterator[Stack]:
    """Healthy before and after the test."""
    yield shadowed
    shadowed.heal()


def test_a_copy_is_found_from_either_side_and_is_on_no_tenants_bill(stack: Stack) -> None:
    house = stack.house
    with shadow(stack) as begun:
        answer = stack.chat("acme/triage")
        (pair,) = pairs(stack, begun, 1)
    request_id = answer.headers["x-request-id"]
    assert (pair.request_id, pair.cause, pair.endpoint) == (request_id, None, "chat")
    rows = wait_until("both rows", lambda: rows if len(rows := house.usage(request_id=request_id)) == 2 else None)
    control, candidate = sorted(rows, key=lambda row: bool(row["shadow"]))
    assert (control["attempt_id"], control["served_model"]) == (f"{request_id}-0", CONTROL)
    assert (candidate["attempt_id"], candidate["served_model"]) == (f"{request_id}-s0", CANDIDATE)
    assert candidate["cost_nano"] == pair.candidate["cost_nano"] > 0
    assert answer.json()["model"] == CONTROL
    assert pair.control["model"], pair.candidate["model"] == (CONTROL, CANDIDATE)
    assert pair.control["engine"] == pair.candidate["engine"] == stack.engine.url
    lines = {line.name: line for line in report_usage(house.registry.db, "tenant", until_ms=now_ms() + 1).lines}
    assert (lines["acme (shadow)"].payable, lines["acme (shadow)"].attempts) == (0, 1)
    spent = house.registry.spending.between(0, 1 << 62)["tenant:acme"]
    assert spent.nano == sum(row["cost_nano"] for row in house.usage(shadow=False))
    assert told(stack, begun).spent_nano == candidate["cost_nano"]
    house.registry.ledger.correct(candidate["attempt_id"], "a test", "test", {"cost_nano": 5})
    assert house.registry.spending.between(0, 1 << 62)["tenant:acme"].nano == spent.nano, "a correction is on no bill"
    metrics = stack.http.get(f"{stack.url}/metrics", headers=stack.operator).text
    assert 'switchyard_shadow_copies_total{result="paired"} 1.0' in metrics


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "document"])
@pytest.mark.parametrize("path", BODIES)
def test_every_dialect_that_writes_texts_is_compared(stack: Stack, path: str, stream: bool) -> None:
    with shadow(stack) as begun:
        answer = stack.post(path, {"model": "acme/triage", **BODIES[path], "stream": stream})
        assert answer.status_code == 200, answer.text
        (pair,) = pairs(stack, begun, 1)
    assert pair.cause is None
    assert pair.content is not None
    for side, said in ((pair.control, pair.content.control), (pair.candidate, pair.content.candidate)):
        assert side["outcome"] == "ok"
        assert said.text
        assert said.text.split()[0] in answer.text or side is pair.candidate
        assert side["chars"] == len(said.text)
        assert side["completion_tokens"] > 0
        assert side["finish_reason"]
        assert (side["ttft_ms"] is not None) == stream
        assert side["total_ms"] > 0
    assert pair.diff["exact"] == (pair.content.control == pair.content.candidate)
    assert 0 <= pair.diff["similarity"] <= 1


def test_the_copy_asks_what_the_request_asked_in_the_same_stream_mode(stack: Stack) -> None:
    with shadow(stack) as begun:
        stack.chat("acme/triage", stream=True, temperature=0.25, seed=7)
        (pair,) = pairs(stack, begun, 1)
    assert pair.content is not None
    assert pair.content.request["messages"] == MESSAGES
    assert (pair.content.request["temperature"], pair.content.request["stream"]) == (0.25, True)
    assert pair.candidate["ttft_ms"] is not None


def test_nothing_of_a_copy_is_stored_as_a_response_and_who_wants_nothing_stored_leaves_figures_alone(
    stack: Stack,
) -> None:
    responses = stack.house.registry.responses

    def stored() -> int:
        return sum(kept.responses for kept in responses.kept())

    before = stored()
    body = {"model": "acme/triage", "input": "Hello", "max_output_tokens": 16}
    with shadow(stack) as begun:
        first = stack.post("/v1/responses", body).json()
        pairs(stack, begun, 1)
        stack.post("/v1/responses", {**body, "store": False, "previous_response_id": first["id"]})
        kept, figures = pairs(stack, begun, 2)
    assert (kept.cause, figures.cause, stored()) == (None, None, before + 1)
    assert kept.content is not None
    assert figures.content is None
    assert figures.diff


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CHAT, {"model": "acme/triage@1.0", **BODIES[CHAT]}),
        ("/v1/responses", {"model": "acme/triage", "input": "Hello", "background": True, "max_output_tokens": 16}),
        ("/tokenize", {"model": "acme/triage", "prompt": "Hello"}),
    ],
    ids=["a version by its number", "in the background", "no text"],
)
def test_what_has_no_answer_to_compare_is_not_copied(stack: Stack, path: str, body: dict[str, Any]) -> None:
    with shadow(stack) as begun:
        assert stack.post(path, body).status_code == 200
        stack.chat("acme/triage")
        assert [pair.endpoint for pair in pairs(stack, begun, 1)] == ["chat"]
        assert counted(stack, begun, 1) == {"paired": 1}


def test_what_a_split_gives_to_the_candidate_is_not_copied_to_it(stack: Stack) -> None:
    stack.house.split("acme/triage", {"1.0": 5_000, "1.1": 5_000})
    with shadow(stack) as begun:
        arms = [
            stack.chat("acme/triage", headers={"X-Switchyard-Unit": str(unit)}).json()["model"] for unit in range(12)
        ]
        found = pairs(stack, begun, arms.count(CONTROL))
    stack.house.end_split("acme/triage")
    assert 0 < arms.count(CONTROL) < 12
    assert {pair.control["model"] for pair in found} == {CONTROL}
    assert told(stack, begun).counts == {"paired": arms.count(CONTROL)}


def test_nothing_is_copied_from_the_moment_on_at_which_consent_is_withdrawn(stack: Stack) -> None:
    tenants = stack.house.registry.tenants
    with shadow(stack) as begun:
        stack.chat("acme/triage")
        pairs(stack, begun, 1)
        tenants.change("acme", {"shadow_consent": False})
        stack.wait_revision()
        asked = stack.asked()
        stack.chat("acme/triage")
        assert stack.asked() == asked + 1
        tenants.change("acme", {"shadow_consent": True})
        stack.wait_revision()


def test_the_share_says_how_many_are_copied(stack: Stack) -> None:
    house = stack.gateway.house
    assert house is not None
    numbers = iter([0.05, 0.0999, 0.1, 0.5] * 2)
    house.copies._draw = lambda: next(numbers)
    with shadow(stack, share=1_000) as begun:
        for _ in range(8):
            stack.chat("acme/triage")
        assert len(pairs(stack, begun, 4)) == 4
        assert counted(stack, begun, 4) == {"paired": 4}
    house.copies._draw = lambda: 0.0


def test_a_shadow_sends_no_more_a_day_than_it_may(stack: Stack) -> None:
    with shadow(stack, requests_per_day=2) as begun:
        for number in range(4):
            stack.chat("acme/triage")
            counted(stack, begun, number + 1)
        assert counted(stack, begun, 4) == {"paired": 2, "requests_per_day": 2}
        assert told(stack, begun).sent_today == 2


def test_a_shadow_whose_dollars_are_spent_ends(stack: Stack) -> None:
    with shadow(stack, budget_nano=1) as begun:
        for number in range(9):  # what a worker is permitted at a time is sent
            stack.chat("acme/triage")
            counted(stack, begun, number + 1)
        ended = wait_until("its end", lambda: ended if (ended := told(stack, begun)).ended_at_ms else None)
        assert ended.counts == {"paired": 8, "budget": 1}
        assert ended.ended_why == "its budget of $0.000000001 is spent"


def test_a_candidate_that_refuses_or_fails_is_an_orphan_with_that_cause_and_no_client_notices(stack: Stack) -> None:
    folder = stack.house.registry.adapters.get(parse_ref(CANDIDATE)).manifest_digest.removeprefix("sha256:")
    with shadow(stack) as begun:
        stack.faults(refuse_folder=folder)
        assert stack.post(TEXT, {"model": "acme/triage", **BODIES[TEXT]}).status_code == 200
        (orphan,) = pairs(stack, begun, 1)
        assert (orphan.cause, orphan.control["outcome"], orphan.candidate["outcome"]) == ("rejected", "ok", "rejected")
        assert orphan.content is None


def test_a_client_that_leaves_ends_its_own_answer_and_not_the_copy(stack: Stack) -> None:
    stack.faults(token_ms=10)
    with shadow(stack) as begun:
        body = {"model": "acme/triage", "messages": MESSAGES, "max_tokens": 40, "min_tokens": 40, "stream": True}
        secret = stack.house.keys["acme"]
        with httpx.Client() as client:
            head = {"Authorization": f"Bearer {secret}"}
            with client.stream("POST", f"{stack.url}{CHAT}", json=body, headers=head) as answer:
                next(answer.iter_bytes())
        (orphan,) = pairs(stack, begun, 1)
    assert orphan.cause == "client_left"
    assert (orphan.control["outcome"], orphan.candidate["outcome"]) == ("client_aborted", "ok")
    assert orphan.candidate["completion_tokens"] == 40


def test_a_request_that_fails_is_no_pair(stack: Stack) -> None:
    with shadow(stack) as begun:
        stack.faults(fail_next=[400])
        assert stack.chat("acme/triage").status_code == 400
        assert counted(stack, begun, 1) == {"control_failed": 1}


def no_copy_runs(stack: Stack) -> None:
    """A worker says so, and that its request goes on."""
    hub, url = stack.controller.hub, stack.engine.url

    def alone() -> bool:
        copies = [link.copies for link in hub.links.values()]
        return copies == [{}] and hub.running_on(url) == 1

    wait_until("the request to run alone", alone)


def test_an_engine_that_is_drained_does_not_wait_for_copies(stack: Stack) -> None:
    drains = stack.house.registry.drains
    with shadow(stack) as begun:
        with running_copy(stack):
            drains.order(stack.engine.url, actor="test")
            no_copy_runs(stack)
            drains.lift(stack.engine.url)
        (orphan,) = pairs(stack, begun, 1)
    assert (orphan.cause, orphan.control["outcome"]) == ("engine_leaves", "ok")
    assert orphan.candidate["outcome"] == "client_aborted"
    stack.wait_ready()


def test_a_shadow_that_ends_ends_its_copies(stack: Stack) -> None:
    with shadow(stack) as begun:
        with running_copy(stack):
            stack.house.registry.shadows.end(begun.id, why="enough")
            no_copy_runs(stack)
        (orphan,) = pairs(stack, begun, 1)
    assert orphan.cause == "ended"


def test_consent_that_is_withdrawn_ends_copies_that_run_and_nothing_of_their_texts_is_kept(stack: Stack) -> None:
    tenants = stack.house.registry.tenants
    with shadow(stack) as begun:
        with running_copy(stack):
            tenants.change("acme", {"shadow_consent": False})
            assert told(stack, begun).ended_why == "the tenant does not consent any more", "without anybody's doing"
            no_copy_runs(stack)
        (orphan,) = pairs(stack, begun, 1)
        tenants.change("acme", {"shadow_consent": True})
        stack.wait_revision()
        kept = stack.house.registry.pairs.get(begun.id, orphan.request_id)
    assert (orphan.cause, orphan.content) == ("ended", None)
    assert kept is not None
    assert kept.content is None


def test_a_swap_does_not_wait_for_copies_of_the_version_that_the_alias_leaves(stack: Stack) -> None:
    house = stack.house
    with shadow(stack) as begun:
        house.point("acme/triage", "1.1", "canary")
        with running_copy(stack):
            assert house.promote("acme/triage", "1.0", "canary").state == "done"
            house.registry.shadows.end(begun.id, why="enough")


@pytest.fixture
def narrow(tmp_path: Path) -> Iterator[Stack]:
    """An engine that runs two requests at a time, and has room for two adapters besides the base's."""
    with open_house(tmp_path) as house:
        house.tenant("acme")
        for _ in range(3):
            house.publish("acme/triage")
        house.point("acme/triage", "1.0")
        house.registry.tenants.change("acme", {"shadow_consent": True})
        engine = {"max_cpu_loras": 4, "max_num_seqs": 3}
        with run_stack(house, engines=(engine,), engine_max_cpu_loras=4) as stack:
            yield stack


def test_copies_end_when_requests_wait_in_the_engine(narrow: Stack) -> None:
    house = narrow.gateway.house
    assert house is not None
    with shadow(narrow) as begun, ExitStack() as requests:
        requests.enter_context(running_copy(narrow))
        for _ in range(2):  # with the copy four, of which three have a place
            requests.enter_context(stream(narrow))
        wait_until("the end of copies", lambda: not house.fleet.in_flight.copies)
        requests.close()
        assert counted(narrow, begun, 1) == {"tenants_wait": 1}


def test_an_adapter_that_gets_copies_alone_makes_room_for_a_tenants(narrow: Stack) -> None:
    house = narrow.gateway.house
    assert house is not None
    with shadow(narrow) as begun:
        with running_copy(narrow):
            assert narrow.chat("acme/triage@1.2").status_code == 200
            resident = [engine.resident.keys() for engine in narrow.worker.view().engines]
        (orphan,) = pairs(narrow, begun, 1)
    assert orphan.cause == "adapter_leaves"
    ids = [house_version(narrow, number) for number in ("1.0", "1.1", "1.2")]
    assert [[one in held for one in ids] for held in resident] == [[True, False, True]]


def house_version(stack: Stack, number: str) -> int:
    return stack.house.registry.adapters.get(parse_ref(f"acme/triage@{number}")).id
