"""Sticky, weighted splits of an alias."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from openai import OpenAI
from openai.types.responses import Response

from gateway.explain import explain
from gateway.splits.assignment import BUCKETS, hash_of
from registry.names import AdapterRef
from registry.splits.ranges import Ranges, lay_out
from registry.splits.skew import LEAST_REQUESTS
from registry.swaps.report import report_swap
from tests.support.assignment import bucket_of, choose
from tests.support.stack import CHAT, House, Stack, open_house, run_stack
from tests.support.waiting import wait_until

TRIAGE = AdapterRef("acme", "triage", None, "production")
UNITS = [f"user-{number}" for number in range(2_000)]


@pytest.fixture(scope="module")
def split_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with open_house(tmp_path_factory.mktemp("split")) as house:
        house.tenant("acme")
        for _ in range(3):
            house.publish("acme/triage")
        house.point("acme/triage", "1.0")
        with run_stack(house) as stack:
            yield stack


@pytest.fixture
def halves(split_stack: Stack) -> Iterator[Stack]:
    """Production is split evenly between 1.0 and 1.1."""
    split_stack.house.split("acme/triage", {"1.0": 5_000, "1.1": 5_000})
    yield split_stack
    split_stack.house.end_split("acme/triage")


def arm_of(stack: Stack, unit: str) -> str:
    answer = stack.chat("acme/triage", headers={"X-Switchyard-Unit": unit})
    assert answer.status_code == 200, answer.text
    model: str = answer.json()["model"]
    assert answer.headers["x-switchyard-model"] == model
    assert model == f"acme/triage@{answer.headers['x-switchyard-arm']}"
    return model


def test_a_unit_named_in_the_header_stays_on_its_arm(halves: Stack) -> None:
    arms = {unit: arm_of(halves, unit) for unit in UNITS[:24]}
    assert set(arms.values()) == {"acme/triage@1.0", "acme/triage@1.1"}
    assert {unit: arm_of(halves, unit) for unit in UNITS[:24]} == arms
    whole = halves.chat("acme/triage", headers={"X-Switchyard-Unit": UNITS[0]}, stream=True)
    assert f'"model":"{arms[UNITS[0]]}"' in whole.text


def test_a_conversation_stays_on_its_arm_whatever_it_says(halves: Stack) -> None:
    key = halves.house.keys["acme"]
    with OpenAI(base_url=f"{halves.url}/v1", api_key=key, max_retries=0) as client:
        arms: dict[str, set[str]] = {}
        for conversation in (f"c-{number}" for number in range(12)):
            for text in ("Hello", "And now?", "Bye"):
                answer = client.chat.completions.create(
                    model="acme/triage",
                    messages=[{"role": "user", "content": text}],
                    max_tokens=1,
                    metadata={"conversation_id": conversation},
                )
                arms.setdefault(conversation, set()).add(answer.model)
    assert all(len(models) == 1 for models in arms.values())
    assert len(set.union(*arms.values())) == 2


def test_without_any_name_a_conversation_is_known_by_its_first_turn(halves: Stack) -> None:
    def models(first: str) -> set[str]:
        turns = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": first}]
        later = [*turns, {"role": "assistant", "content": "Yes?"}, {"role": "user", "content": "More."}]
        answers = [halves.post(CHAT, {"model": "acme/triage", "messages": said}) for said in (turns, later)]
        return {str(answer.json()["model"]) for answer in answers}

    found = [models(f"question {number}") for number in range(12)]
    assert all(len(one) == 1 for one in found)
    assert len(set.union(*found)) == 2


def test_few_shot_traffic_is_split_by_its_weights_and_every_conversation_of_it_stays(split_stack: Stack) -> None:
    split_stack.house.split("acme/triage", {"1.0": 9_000, "1.1": 1_000})
    shots = [
        {"role": "system", "content": "Sort."},
        {"role": "user", "content": "Charged twice."},
        {"role": "assistant", "content": "billing"},
    ]

    def answered(messages: list[dict[str, str]]) -> str:
        answer = split_stack.post(CHAT, {"model": "acme/triage", "messages": messages, "max_tokens": 1})
        return str(answer.json()["model"])

    first: Counter[str] = Counter()
    for number in range(120):
        turn = [*shots, {"role": "user", "content": f"ticket {number}"}]
        first[model := answered(turn)] += 1
        if number % 10 == 0:
            assert answered([*turn, {"role": "assistant", "content": "x"}, turn[1]]) == model
    split_stack.house.end_split("acme/triage")
    assert 2 <= first["acme/triage@1.1"] <= 30


def test_a_split_with_one_unit_too_many_is_told_of_in_explain_in_its_swap_and_in_metrics(split_stack: Stack) -> None:
    house = split_stack.house
    swap = house.split("acme/triage", {"1.0": 5_000, "1.1": 5_000})
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: split_stack.chat("acme/triage", max_tokens=1), range(LEAST_REQUESTS)))
    skew = wait_until("the skew is noted", lambda: house.registry.skews.alarming(swap.detail["split"]))
    assert skew.share == 1.0
    steps = explain("acme/triage", house.keys["acme"], None, house.registry.catalog(), house.registry.skews.alarming)
    assert "one unit is 100%" in next(step.found for step in steps if step.step == "warning")
    assert report_swap(house.registry.db, swap.id).skew == skew
    assert (
        "switchyard_split_largest_unit_ratio 1.0"
        in httpx.get(f"{split_stack.url}/metrics", headers=split_stack.operator).text
    )
    house.end_split("acme/triage")


def test_the_arm_how_likely_it_was_and_the_unit_with_where_it_came_from_are_in_the_usage_row(halves: Stack) -> None:
    split = halves.house.registry.splits.history(TRIAGE)[-1]
    by_header = halves.chat("acme/triage", headers={"X-Switchyard-Unit": "u"})
    by_name = halves.chat("acme/triage", metadata={"conversation_id": "u"})
    by_turn = halves.chat("acme/triage")
    not_split = halves.chat("acme/triage@1.2")
    sources, hashes = [], []
    for answer in (by_header, by_name, by_turn):
        row = halves.house.usage_of(answer.headers["x-request-id"])[0]
        sources.append(row["unit_source"])
        assert row["split_id"] == split.id
        assert row["arm"] == answer.headers["x-switchyard-arm"]
        assert row["served_model"] == answer.json()["model"]
        version = halves.house.registry.catalog().versions_by_id[row["version_id"]]
        assert (version.name, version.adapter_id) == (row["served_model"], row["adapter_id"])
        assert (row["propensity"], row["shadow"]) == (0.5, False)
        hashes.append(row["unit_hash"])
    assert hashes[0] == hashes[1] == hash_of(split.salt.encode(), "u").hex() != hashes[2]
    assert sources == ["header", "conversation_id", "first_turn"]
    assert by_header.json()["model"] == by_name.json()["model"], "the unit is the same, wherever it was found"
    row = halves.house.usage_of(not_split.headers["x-request-id"])[0]
    assert (row["split_id"], row["arm"], row["unit_source"], row["propensity"], row["unit_hash"]) == (None,) * 5
    assert "x-switchyard-arm" not in not_split.headers


def test_a_stored_conversation_stays_on_the_arm_of_its_first_turn(halves: Stack) -> None:
    key = halves.house.keys["acme"]
    with OpenAI(base_url=f"{halves.url}/v1", api_key=key, max_retries=0) as client:

        def turn(text: str, unit: str | None = None, **fields: Any) -> Response:
            headers = {} if unit is None else {"X-Switchyard-Unit": unit}
            answer: Response = client.responses.create(
                model="acme/triage", input=text, max_output_tokens=16, extra_headers=headers, **fields
            )
            return answer

        arms = []
        for number in range(10):
            made = client.conversations.create()
            chained, within = turn(f"Hello {number}"), turn(f"Hello {number}", conversation=made.id)
            arms.append(chained.model)
            for text in ("And now?", "Bye"):
                again = turn(text, previous_response_id=chained.id)
                assert again.model == chained.model
                assert turn(text, conversation=made.id).model == within.model
                chained = again
        assert set(arms) == {"acme/triage@1.0", "acme/triage@1.1"}
        (row,) = halves.house.usage_of(chained.id.removeprefix("resp_"))
        assert row["unit_source"] == "stored"
        moved = next(unit for unit in UNITS if arm_of(halves, unit) != chained.model)
        by_header = turn("Elsewhere", moved, previous_response_id=chained.id)
        assert by_header.model != chained.model
        assert turn("And there", previous_response_id=by_header.id).model == by_header.model


def test_a_stored_conversation_that_began_before_its_split_stays_together(halves: Stack) -> None:
    halves.house.end_split("acme/triage")
    key = halves.house.keys["acme"]
    with OpenAI(base_url=f"{halves.url}/v1", api_key=key, max_retries=0) as client:
        roots = [client.responses.create(model="acme/triage", input="Hello", max_output_tokens=16) for _ in range(12)]
        halves.house.split("acme/triage", {"1.0": 5_000, "1.1": 5_000})
        arms: dict[str, set[str]] = {}
        for root in roots:
            for text in ("And now?", "Bye"):
                answer = client.responses.create(
                    model="acme/triage", input=text, max_output_tokens=16, previous_response_id=root.id
                )
                arms.setdefault(root.id, set()).add(answer.model)
    assert all(len(models) == 1 for models in arms.values())
    assert len(set.union(*arms.values())) == 2


def test_a_version_named_directly_is_never_split(halves: Stack) -> None:
    for unit in UNITS[:12]:
        answer = halves.chat("acme/triage@1.0", headers={"X-Switchyard-Unit": unit})
        assert answer.json()["model"] == "acme/triage@1.0"


def test_a_ramp_moves_units_towards_the_treatment_only(split_stack: Stack) -> None:
    units = UNITS[:30]
    treated: set[str] = set()
    for weight in (1_000, 5_000, 10_000):
        split_stack.house.split("acme/triage", {"1.0": 10_000 - weight, "1.1": weight})
        now = {unit for unit in units if arm_of(split_stack, unit) == "acme/triage@1.1"}
        assert treated <= now
        treated = now
    assert treated == set(units)
    split_stack.house.end_split("acme/triage")
    assert split_stack.chat("acme/triage").json()["model"] == "acme/triage@1.0"


def test_a_quarantined_arm_gives_all_its_units_to_the_aliass_own_version(house: House) -> None:
    house.publish("acme/triage")
    bad = house.publish("acme/triage")
    house.point("acme/triage", "1.0")
    house.split("acme/triage", {"1.0": 5_000, "1.1": 5_000})
    with run_stack(house) as stack:
        arms = {unit: arm_of(stack, unit) for unit in UNITS[:12]}
        house.registry.adapters.quarantine(bad.id, "it was found bad")
        stack.wait_revision()
        loads = stack.state()["loads"]
        assert set(arms.values()) == {"acme/triage@1.0", "acme/triage@1.1"}
        for unit in arms:
            answer = stack.chat("acme/triage", headers={"X-Switchyard-Unit": unit})
            assert answer.json()["model"] == "acme/triage@1.0"
            assert "x-switchyard-arm" not in answer.headers
        assert stack.chat("acme/triage@1.1").json()["error"]["code"] == "model_quarantined"
        assert stack.state()["loads"] == loads


# The pure part


def laid_out(weights: list[int]) -> Ranges:
    return lay_out(list(enumerate(weights)))


@pytest.mark.parametrize("weights", [[9_000, 1_000], [5_000, 5_000], [3_333, 3_333, 3_334], [9_990, 10]])
def test_weights_are_respected_over_two_thousand_units(weights: list[int]) -> None:
    ranges = laid_out(weights)
    counts = Counter(choose(ranges, bucket_of(hash_of(b"salt", unit))) for unit in UNITS)
    for index, weight in enumerate(weights):
        share = weight / BUCKETS
        spread = (len(UNITS) * share * (1 - share)) ** 0.5
        assert abs(counts[index] - len(UNITS) * share) < 4 * spread + 1


def test_every_bucket_belongs_to_one_arm_and_arms_of_weight_zero_to_none() -> None:
    ranges = laid_out([0, 2_500, 0, 7_500, 0])
    counts = Counter(choose(ranges, bucket) for bucket in range(BUCKETS))
    assert counts == {1: 2_500, 3: 7_500}
    with pytest.raises(ValueError, match="5000 buckets have an owner"):
        laid_out([5_000])


def test_moving_weight_to_the_last_arm_moves_units_to_it_and_no_other_way() -> None:
    last: dict[str, int] = dict.fromkeys(UNITS, 0)
    for weight in range(0, 10_001, 500):
        ranges = laid_out([10_000 - weight, weight])
        now = {unit: choose(ranges, bucket_of(hash_of(b"salt", unit))) for unit in UNITS}
        assert all(now[unit] >= last[unit] for unit in UNITS)
        last = now
    assert set(last.values()) == {1}


def test_another_salt_draws_anew_and_the_hash_is_the_documented_one() -> None:
    one = [bucket_of(hash_of(b"one", unit)) < 5_000 for unit in UNITS]
    two = [bucket_of(hash_of(b"two", unit)) < 5_000 for unit in UNITS]
    agree = sum(a == b for a, b in zip(one, two, strict=True))
    assert abs(agree - 1_000) < 100
    assert bucket_of(hash_of(b"salt", "user-0")) == 9387  # sha256(b"salt\0user-0")[:8] mod 10,000
