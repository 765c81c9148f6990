"""The leader tells the log where the logs of the registry end: at first of all, and then of those that have grown."""

from __future__ import annotations

import pytest

from gateway.fleet.duties.heads import AT_ONCE, TellHeads
from gateway.fleet.duties.rounds import Round
from gateway.fleet.requests import Errands
from registry.heads import Head, heads_in
from tests.support.ordered import ordered
from tests.support.stack import House


async def test_what_has_grown_is_told_and_found_again(house: House, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "switchyard.audit")
    duty = TellHeads(house.registry, 3600.0, Errands())
    assert duty.is_due(Round(reconciles=True, woken=False))
    await duty.tell()
    first = heads_in(caplog.text)
    assert set(first) == set(house.registry.heads.all())
    assert all(len(heads_in(line)) <= AT_ONCE for line in caplog.messages)
    caplog.clear()
    await duty.tell()
    assert caplog.messages == []
    with ordered():
        house.registry.tenants.change("acme", {"response_days": 3})
    await duty.tell()
    (head,) = heads_in(caplog.text)
    assert (head.log, house.registry.heads.faults([head])) == ("audit", [])
    assert house.registry.heads.faults([Head("audit", head.lines + 1, head.digits)]) != []
