"""A swap's report says what it did to traffic, in figures that a machine can check."""

from __future__ import annotations

from registry.swaps.report import report_swap
from tests.support.cli_runner import Run, run
from tests.support.stack import House, run_stack
from tests.support.waiting import wait_until

__all__ = ["run"]


def test_a_swap_report_counts_both_versions_and_nothing_late_on_the_old_one(house: House) -> None:
    for _ in range(2):
        house.publish("acme/triage")
    house.point("acme/triage", "1.0")
    with run_stack(house) as stack:
        before = [stack.chat("triage").json()["model"] for _ in range(3)]
        swap = house.promote("acme/triage", "1.1")
        after = [stack.chat("triage").json()["model"] for _ in range(4)]
        stack.chat("acme/triage@1.0")
        wait_until("usage to be shipped", lambda: len(house.usage(tenant="acme")) == 8)
        report = report_swap(house.registry.db, swap.id)
    assert (before, after) == (["acme/triage@1.0"] * 3, ["acme/triage@1.1"] * 4)
    assert [(part.version, part.attempts, part.failed) for part in report.versions] == [
        ("acme/triage@1.0", 4, 0),
        ("acme/triage@1.1", 4, 0),
    ]
    assert sum(count.attempts for count in report.per_second) == 8
    assert report.late_on_old == 0, "the request that named 1.0 itself does not count"
    assert report.versions[1].first_ms >= report.swap.detail["flipped_at_ms"]


def test_swaps_are_listed_and_shown_by_the_command_line(run: Run) -> None:
    assert run("swaps", "list", "--json").document == []
    missing = run("swaps", "show", "7")
    assert (missing.status, missing.err) == (1, "error: there is no swap 7\n")
