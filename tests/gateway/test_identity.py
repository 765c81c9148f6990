"""Who a process is: two containers with one host name and equal pids are two all the same."""

from __future__ import annotations

import pytest

from gateway.app import Gateway
from gateway.identity import Identity, new_token
from loadtest.ports import free_port
from tests.support.stack import House, run_engines, served
from tests.support.waiting import wait_until


def test_two_gateways_with_one_host_name_and_pid_are_two_workers_and_two_candidates(house: House) -> None:
    house.publish("acme/triage")
    house.point("acme/triage", "1.0")
    with run_engines(house, {}) as (mock,):
        settings = [house.settings.model_copy(update={"engines": [mock.url], "port": free_port()}) for _ in range(2)]
        one, other = (Gateway(each) for each in settings)
        with served(one) as url, served(other) as other_url:
            live = wait_until("two workers", lambda: two if len(two := house.registry.workers.live()) == 2 else None)
            assert {worker.url for worker in live} == {url, other_url}
            wait_until("both to be linked", lambda: one.worker and other.worker and other.worker.link.linked)
            lease = house.registry.leadership.current()
            assert lease is not None
            loser = next(gateway for gateway in (one, other) if str(gateway.identity) != lease.holder)
            house.registry.leadership.release(str(loser.identity))
            assert house.registry.leadership.current() is not None, "who does not lead resigns from nothing"
            house.registry.workers.leave(str(loser.identity))
            assert len({gateway.identity.token for gateway in (one, other)}) == 2


def test_an_identity_with_a_long_host_name_fits_the_registrys_columns(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "h" * 253)
    identity = str(Identity(4_194_304, new_token()))
    assert len(identity) <= 64, "the column of a worker's id"
    house.registry.workers.report(identity, "http://a:1", 1)
    assert [worker.id for worker in house.registry.workers.live()] == [identity]
