"""Experiments: what may begin, what follows from a decision, and what routes when it does."""

from __future__ import annotations

from typing import Any

import pytest

from registry.errors import Conflict, GateClosed, InvalidInput, NotFound, Stale
from registry.experiments.infos import Decision, ExperimentInfo
from registry.experiments.plan import Plan
from registry.gates.policy import Policy
from registry.names import parse_ref
from registry.swaps.following import follow
from registry.swaps.infos import DONE, FAILED
from tests.registry.conftest import TRIAGE, Shop

ADAPTER = parse_ref("acme/triage")


@pytest.fixture
def served(shop: Shop) -> Shop:
    """Three versions, the first in production."""
    shop.versions(3)
    shop.promote("acme/triage@1.0")
    return shop


def plan(*treatments: str, **more: Any) -> Plan:
    return Plan.of({"treatments": list(treatments or ["1.1"]), **more})


def begun(shop: Shop, *treatments: str, **more: Any) -> ExperimentInfo:
    """An experiment whose first step is in force."""
    made = shop.registry.experiments.create(ADAPTER, plan(*treatments, **more), actor="someone")
    return carried_out(shop, made)


def carried_out(shop: Shop, experiment: ExperimentInfo) -> ExperimentInfo:
    """The experiment after the swap that it has asked for."""
    now = shop.registry.experiments.get(experiment.id)
    assert now.moving
    assert now.swap_id is not None
    swap = follow(shop.registry, shop.registry.swaps.get(now.swap_id), timeout_s=0)
    assert swap.state == DONE, swap.detail
    return shop.registry.experiments.get(experiment.id)


def decided(shop: Shop, experiment: ExperimentInfo, kind: Any, **more: Any) -> ExperimentInfo:
    """The experiment after a decision that moves traffic."""
    shop.registry.experiments.decide(experiment.id, Decision(kind, "because", **more))
    return carried_out(shop, experiment)


def shares(shop: Shop) -> dict[str, int]:
    """Weights of the split that production has now, by arm."""
    split = shop.registry.catalog().adapters["acme", "triage"].splits.get("production")
    return {arm.name: arm.weight for arm in split.arms} if split else {}


def test_an_experiment_is_a_draft_until_its_first_step_routes(served: Shop) -> None:
    made = served.registry.experiments.create(ADAPTER, plan(), actor="someone")
    assert (made.state, made.step, made.moving, made.started_at_ms) == ("draft", -1, True, None)
    assert (made.name, made.plan.control, made.weights) == ("experiment-1", "1.0", {})
    assert shares(served) == {}
    running = carried_out(served, made)
    assert (running.state, running.step, running.moving) == ("running", 0, False)
    assert running.started_at_ms is not None
    assert running.weights == shares(served) == {"1.0": 9900, "1.1": 100}
    assert [info.id for info in served.registry.experiments.under_way()] == [made.id]
    (split,) = served.registry.splits.history(TRIAGE)
    assert (split.id, split.salt, split.experiment_id) == (running.splits[0], running.salt, made.id)


def test_a_ramp_keeps_the_salt_and_moves_units_to_treatments_only(served: Shop) -> None:
    running = begun(served, "1.1", "1.2")
    before = served.registry.catalog().adapters["acme", "triage"].splits["production"]
    running = decided(served, running, "ramp", step=2)
    after = served.registry.catalog().adapters["acme", "triage"].splits["production"]
    assert shares(served) == {"1.0": 7500, "1.1": 1250, "1.2": 1250}
    assert before.salt == after.salt == running.salt.encode()
    assert len(running.splits) == 2
    owners = [dict(_owners(entry.ranges)) for entry in (before, after)]
    moved = {(owners[0][bucket], owners[1][bucket]) for bucket in range(10_000)}
    assert {way for way in moved if way[0] != way[1]} == {("1.0", "1.1"), ("1.0", "1.2")}
    with pytest.raises(InvalidInput, match="step is 1, and the ramp is at 2 of 0 to 4; it goes up only"):
        served.registry.experiments.decide(running.id, Decision("ramp", "", step=1))


def _owners(ranges: Any) -> Any:
    since = 0
    for until, arm in ranges:
        yield from ((bucket, arm.name) for bucket in range(since, until))
        since = until


def test_a_promotion_moves_the_alias_and_ends_the_experiment_in_its_flip(served: Shop) -> None:
    running = begun(served)
    decision = served.registry.experiments.decide(running.id, Decision("promote", "better by 2 points"))
    assert served.registry.experiments.get(running.id).state == "running", "the swap has not flipped"
    ended = carried_out(served, running)
    assert (ended.state, ended.weights, shares(served)) == ("promoted", {}, {})
    assert ended.ended_at_ms is not None
    assert served.registry.catalog().adapters["acme", "triage"].aliases["production"].number == "1.1"
    swap = served.registry.swaps.get(decision.swap_id or 0)
    assert swap.detail["experiment"]["id"] == running.id
    assert served.registry.adapters.history(ADAPTER)[-1].reason == "better by 2 points"


@pytest.mark.parametrize(("kind", "state"), [("rollback", "rolled_back"), ("stop", "stopped")])
def test_a_rollback_and_a_stop_give_all_traffic_to_the_control_and_say_which_it_was(
    served: Shop, kind: str, state: str
) -> None:
    ended = decided(served, begun(served), kind)
    assert (ended.state, ended.weights, shares(served)) == (state, {}, {})
    last = served.registry.experiments.decisions(ended.id)[-1]
    assert (last.to_state, last.weights) == (state, {"1.0": 10_000})
    assert served.registry.catalog().adapters["acme", "triage"].aliases["production"].number == "1.0"
    with pytest.raises(Conflict, match=f"is {state}, so there is no resume now; it has ended"):
        served.registry.experiments.decide(ended.id, Decision("resume", ""))


def test_a_paused_experiment_keeps_its_arms_and_decides_nothing(served: Shop) -> None:
    running = begun(served)
    experiments = served.registry.experiments
    experiments.decide(running.id, Decision("pause", "lunch"))
    assert (experiments.get(running.id).state, shares(served)) == ("paused", running.weights)
    assert [info.id for info in experiments.under_way()] == [running.id]
    for kind in ("ramp", "hold", "inconclusive", "pause"):
        with pytest.raises(Conflict, match=f"is paused, so there is no {kind} now; what can follow: resume, promote"):
            experiments.decide(running.id, Decision(kind, ""))
    experiments.decide(running.id, Decision("resume", "back"))
    experiments.decide(running.id, Decision("inconclusive", "the budget is used up"))
    assert (experiments.get(running.id).state, shares(served)) == ("inconclusive", running.weights)
    assert experiments.get(running.id).ended_at_ms is None


def test_a_pause_while_a_ramp_is_under_way_stays_a_pause(served: Shop) -> None:
    running = begun(served)
    served.registry.experiments.decide(running.id, Decision("ramp", "on"))
    served.registry.experiments.decide(running.id, Decision("pause", "wait"))
    now = carried_out(served, running)
    assert (now.state, now.step, shares(served)["1.1"]) == ("paused", 1, 500)


def test_a_stop_that_keeps_leaves_the_split_to_people(served: Shop) -> None:
    running = begun(served)
    served.registry.experiments.decide(running.id, Decision("stop", "enough", keep=True))
    ended = served.registry.experiments.get(running.id)
    assert (ended.state, ended.ended_at_ms is not None) == ("stopped", True)
    assert shares(served) == {"1.0": 9900, "1.1": 100}
    assert served.split({"1.0": 5000, "1.1": 5000}).salt == running.salt, "its units stay where they are"
    for kind in ("resume", "stop", "promote", "rollback"):
        with pytest.raises(Conflict, match=f"experiment 1 is stopped, so there is no {kind} now; it has ended"):
            served.registry.experiments.decide(running.id, Decision(kind, "again"))


def test_a_plan_is_completed_for_a_simulation_while_another_one_runs(served: Shop) -> None:
    begun(served, holdout_percent=5.0)
    with pytest.raises(Conflict):
        served.registry.experiments.preview(ADAPTER, plan("1.2"))
    assert served.registry.experiments.completed(ADAPTER, plan("1.2")).arms == ("1.0", "1.2")


def test_while_an_experiment_runs_nobody_moves_the_traffic_by_hand(served: Shop) -> None:
    running = begun(served)
    swaps = served.registry.swaps
    refusal = r"experiment 1 \('experiment-1'\) of acme/triage@production is running and decides.*stop 1` ends it"
    assert running.id == 1
    with pytest.raises(Conflict, match=refusal):
        swaps.request(parse_ref("acme/triage@1.1"), actor="someone")
    with pytest.raises(Conflict, match=refusal):
        swaps.request_rollback(ADAPTER, actor="someone")
    with pytest.raises(Conflict, match=refusal):
        swaps.request_ramp(ADAPTER, {"1.0": 5000, "1.1": 5000}, actor="someone")
    with pytest.raises(Conflict, match=refusal):
        swaps.request_ramp_end(ADAPTER, actor="someone")
    with pytest.raises(Conflict, match=refusal):
        served.registry.experiments.create(ADAPTER, plan("1.2"), actor="someone")
    assert swaps.request(parse_ref("acme/triage@1.2"), alias="canary", actor="someone").state == "requested"


def test_an_experiment_does_not_begin_on_an_alias_that_is_split_or_moving(served: Shop) -> None:
    served.split({"1.0": 5000, "1.1": 5000})
    with pytest.raises(Conflict, match=r"is split by hand \(split 1\).*adapters split acme/triage --end` first"):
        served.registry.experiments.create(ADAPTER, plan(), actor="someone")
    served.end_split()
    swap = served.registry.swaps.request(parse_ref("acme/triage@1.1"), actor="someone")
    with pytest.raises(Conflict, match=f"swap {swap.id} of acme/triage@production is still 'requested'"):
        served.registry.experiments.create(ADAPTER, plan("1.2"), actor="someone")
    assert served.registry.experiments.page(None, 10) == [], "what could not begin is not there"


def test_a_swap_that_fails_leaves_the_experiment_as_it_was_with_a_line_in_its_log(served: Shop) -> None:
    made = served.registry.experiments.create(ADAPTER, plan(), actor="someone")
    assert made.swap_id is not None
    served.registry.swaps.advance(made.swap_id, FAILED, error="no engine")
    now = served.registry.experiments.get(made.id)
    assert (now.state, now.step, now.moving) == ("draft", -1, False)
    start, failed = served.registry.experiments.decisions(made.id)
    assert (start.kind, start.to_state, start.weights) == ("start", "running", {"1.0": 9900, "1.1": 100})
    assert (failed.kind, failed.from_state, failed.to_state) == ("failed", "draft", "draft")
    assert failed.reason == f"swap {made.swap_id} of the start failed: no engine"
    assert decided(served, made, "start").state == "running"


def test_a_draft_waits_for_its_start_and_can_be_given_up(served: Shop) -> None:
    experiments = served.registry.experiments
    made = experiments.create(ADAPTER, plan(), actor="someone", draft=True, name="first")
    assert (made.state, made.moving, made.decisions) == ("draft", False, 0)
    served.promote("acme/triage@1.2")
    with pytest.raises(Conflict, match=r"points at 1\.2 by now, and the control is 1\.0; create another"):
        experiments.decide(made.id, Decision("start", ""))
    experiments.decide(made.id, Decision("stop", "given up", actor="someone"))
    assert experiments.get(made.id).state == "stopped"
    with pytest.raises(Conflict, match="experiment 'first' of acme/triage exists already"):
        experiments.create(ADAPTER, plan(), actor="someone", draft=True, name="first")


def test_the_base_can_be_an_arm_and_never_the_winner(served: Shop) -> None:
    running = begun(served, "base")
    assert (running.plan.on_win, running.weights) == ("ask", {"1.0": 9900, "base": 100})
    entry = served.registry.catalog().adapters["acme", "triage"].splits["production"]
    arm = entry.arms[1]
    assert (arm.name, arm.public_name, arm.version) == ("base", "tiny", None)
    assert arm.base_digest == running.arms[1].digest == served.registry.catalog().bases["tiny"].digest
    with pytest.raises(InvalidInput, match="version is 'base', which no alias can point at"):
        served.registry.experiments.decide(running.id, Decision("promote", ""))
    assert served.registry.adapters.aliases(ADAPTER)[0].arms == {"acme/triage@1.0": 9900, "acme/triage@base": 100}


def test_a_plain_split_can_have_the_base_too(served: Shop) -> None:
    split = served.split({"1.0": 9000, "base": 1000})
    assert split.arms == (("base", 1000), ("1.0", 9000))
    assert shares(served) == {"base": 1000, "1.0": 9000}


def test_a_gate_stops_a_treatment_without_a_certificate_at_half_of_the_traffic(served: Shop) -> None:
    served.registry.gates.set(ADAPTER, Policy("label_exact"), alias="production", actor="someone")
    running = begun(served)
    running = decided(served, running, "ramp", step=3)
    assert shares(served)["1.1"] == 5000
    with pytest.raises(GateClosed, match=r"acme/triage@1\.1 has no certificate"):
        served.registry.experiments.decide(running.id, Decision("ramp", ""))
    with pytest.raises(GateClosed, match=r"acme/triage@1\.1 has no certificate"):
        served.registry.experiments.decide(running.id, Decision("promote", ""))
    promoted = decided(served, running, "promote", override="the judge is wrong", actor="someone")
    assert promoted.state == "promoted"
    assert served.registry.actions.page(None, 10)[0].action == "gate.overridden"


def test_what_is_not_there_or_cannot_be_is_refused(served: Shop) -> None:
    create = served.registry.experiments.create
    with pytest.raises(NotFound, match=r"there is no acme/triage@1\.9"):
        create(ADAPTER, plan("1.9"), actor="someone")
    with pytest.raises(InvalidInput, match=r"treatments have '1\.0', which acme/triage@production points at already"):
        create(ADAPTER, plan("1.0"), actor="someone")
    with pytest.raises(InvalidInput, match=r"control is '1\.2', and acme/triage@production points at 1\.0"):
        create(ADAPTER, plan("1.1", control="1.2"), actor="someone")
    with pytest.raises(NotFound, match="acme/triage@canary points at nothing yet"):
        create(ADAPTER, plan(), alias="canary", actor="someone")
    with pytest.raises(InvalidInput, match="name is '12'; an experiment's has"):
        create(ADAPTER, plan(), actor="someone", name="12")
    served.registry.adapters.quarantine(served.registry.adapters.get(parse_ref("acme/triage@1.2")).id, "it swears")
    with pytest.raises(InvalidInput, match=r"acme/triage@1\.2 is quarantined: it swears"):
        create(ADAPTER, plan("1.2"), actor="someone")


def test_an_experiment_whose_control_is_quarantined_says_how_it_can_end(served: Shop) -> None:
    running = begun(served)
    served.registry.adapters.quarantine(served.registry.adapters.get(parse_ref("acme/triage@1.0")).id, "it swears")
    assert [arm.quarantined for arm in served.registry.experiments.get(running.id).arms] == ["it swears", None]
    for kind in ("rollback", "stop"):
        with pytest.raises(InvalidInput, match=r"control 1\.0 is quarantined: it swears; promote a treatment, or"):
            decided(served, running, kind)
    assert decided(served, running, "promote").state == "promoted"


def test_keys_of_an_audience_are_the_tenants_own(served: Shop) -> None:
    create, tenants = served.registry.experiments.create, served.registry.tenants
    mine, revoked, others = (tenants.create_key(name) for name in ("acme", "acme", "globex"))
    tenants.revoke_key(revoked.id)
    for key in (revoked.id, others.id, mine.secret):
        with pytest.raises(InvalidInput, match="is the id of no key of acme's") as refused:
            create(ADAPTER, plan(audience={"keys": [key]}), actor="someone")
        assert key not in str(refused.value)
    running = begun(served, audience={"keys": [mine.id]})
    tenants.revoke_key(mine.id)
    assert decided(served, running, "ramp").step == 1, "a key that is revoked later is in nobody's way"


def test_experiments_of_one_adapter_hold_the_same_units_out(served: Shop) -> None:
    served.promote("acme/triage@1.2", alias="canary")
    begun(served, holdout_percent=5.0)
    create = served.registry.experiments.create
    with pytest.raises(Conflict, match="holdout_percent is 0, and 5 in experiment 1 of the same adapter"):
        create(ADAPTER, plan("1.1"), alias="canary", actor="someone")
    assert create(ADAPTER, plan("1.1", holdout_percent=5.0), alias="canary", actor="someone").name == "experiment-2"


def test_an_experiment_is_found_by_id_adapter_and_name(served: Shop) -> None:
    experiments = served.registry.experiments
    first = decided(served, begun(served), "stop")
    second = experiments.create(ADAPTER, plan(), actor="someone", name="again", draft=True)
    third = experiments.create(ADAPTER, plan("1.2"), actor="someone", draft=True)
    assert experiments.find(str(first.id)) == first
    assert experiments.find("acme/triage:again") == second
    assert experiments.find("acme/triage") == third
    experiments.decide(third.id, Decision("stop", ""))
    assert experiments.find("acme/triage") == second, "the newest that has not ended"
    assert [info.id for info in experiments.page(third.id, 10, ref=ADAPTER)] == [second.id, first.id]
    assert experiments.page(None, 10, tenant="globex") == []
    for name in ("77", "acme/triage:nothing"):
        with pytest.raises(NotFound, match=f"there is no experiment '{name}'"):
            experiments.find(name)
    with pytest.raises(InvalidInput, match="expected its id, tenant/adapter, or tenant/adapter:NAME"):
        experiments.find("nonsense")


def test_who_decides_on_what_is_no_longer_so_is_told(served: Shop) -> None:
    running = begun(served)
    with pytest.raises(Stale, match=f"experiment {running.id} is not as it was read any more"):
        served.registry.experiments.decide(running.id, Decision("pause", ""), expected={"0"})
    assert served.registry.experiments.decide(running.id, Decision("pause", ""), expected={running.etag}).seq == 2
    lease = served.registry.leadership.acquire("me", "here")
    assert lease is not None
    with pytest.raises(Conflict, match="was succeeded by"):
        served.registry.experiments.decide(running.id, Decision("resume", ""), fence=lease.token + 1)
