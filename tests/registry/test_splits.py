"""Splits: what may be split, and whose conversation moves when weights change."""

from __future__ import annotations

from collections import Counter

import pytest

from gateway.splits.assignment import hash_of
from gateway.splits.units import DIGEST_BYTES
from registry.errors import InvalidInput, NotFound
from registry.names import parse_ref
from registry.splits.store import SplitInfo
from tests.registry.conftest import Shop
from tests.support.assignment import bucket_of, choose

TRIAGE = parse_ref("acme/triage")
UNITS = [f"conversation-{number}" for number in range(2000)]


@pytest.fixture
def served(shop: Shop) -> Shop:
    """Three versions, the first in production."""
    shop.versions(3)
    shop.promote("acme/triage@1.0")
    return shop


def arms_of(shop: Shop, split: SplitInfo) -> list[str]:
    """The version that each unit gets, as the catalog has it."""
    entry = shop.registry.catalog().adapters["acme", "triage"].splits["production"]
    assert entry.id == split.id
    return [choose(entry.ranges, bucket_of(hash_of(entry.salt, unit))).name for unit in UNITS]


def moved(before: list[str], after: list[str]) -> dict[tuple[str, str], float]:
    """From and to → percent of the units that went so."""
    went = Counter((old, new) for old, new in zip(before, after, strict=True) if old != new)
    return {way: count * 100 / len(UNITS) for way, count in went.items()}


def test_arms_are_in_the_order_of_versions_whatever_was_written_first(served: Shop) -> None:
    split = served.split({"1.2": 1000, "1.0": 9000})
    assert split.arms == (("1.0", 9000), ("1.2", 1000))
    assert (split.adapter, split.alias, split.ended_at_ms) == ("acme/triage", "production", None)


@pytest.mark.parametrize(
    "weights",
    [{}, {"1.0": 5000}, {"1.0": 5000, "1.1": 4999}, {"1.0": 5000, "1.1": 5001}, {"1.0": 11_000, "1.1": -1000}],
    ids=["none", "one version", "too little", "too much", "negative"],
)
def test_weights_must_be_of_two_versions_and_sum_to_the_whole(served: Shop, weights: dict[str, int]) -> None:
    with pytest.raises(InvalidInput, match=r"weights that sum to 100 %") as refused:
        served.split(weights)
    assert refused.value.param == "weights"
    assert served.registry.splits.history(TRIAGE) == []


def test_what_does_not_exist_is_not_split(served: Shop) -> None:
    with pytest.raises(NotFound, match=r"acme/triage@1\.9"):
        served.split({"1.0": 5000, "1.9": 5000})
    with pytest.raises(NotFound, match="acme/triage@canary"):
        served.split({"1.0": 5000, "1.1": 5000}, alias="canary")
    with pytest.raises(NotFound, match="globex/triage"):
        served.split({"1.0": 5000, "1.1": 5000}, ref=parse_ref("globex/triage"))
    with pytest.raises(InvalidInput, match="version is 'newest'"):
        served.split({"1.0": 5000, "newest": 5000})
    with pytest.raises(NotFound, match="is not split"):
        served.end_split()


def test_a_quarantined_version_gets_no_traffic(served: Shop) -> None:
    served.registry.adapters.quarantine(served.registry.adapters.get(parse_ref("acme/triage@1.1")).id, "no effect")
    with pytest.raises(InvalidInput, match=r"acme/triage@1\.1 is quarantined: no effect"):
        served.split({"1.0": 5000, "1.1": 5000})


def test_changing_weights_keeps_the_salt_and_moves_units_one_way_only(served: Shop) -> None:
    small = served.split({"1.0": 9000, "1.1": 1000})
    before = arms_of(served, small)
    large = served.split({"1.0": 6000, "1.1": 4000})
    after = arms_of(served, large)
    assert large.salt == small.salt
    assert set(moved(before, after)) == {("1.0", "1.1")}
    assert after.count("1.1") / len(UNITS) == pytest.approx(0.4, abs=0.04)


def test_of_three_arms_only_those_units_move_that_must(served: Shop) -> None:
    before = arms_of(served, served.split({"1.0": 5000, "1.1": 3000, "1.2": 2000}))
    after = arms_of(served, served.split({"1.0": 4000, "1.1": 3000, "1.2": 3000}))
    assert set(moved(before, after)) == {("1.0", "1.2")}
    assert moved(before, after)["1.0", "1.2"] == pytest.approx(10, abs=2.5)
    back = arms_of(served, served.split({"1.0": 5000, "1.1": 3000, "1.2": 2000}))
    assert back == before, "a change that is taken back takes all units back"


def test_an_arm_that_comes_or_goes_moves_only_its_own_units(served: Shop) -> None:
    two = arms_of(served, served.split({"1.0": 7000, "1.2": 3000}))
    three = arms_of(served, served.split({"1.0": 6000, "1.1": 1000, "1.2": 3000}))
    assert set(moved(two, three)) == {("1.0", "1.1")}
    gone = arms_of(served, served.split({"1.0": 6000, "1.2": 4000}))
    assert set(moved(three, gone)) == {("1.1", "1.2")}


def test_a_split_of_other_versions_draws_a_new_salt(served: Shop) -> None:
    first = served.split({"1.0": 5000, "1.1": 5000})
    second = served.split({"1.0": 5000, "1.2": 5000})
    assert second.salt != first.salt


def test_a_salt_and_a_derived_unit_are_one_block_of_sha256(served: Shop) -> None:
    block = 64 - 1 - 8  # what is left beside the end's mark and the length (FIPS 180-4, 5.1.1)
    split = served.split({"1.0": 5000, "1.1": 5000})
    assert len(f"{split.salt}\0{'u' * 2 * DIGEST_BYTES}") <= block


def test_a_new_split_of_the_alias_ends_the_old_one_and_all_are_remembered(served: Shop) -> None:
    served.promote("acme/triage@1.1", alias="canary")
    served.split({"1.0": 9000, "1.1": 1000})
    other = served.split({"1.1": 5000, "1.2": 5000}, alias="canary")
    second = served.split({"1.0": 5000, "1.1": 5000})
    ended = served.end_split()
    assert ended.id == second.id
    history = served.registry.splits.history(TRIAGE)
    assert [split.id for split in history if split.ended_at_ms is None] == [other.id]
    assert [split.arms for split in history if split.alias == "production"] == [
        (("1.0", 9000), ("1.1", 1000)),
        (("1.0", 5000), ("1.1", 5000)),
    ]
