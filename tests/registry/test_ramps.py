"""A split that begins, changes or ends is a swap: asked for by a row, in force with its flip, and kept as a record."""

from __future__ import annotations

import pytest

from registry.adapters.aliases import move_alias
from registry.errors import Conflict, InvalidInput, NotFound
from registry.names import parse_ref
from registry.swaps.following import follow
from registry.swaps.infos import DONE, FLIPPED, PRELOADING, REQUESTED, SwapArm, SwapInfo
from registry.swaps.report import report_swap
from tests.registry.conftest import TRIAGE, Shop

TENTH = {"1.0": 9000, "1.1": 1000}


@pytest.fixture
def served(shop: Shop) -> Shop:
    """Three versions, the first in production."""
    shop.versions(3)
    shop.promote("acme/triage@1.0")
    return shop


def asked(shop: Shop) -> SwapInfo:
    return shop.registry.swaps.request_ramp(TRIAGE, TENTH, actor="someone", reason="a first tenth")


def split_now(shop: Shop) -> dict[str, int]:
    """Weights of the split that production has now, by version."""
    split = shop.registry.catalog().adapters["acme", "triage"].splits.get("production")
    return {arm.name: arm.weight for arm in split.arms} if split else {}


def test_a_ramp_changes_nothing_before_its_flip_and_never_moves_the_alias(served: Shop) -> None:
    swap = asked(served)
    first, second = (served.registry.adapters.get(parse_ref(f"acme/triage@{number}")) for number in ("1.0", "1.1"))
    assert (swap.kind, swap.state, swap.to_version) == ("ramp", REQUESTED, "acme/triage@1.0")
    assert swap.arms == (SwapArm(first.name, first.id, 9000), SwapArm(second.name, second.id, 1000))
    assert swap.goal == "1.0 90 %, 1.1 10 %"
    served.registry.swaps.advance(swap.id, PRELOADING)
    assert split_now(served) == {}
    revision = served.registry.swaps.flip(swap.id)
    assert split_now(served) == TENTH
    flipped = served.registry.swaps.get(swap.id)
    (split,) = served.registry.splits.history(TRIAGE)
    assert (flipped.state, flipped.arms) == (FLIPPED, swap.arms)
    assert (flipped.detail["split"], flipped.detail["ended_split"]) == (split.id, None)
    assert flipped.detail["revision"] == revision == served.registry.db.catalog_revision()
    assert len(served.registry.adapters.history(TRIAGE)) == 1, "the promote of the fixture, and no other move"


def test_new_weights_and_the_end_of_a_split_are_records_of_their_own(served: Shop) -> None:
    small, large = served.split(TENTH), served.split({"1.0": 5000, "1.1": 5000})
    ended = served.end_split()
    assert ended.id == large.id
    assert split_now(served) == {}
    end, change, begin, promote = served.registry.swaps.recent(10, TRIAGE)
    assert [swap.kind for swap in (end, change, begin, promote)] == ["ramp", "ramp", "ramp", "move"]
    assert {swap.state for swap in (end, change, begin)} == {DONE}
    assert (begin.detail["split"], begin.detail["ended_split"]) == (small.id, None)
    assert (change.detail["split"], change.detail["ended_split"]) == (large.id, small.id)
    assert "split" not in end.detail
    assert end.detail["ended_split"] == large.id
    assert [(arm.version, arm.weight) for arm in end.arms] == [("acme/triage@1.0", 10_000)]
    assert promote.arms == end.arms
    assert "no gateway was running, so the split changed at once" in end.detail["note"]


def test_the_report_of_a_ramp_has_no_old_version_to_be_late_on(served: Shop) -> None:
    served.split(TENTH)
    (swap, _) = served.registry.swaps.recent(2, TRIAGE)
    report = report_swap(served.registry.db, swap.id)
    assert (report.swap, report.late_on_old, report.left_on_old, report.drain_s) == (swap, None, None, None)


def test_one_change_of_an_alias_runs_at_a_time_whatever_its_kind(served: Shop) -> None:
    running = asked(served)
    still = f"swap {running.id} of acme/triage@production is still 'requested'"
    with pytest.raises(Conflict, match=still):
        asked(served)
    with pytest.raises(Conflict, match=still):
        served.registry.swaps.request(parse_ref("acme/triage@1.1"), actor="someone")
    assert follow(served.registry, running, timeout_s=0).state == DONE
    ending = served.registry.swaps.request_ramp_end(TRIAGE, actor="someone")
    with pytest.raises(Conflict, match=f"swap {ending.id} of"):
        served.registry.swaps.request_ramp_end(TRIAGE, actor="someone")
    with pytest.raises(Conflict, match=f"swap {ending.id} of"):
        asked(served)


@pytest.mark.parametrize("bad", ["1.0", "1.1"])
def test_a_ramp_is_not_flipped_when_an_arm_was_quarantined_meanwhile(served: Shop, bad: str) -> None:
    served.split({"1.0": 5000, "1.2": 5000})
    swap = asked(served)
    served.registry.adapters.quarantine(served.registry.adapters.get(parse_ref(f"acme/triage@{bad}")).id, "it swears")
    with pytest.raises(Conflict, match=rf"acme/triage@{bad} was quarantined meanwhile: it swears"):
        served.registry.swaps.flip(swap.id)
    assert served.registry.swaps.get(swap.id) == swap
    (split,) = served.registry.splits.history(TRIAGE)
    assert split.ended_at_ms is None


def test_a_ramp_loses_against_an_alias_that_has_moved_meanwhile(served: Shop) -> None:
    swap = asked(served)
    second = served.registry.adapters.get(parse_ref("acme/triage@1.1"))
    with served.registry.db.write() as session:
        move_alias(
            session,
            adapter_id=1,
            alias="production",
            to_version_id=second.id,
            expected_etag=1,
            actor="quick",
            reason="",
        )
    with pytest.raises(Conflict, match="moved by somebody else"):
        served.registry.swaps.flip(swap.id)
    assert split_now(served) == {}


def test_a_rollback_while_the_alias_is_split_ends_the_split_and_goes_no_further_back(shop: Shop) -> None:
    shop.versions(3)
    shop.promote("acme/triage@1.0")
    shop.promote("acme/triage@1.1")
    shop.split({"1.1": 9000, "1.2": 1000})
    swap = shop.registry.swaps.request_rollback(parse_ref("acme/triage"), actor="test")
    assert (swap.kind, [(arm.version, arm.weight) for arm in swap.arms]) == ("ramp", [("acme/triage@1.1", 10_000)])
    shop.registry.swaps.flip(swap.id)
    shop.registry.swaps.advance(swap.id, "done")
    back = shop.registry.swaps.request_rollback(parse_ref("acme/triage"), actor="test")
    assert (back.kind, back.to_version) == ("move", "acme/triage@1.0")


def test_a_split_does_not_end_onto_a_version_that_is_quarantined(served: Shop) -> None:
    served.split({"1.1": 5000, "1.2": 5000})
    served.registry.adapters.quarantine(served.registry.adapters.get(parse_ref("acme/triage@1.0")).id, "it swears")
    with pytest.raises(InvalidInput, match=r"acme/triage@1\.0 is quarantined: it swears") as refused:
        served.end_split()
    assert refused.value.param == "alias"
    assert split_now(served) == {"1.1": 5000, "1.2": 5000}
    assert served.split({"1.1": 1000, "1.2": 9000}).arms == (("1.1", 1000), ("1.2", 9000)), "weights may change"


def test_nothing_is_ended_where_nothing_is_split(served: Shop) -> None:
    with pytest.raises(NotFound, match="acme/triage@production is not split"):
        served.registry.swaps.request_ramp_end(TRIAGE, actor="someone")
    assert served.registry.swaps.pending() == []


def test_while_a_gateway_lives_whoever_follows_leaves_the_ramp_to_it(served: Shop) -> None:
    served.registry.workers.report("a-gateway", "http://127.0.0.1:8000", 0)
    told: list[str] = []
    swap = follow(served.registry, asked(served), 0.2, lambda swap: told.append(swap.state))
    assert (swap.state, told) == (REQUESTED, [REQUESTED])
    assert split_now(served) == {}
