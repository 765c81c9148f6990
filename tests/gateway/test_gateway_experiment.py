"""An experiment on the request path: who is in it, what a unit is, and the base as an arm."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from gateway.explain import explain
from gateway.handoffs import Arm, Target, Unit
from gateway.splits.assignment import BUCKETS, draw_of, hash_of
from gateway.steps.assign import assign
from registry.catalog.snapshot import SplitArm, SplitPolicy
from registry.experiments.infos import Decision, ExperimentInfo
from registry.experiments.plan import Plan
from registry.names import parse_ref
from registry.splits.ranges import change, lay_out
from tests.support.assignment import bucket_of, choose
from tests.support.stack import House, Stack, open_house, run_stack
from tests.support.waiting import DEADLINE_S, wait_until

ADAPTER = parse_ref("acme/triage")
HALF: dict[str, Any] = {"ramp": [{"percent": 50}], "on_win": "ask"}
CONTROL = Arm("acme/triage@1.0", "sha256:b")
VECTORS = json.loads((Path(__file__).parent / "assignment_vectors.json").read_text())


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with open_house(tmp_path_factory.mktemp("lab")) as house:
        house.tenant("acme")
        for _ in range(2):
            house.publish("acme/triage")
        house.point("acme/triage", "1.0")
        with run_stack(house) as stack:
            yield stack


def begun(house: House, *treatments: str, **plan: Any) -> ExperimentInfo:
    """An experiment whose first step is in force."""
    document = {**HALF, **plan, "treatments": list(treatments)}
    made = house.registry.experiments.create(ADAPTER, Plan.of(document), actor="test")
    assert made.swap_id is not None
    assert house.finished(made.swap_id).state == "done"
    return house.registry.experiments.get(made.id)


@dataclass
class Begin:
    """Begins experiments, and ends them with the test."""

    lab: Stack
    running: list[ExperimentInfo] = field(default_factory=list)

    def __call__(self, *treatments: str, **plan: Any) -> ExperimentInfo:
        self.running.append(begun(self.lab.house, *treatments, **plan))
        self.lab.wait_revision()
        return self.running[-1]

    def end(self) -> None:
        stop = self.lab.house.registry.experiments.decide(self.running.pop().id, Decision("stop", "enough"))
        assert self.lab.house.finished(stop.swap_id or 0).state == "done"
        self.lab.wait_revision()


@pytest.fixture
def begin(lab: Stack) -> Iterator[Begin]:
    begin = Begin(lab)
    yield begin
    while begin.running:
        begin.end()


def answered(lab: Stack, unit: str, **more: Any) -> Any:
    answer = lab.chat("acme/triage", headers={"X-Switchyard-Unit": unit}, max_tokens=1, **more)
    assert answer.status_code == 200, answer.text
    return answer


def test_the_base_answers_its_share_for_a_key_without_its_scope_as_the_adapters(lab: Stack, begin: Begin) -> None:
    lab.house.registry.tariffs.add("adapter:acme/triage", input_dollars="1", output_dollars="1", source="test")
    running = begin("base")
    lab.wait_revision()
    answers = {f"u{number}": answered(lab, f"u{number}") for number in range(24)}
    models = Counter(answer.json()["model"] for answer in answers.values())
    assert set(models) == {"acme/triage@1.0", "tiny"}
    assert {unit: answered(lab, unit).json()["model"] for unit in answers} == {
        unit: answer.json()["model"] for unit, answer in answers.items()
    }
    by_base = next(answer for answer in answers.values() if answer.json()["model"] == "tiny")
    assert by_base.headers["x-switchyard-arm"] == "base"
    (row,) = lab.house.usage_of(by_base.headers["x-request-id"])
    assert (row["arm"], row["propensity"], row["split_id"]) == ("base", 0.5, running.splits[-1])
    assert (row["adapter_id"], row["version_id"], row["served_model"]) == (running.adapter_id, None, "tiny")
    assert row["cost_nano"] == row["prompt_tokens"] * 1_000 + row["completion_tokens"] * 1_000, "at the adapter's price"
    assert lab.chat("tiny").status_code == 403, "the key may not ask the base itself"


def other_key(lab: Stack) -> str:
    """The id of a new key of acme's, by which no test asks."""
    return lab.house.registry.tenants.create_key("acme").id


def test_who_is_not_in_the_audience_gets_the_control_unassigned(lab: Stack, begin: Begin) -> None:
    key_ids = {key.id for key in lab.house.registry.tenants.list_keys("acme")}
    begin("1.1", audience={"keys": list(key_ids), "metadata": {"plan": ["pro"]}})
    inside = [answered(lab, f"u{number}", metadata={"plan": "pro"}) for number in range(16)]
    outside = [answered(lab, f"u{number}", metadata={"plan": "free"}) for number in range(16)]
    assert {answer.json()["model"] for answer in inside} == {"acme/triage@1.0", "acme/triage@1.1"}
    assert all("x-switchyard-arm" in answer.headers for answer in inside)
    assert {answer.json()["model"] for answer in [*outside, answered(lab, "u0")]} == {"acme/triage@1.0"}
    assert not any("x-switchyard-arm" in answer.headers for answer in outside)
    (row,) = lab.house.usage_of(outside[0].headers["x-request-id"])
    assert (row["split_id"], row["arm"], row["unit_hash"]) == (None, None, None)


def test_a_key_outside_of_the_audience_has_no_part_in_it(lab: Stack, begin: Begin) -> None:
    begin("1.1", audience={"keys": [other_key(lab)]})
    assert {answered(lab, f"u{number}").json()["model"] for number in range(16)} == {"acme/triage@1.0"}


def test_units_that_are_held_out_are_so_in_every_experiment(lab: Stack, begin: Begin) -> None:
    def touched() -> set[str]:
        answers = {f"u{number}": answered(lab, f"u{number}") for number in range(40)}
        return {unit for unit, answer in answers.items() if "x-switchyard-arm" in answer.headers}

    first = begin("1.1", holdout_percent=30)
    by_first = touched()
    begin.end()
    second = begin("1.1", holdout_percent=30)
    assert first.salt != second.salt
    assert 15 <= len(by_first) < 40
    assert touched() == by_first


def test_a_unit_is_an_end_user_or_a_request_where_the_plan_says_so(lab: Stack, begin: Begin) -> None:
    running = begin("1.1", unit="end_user")
    salt = running.salt.encode()
    answers = [lab.chat("acme/triage", user=f"person-{number}", max_tokens=1) for number in range(16)]
    assert {answer.json()["model"] for answer in answers} == {"acme/triage@1.0", "acme/triage@1.1"}
    again = [lab.chat("acme/triage", user=f"person-{number}", max_tokens=2) for number in range(16)]
    assert [answer.json()["model"] for answer in again] == [answer.json()["model"] for answer in answers]
    (row,) = lab.house.usage_of(answers[0].headers["x-request-id"])
    assert (row["unit_source"], row["unit_hash"]) == ("end_user", hash_of(salt, "person-0").hex())
    (nameless,) = lab.house.usage_of(answered(lab, "u0").headers["x-request-id"])
    assert nameless["unit_source"] == "header"


def test_each_request_is_drawn_for_itself_where_the_plan_says_so(lab: Stack, begin: Begin) -> None:
    begin("1.1", unit="request")
    answers = [answered(lab, "the same") for _ in range(24)]
    assert {answer.json()["model"] for answer in answers} == {"acme/triage@1.0", "acme/triage@1.1"}
    rows = [lab.house.usage_of(answer.headers["x-request-id"])[0] for answer in answers]
    assert {row["unit_source"] for row in rows} == {"request"}
    assert len({row["unit_hash"] for row in rows}) == 24


def test_all_that_comes_in_one_window_of_the_clock_has_the_windows_arm_whoever_asks(lab: Stack, begin: Begin) -> None:
    running = begin("1.1", unit="window", window_s=5, metric={"name": "latency_p95"})
    for number in range(24):
        answer = answered(lab, f"u{number}")
        came_ms = int(answer.headers["x-request-id"][:12], 16)
        unit_hash = hash_of(running.salt.encode(), f"window:{came_ms // 5_000}")
        (row,) = lab.house.usage_of(answer.headers["x-request-id"])
        assert (row["unit_source"], row["unit_hash"], row["propensity"]) == ("window", unit_hash.hex(), 0.5)
        split = lab.house.registry.catalog().adapters["acme", "triage"].splits["production"]
        assert choose(split.ranges, bucket_of(unit_hash)).name == row["arm"] == answer.headers["x-switchyard-arm"]
    assert lab.house.registry.skews.alarming(running.splits[-1]) is None


@pytest.mark.parametrize("fallback", ["control", "none"])
def test_the_control_stands_in_for_a_treatment_that_cannot_be_served_if_the_plan_says_so(
    lab: Stack, begin: Begin, fallback: str
) -> None:
    begin("1.1", ramp=[{"percent": 100}], fallback=fallback)
    version = next(one for one in lab.house.registry.adapters.all("acme") if one.name == "acme/triage@1.1")
    lab.faults(fail_share=1.0, fail_share_with=version.manifest_digest[7:23])
    try:
        answer = lab.chat("acme/triage", headers={"X-Switchyard-Unit": "u"}, max_tokens=1)
    finally:
        lab.heal()
    rows = lab.house.usage_of(answer.headers["x-request-id"])
    assert {row["arm"] for row in rows} == {"1.1"}
    if fallback == "none":
        assert answer.status_code == 502
        return
    assert (answer.status_code, answer.json()["model"]) == (200, "acme/triage@1.0")
    assert (answer.headers["x-switchyard-model"], answer.headers["x-switchyard-arm"]) == ("acme/triage@1.0", "1.1")
    assert rows[-1]["served_model"] == "acme/triage@1.0", "another arm than its own: a fallback"
    assert [row["outcome"] for row in rows][-1] == "ok"
    assert len({row["attempt_id"] for row in rows}) == len(rows) >= 2


def test_who_stands_in_is_the_control_of_now_and_not_of_when_the_request_came(lab: Stack, begin: Begin) -> None:
    begin("1.1", ramp=[{"percent": 100}], fallback="control")
    lab.house.publish("acme/triage")
    version = next(one for one in lab.house.registry.adapters.all("acme") if one.name == "acme/triage@1.1")
    lab.faults(hold_with=version.manifest_digest[7:23])
    before = lab.asked()
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(lab.chat, "acme/triage", headers={"X-Switchyard-Unit": "u"}, max_tokens=1)
        wait_until("the treatment to be asked", lambda: lab.asked() > before)
        begin.end()
        lab.house.promote("acme/triage", "1.2")
        begin("1.1", ramp=[{"percent": 100}], fallback="control")
        lab.faults(hold_with="")
        answer = asked.result(DEADLINE_S)
    assert (answer.status_code, answer.json()["model"]) == (200, "acme/triage@1.2"), answer.text
    rows = lab.house.usage_of(answer.headers["x-request-id"])
    assert rows[-1]["served_model"] == "acme/triage@1.2"
    begin.end()
    lab.house.promote("acme/triage", "1.0")
    lab.wait_revision()


def test_explain_names_the_experiment_and_says_who_is_in_it(lab: Stack, begin: Begin) -> None:
    key = other_key(lab)
    running = begin("1.1", audience={"keys": [key], "metadata": {"plan": ["pro", "team"]}, "percent": 40})
    registry = lab.house.registry

    def told(unit: str | None) -> str:
        key = lab.house.keys["acme"]
        steps = explain("acme/triage", key, unit, registry.catalog(), registry.skews.alarming)
        return next(step.found for step in steps if step.step == "assign")

    said = told(None)
    assert f"split {running.splits[-1]}: 1.0 50 %, 1.1 50 %, by experiment {running.id} ({running.name})" in said
    assert f"for requests by keys {key}, with metadata plan pro or team, 40 % of units" in said
    assert told("u").endswith("unit 'u' gets acme/triage@1.0, and is not in the experiment")


def test_the_experiment_of_a_running_gateway_ramps_and_ends_by_promotion(lab: Stack) -> None:
    running = begun(lab.house, "1.1", ramp=[{"percent": 1}, {"percent": 100}])
    decide = lab.house.registry.experiments.decide
    assert lab.house.finished(decide(running.id, Decision("ramp", "")).swap_id or 0).state == "done"
    assert {answered(lab, f"u{number}").json()["model"] for number in range(8)} == {"acme/triage@1.1"}
    assert lab.house.finished(decide(running.id, Decision("promote", "")).swap_id or 0).state == "done"
    wait_until("it is served", lambda: lab.chat("acme/triage").json()["model"] == "acme/triage@1.1")
    assert lab.house.registry.experiments.get(running.id).state == "promoted"
    lab.house.promote("acme/triage", "1.0")


@pytest.mark.parametrize("vector", VECTORS["hashes"], ids=lambda vector: vector["unit"][:12] or "empty")
def test_a_units_hash_and_bucket_are_these_on_every_machine(vector: dict[str, Any]) -> None:
    unit_hash = hash_of(vector["salt"].encode(), vector["unit"])
    assert (unit_hash.hex(), bucket_of(unit_hash)) == (vector["hash"], vector["bucket"])


def placed(
    salt: bytes, ranges: Sequence[tuple[int, Any]], unit: str, policy: SplitPolicy | None = None
) -> tuple[Any, str] | None:
    """What a range stands for that has the unit, and the unit's hash; `None` where the policy leaves it out."""
    draw = draw_of(salt, ranges, policy)
    arm, unit_hash = assign(
        Target("a", None, None, None, None, None, draw=draw, unassigned=CONTROL), Unit(unit, "header")
    )
    return None if unit_hash is None else (arm, unit_hash)


def test_a_ramp_gives_these_units_these_arms_on_every_machine() -> None:
    ramp = VECTORS["ramp"]
    ranges, found = None, []
    for weights in ramp["weights"]:
        weighed = list(enumerate(weights))
        ranges = lay_out(weighed) if ranges is None else change(ranges, weighed)
        found.append([choose(ranges, bucket_of(hash_of(ramp["salt"].encode(), unit))) for unit in ramp["units"]])
        at_once = [placed(ramp["salt"].encode(), ranges, unit) for unit in ramp["units"]]
        hashes = [hash_of(ramp["salt"].encode(), unit).hex() for unit in ramp["units"]]
        assert at_once == list(zip(found[-1], hashes, strict=True))
    assert found == ramp["arms"]


def policy_of(audience: int, held_out: int) -> SplitPolicy:
    """Of so many buckets of units, without so many."""
    return SplitPolicy(
        experiment_id=1,
        experiment="one",
        unit="conversation",
        control=SplitArm("1.0", 5_000, 0.5, "acme/triage@1.0", "sha256:b", None),
        falls_back=False,
        keys=frozenset(),
        metadata=(),
        audience=audience,
        holdout=(b"holdout of adapter 1", held_out),
        for_all=False,
    )


def test_who_is_in_an_audience_is_so_on_every_machine() -> None:
    for vector in VECTORS["hashes"]:
        salt, unit = vector["salt"].encode(), vector["unit"]
        digest = sha256(salt + b"\0" + unit.encode()).digest()
        bucket = int.from_bytes(digest[16:24], "big") % BUCKETS
        found = [placed(salt, [(BUCKETS, "1.0")], unit, policy_of(most, 0)) for most in (bucket, bucket + 1)]
        assert found == [None, ("1.0", vector["hash"])]


def test_who_is_in_an_experiment_says_nothing_about_the_arm_and_a_part_of_the_audience_is_in_a_larger_one() -> None:
    units = [f"unit-{number}" for number in range(20_000)]
    in_part = {
        share: {unit for unit in units if placed(b"salt", [(BUCKETS, "1.0")], unit, policy_of(*share)) is not None}
        for share in ((5_000, 0), (8_000, 0), (BUCKETS, 1_000))
    }
    half, most, held = in_part[5_000, 0], in_part[8_000, 0], set(units) - in_part[BUCKETS, 1_000]
    assert half < most
    treated = {unit for unit in units if bucket_of(hash_of(b"salt", unit)) < 5_000}
    for part, share in ((half, 0.5), (most, 0.8), (held, 0.1)):
        assert abs(len(part) / len(units) - share) < 0.015
        assert abs(len(part & treated) / len(part) - 0.5) < 0.03
