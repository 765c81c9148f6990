"""Usage rows know an engine by its id, which stays when its URL changes."""

from __future__ import annotations

import pytest

from gateway.fleet.sources import declared_fleet
from gateway.settings import EngineSettings
from registry.errors import InvalidInput
from tests.support.stack import House, run_engines, run_gateway


def test_an_engines_own_id_is_in_usage_rows_and_else_its_url(house: House) -> None:
    house.publish("acme/triage")
    house.point("acme/triage", "1.0")
    with run_engines(house, {}, {}) as (named, plain):
        ids = []
        for mock, engine in ((named, EngineSettings(url=named.url, id="gpu-1")), (plain, plain.url)):
            with run_gateway(house, [mock], engines=[engine]) as stack:
                answer = stack.chat("triage")
                assert answer.status_code == 200
                row = house.usage_of(answer.headers["x-request-id"])[0]
            assert row["engine"] == mock.url
            ids.append(row["engine_id"])
        assert ids == ["gpu-1", plain.url]


@pytest.mark.parametrize("then", ["gpu-2", None])
def test_an_engine_that_gets_another_id_is_known_by_it_from_then_on(house: House, then: str | None) -> None:
    house.publish("acme/triage")
    house.point("acme/triage", "1.0")
    with run_engines(house, {}) as (mock,):
        for own_id in ("gpu-1", then):
            with run_gateway(house, [mock], engines=[EngineSettings(url=mock.url, id=own_id)]) as stack:
                answer = stack.chat("triage")
                assert answer.status_code == 200
                row = house.usage_of(answer.headers["x-request-id"])[0]
            assert row["engine_id"] == (own_id or mock.url)


def test_two_engines_of_one_id_are_refused(house: House) -> None:
    engines = [EngineSettings(url=f"http://127.0.0.1:{port}", id="gpu-1") for port in (1, 2)]
    with pytest.raises(InvalidInput, match="has the id gpu-1 twice"):
        declared_fleet(house.registry, house.settings.model_copy(update={"engines": engines}))
