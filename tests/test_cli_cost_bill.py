"""`switchyard cost engines`, `bill`, `idle` and `weights`."""

from __future__ import annotations

from tests.support.cli_runner import Run, done, run

__all__ = ["done", "run"]


def test_costs_are_added_ended_and_shown_and_the_bill_says_what_is_missing(run: Run) -> None:
    add = ("cost", "engines", "add", "*", "on_demand", "--hourly", "2.74", "--source", "an offer")
    assert "$2.74 an hour (on_demand)" in run(*add).out
    assert "hourly · gpus" in run("cost", "engines", "list").out
    assert "nothing more" in run("cost", "engines", "end", "*", "--source", "given back").out
    assert run("cost", "bill", "--json").document["bill"] == "0"
    assert "no engine had a cost" in run("cost", "bill", "--explain").out
    assert "unallocated, as nobody has said otherwise" in run("cost", "idle").out
    assert "idle time: equal" in run("cost", "idle", "equal").out
    assert run("cost", "idle", "reserved", "--share", "acme").status != 0
    assert "nothing is fitted yet" in run("cost", "weights", "--fit").out
