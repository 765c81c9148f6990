"""How many answers are looked at, of heavy traffic."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import cast

from gateway.api.dialects import DIALECTS
from gateway.bytes_in_flight import HeldBytes
from gateway.handoffs import Arm, Assignment, Call, Target
from gateway.scoring.scorer import MOST_A_SECOND, Scorer
from registry.catalog.snapshot import SplitArm, SplitEntry, SplitPolicy, VersionEntry
from registry.outcomes.store import Outcomes

VERSION = VersionEntry(1, "acme/a@1.0", "acme", "a", "1.0", "m", "b", None, 0, adapter_id=7)


async def _nothing(_held: HeldBytes) -> bytes:
    return b""


def test_of_an_adapter_only_so_many_answers_are_looked_at_in_a_second_whatever_their_arm() -> None:
    arms = [Arm("tiny", "b", None, Assignment(3, name, 0.5)) for name in ("1.0", "1.1")]
    policy = SplitPolicy(
        5,
        "x",
        "conversation",
        SplitArm("1.0", 5_000, 0.5, "tiny", "b", None),
        False,
        frozenset(),
        (),
        0,
        (b"", 0),
        True,
    )
    about = Target("a", None, None, VERSION, "production", SplitEntry(3, b"salt", (), (), policy))
    other = about._replace(version=replace(VERSION, adapter_id=VERSION.adapter_id + 1))
    call = Call(DIALECTS["chat"], None, None, _nothing, "0" * 32, "0" * 32)
    now_s, counted = [100.0], Counter[str]()
    chooser = Scorer(cast("Outcomes", None), 1, counted, lambda: now_s[0])

    def kept(target: Target, arm: Arm) -> bool:
        if (tap := chooser.tap(call, target, arm, "ab" * 16)) is not None:
            chooser.untap(tap)
        return tap is not None

    assert all(kept(about, arms[number % 2]) for number in range(MOST_A_SECOND))
    assert [kept(about, arm) for arm in arms] == [False, False]
    assert kept(other, arms[0])
    now_s[0] += 1
    assert all(kept(about, arm) for arm in arms)
    assert counted["too many"] == counted.total() - counted["broken off"] == 2
