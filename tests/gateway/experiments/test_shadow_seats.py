"""Copies have the seats that tenants leave."""

from __future__ import annotations

from pathlib import Path

from tests.support.shadows import counted, running_copy, shadow, stream
from tests.support.stack import open_house, run_stack
from tests.support.waiting import wait_until


def test_a_copy_gives_its_seat_up_when_a_request_begins_that_needs_it(tmp_path: Path) -> None:
    with open_house(tmp_path, engine_max_num_seqs=2) as house:
        house.tenant("acme")
        for _ in range(2):
            house.publish("acme/triage")
        house.point("acme/triage", "1.0")
        house.registry.tenants.change("acme", {"shadow_consent": True})
        with run_stack(house, engines=({"max_num_seqs": 2},)) as full, shadow(full) as begun:
            in_flight = full.worker.in_flight
            with running_copy(full), stream(full) as parts:
                next(parts)
                wait_until("the end of the copy", lambda: not in_flight.copies)
            assert counted(full, begun, 1) == {"engine_busy": 1}
            full.chat("acme/triage", stream=True)
            assert counted(full, begun, 2) == {"engine_busy": 1, "paired": 1}, "one seat is free again"
