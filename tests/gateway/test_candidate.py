"""Standing for the fleet's controller: who cannot do it lets others; what cannot be meant is refused at the start."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest
from sqlalchemy import text

from gateway.catalog_watch import CatalogWatch
from gateway.fleet.controller import Controller
from gateway.fleet.leadership import candidate_of
from gateway.fleet.sources import declared_fleet
from gateway.identity import Identity
from registry.errors import InvalidInput
from registry.names import parse_ref
from tests.support.adapter_folders import TinyBase
from tests.support.stack import House
from tests.support.standing import add_engine, candidate_at, standing
from tests.support.waiting import DEADLINE_S, wait_until_async


async def test_a_candidate_that_cannot_listen_gives_the_lease_back_at_once(house: House) -> None:
    async with standing(house, f"unix:{house.folder}/no/such/folder/c.sock") as unable:
        await wait_until_async("it to have tried", lambda: house.registry.leadership.acquire("other", "unix:/o"), 2.0)
        assert unable.controller is None


async def test_a_duty_that_fails_is_shown_and_done_again_and_the_others_go_on(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    house.publish("acme/triage")
    swap = house.registry.swaps.request(parse_ref("acme/triage@1.0"), actor="test")
    writable = house.registry.db.engine.execution_options(switchyard_write=True)
    with writable.begin() as connection:
        connection.execute(text("UPDATE swaps SET detail = 'what is no JSON'"))
    async with standing(house, f"unix:{house.folder}/c.sock") as candidate:
        controller = await wait_until_async("it to lead", lambda: candidate.controller)
        await wait_until_async("the failure", lambda: controller.document()["duties"]["swaps"] != "ok")
        assert "JSONDecodeError" in controller.document()["duties"]["swaps"]
        assert {state for name, state in controller.document()["duties"].items() if name != "swaps"} == {"ok"}
        house.registry.workers.report("newcomer", "http://w", 0)
        await wait_until_async("another duty", lambda: "newcomer" in (controller.hub.expected or ()))
        with writable.begin() as connection:
            connection.execute(text("UPDATE swaps SET detail = '{}'"))
        await wait_until_async("the swap to end", lambda: house.registry.swaps.get(swap.id).state == "failed")
        await wait_until_async("its end", lambda: controller.document()["duties"]["swaps"] == "ok")
        assert candidate.controller is controller
        assert "no healthy engine" in house.registry.swaps.get(swap.id).detail["error"]
    assert [record.message for record in caplog.records if "duty swaps" in record.message] == [
        "the leader's duty swaps failed, and is done again",
        "the leader's duty swaps is done",
    ]


def knows_workers(controller: Controller, number: int) -> bool:
    return len(controller.hub.expected or ()) == number


async def test_an_added_engine_that_cannot_be_dealt_with_stops_no_other(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    other = TinyBase()
    other.config["rope_theta"] = 1e6
    base = house.registry.bases.register("other", other.write(house.folder / "other"))
    house.settings.adapter_cache_dir.mkdir(parents=True, exist_ok=True)
    in_the_way = house.settings.adapter_cache_dir / f"zero-{base.digest.removeprefix('sha256:')[:16]}"
    in_the_way.write_text("a file where the folder of the zero adapter should be")
    add_engine(house, "http://bad:1", "other")
    add_engine(house, "http://good:1")
    async with standing(house, f"unix:{house.folder}/c.sock") as candidate:
        controller = await wait_until_async("it to lead", lambda: candidate.controller)
        assert [engine.url for engine in controller.engines] == ["http://good:1"]
        for number in (1, 2):
            house.registry.workers.report(f"w{number}", "http://w", 0)
            controller.wake()
            await wait_until_async("a round", partial(knows_workers, controller, number))
        assert controller.document()["duties"]["orders"] == "ok"
        said = [record.message for record in caplog.records if "cannot serve from it" in record.message]
        assert [message.partition(" was added")[0] for message in said] == ["engine http://bad:1"], "once"
        in_the_way.unlink()
        controller.wake()
        await wait_until_async("the other one", lambda: controller.engines.at("http://bad:1"))


async def test_a_candidate_that_ends_gives_the_lease_back(house: House) -> None:
    async with standing(house, f"unix:{house.folder}/c.sock") as candidate:
        await wait_until_async("it to lead", lambda: candidate.controller)
        assert house.registry.leadership.current() is not None
    assert house.registry.leadership.current() is None


async def test_a_candidate_whose_term_ends_with_an_error_does_not_stand_again_once_it_is_to_end(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    candidate = candidate_at(house, f"unix:{house.folder}/c.sock")
    running = asyncio.create_task(candidate.run())
    controller = await wait_until_async("it to lead", lambda: candidate.controller)

    async def no_luck(_engines: object) -> None:
        raise ValueError("no luck")

    monkeypatch.setattr(controller.books, "close", no_luck)
    running.cancel()
    _, runs = await asyncio.wait({running}, timeout=DEADLINE_S)
    assert not runs
    assert str(running.exception()) == "no luck"
    assert house.registry.leadership.current() is None


@pytest.mark.parametrize(
    "url", ["https://engine:8000", "engine:8000", "http://engine:8000/v1", "http://:8000", "", "http://u:p@e:1"]
)
def test_an_engine_url_that_cannot_be_used_is_refused_at_the_start(house: House, url: str) -> None:
    settings = house.settings.model_copy(update={"engines": [url]})
    with pytest.raises(InvalidInput, match=r"expected http://host:port") as refused:
        declared_fleet(house.registry, settings)
    assert refused.value.param == "engines"


def test_an_engine_that_stands_twice_is_refused(house: House) -> None:
    settings = house.settings.model_copy(update={"engines": ["http://a:1", "http://A:1/"]})
    with pytest.raises(InvalidInput, match="http://a:1 twice"):
        declared_fleet(house.registry, settings)


def test_a_controller_on_a_port_needs_a_secret(house: House) -> None:
    settings = house.settings.model_copy(update={"controller_listen": "tcp:127.0.0.1:9999"})
    with pytest.raises(InvalidInput, match="fleet_secret is empty"):
        candidate_of(house.registry, settings, CatalogWatch(house.registry, None, "", 1.0), Identity.of_this_process())
