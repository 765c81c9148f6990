"""Which engine serves an arm. Pure: every case is a fleet of a line and the engine that must be chosen."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from gateway.fleet.homes import Homes
from gateway.fleet.view import EngineView, FleetView
from gateway.handoffs import Arm
from gateway.steps.place import SPILL_FLOOR, Openings, place
from registry.catalog.snapshot import VersionEntry
from tests.support.fleet_parts import engine_view

DIGEST = "sha256:" + "0" * 64
URLS = [f"http://10.0.0.{number}:8000" for number in range(4)]
VERSION = VersionEntry(7, "acme/triage@1.0", "acme", "triage", "1.0", DIGEST, DIGEST, None, 0, 1)
ARM = Arm("acme/triage@1.0", DIGEST, VERSION)
BASE = Arm("tiny", DIGEST)
ORDER = Homes(dict.fromkeys(URLS, 16)).order(ARM.public_name)
"""The engines in the order of the arm's homes."""


def engine(url: str, *, holds: bool, digest: str = DIGEST, base: bool = True, others: int = 0) -> EngineView:
    known = {100 + number: f"a-{number}" for number in range(others)}
    resident = MappingProxyType({VERSION.id: "a-1", **known} if holds else known)
    return engine_view(url, base_digest=digest, base_name="a-zero" if base else None, resident=resident)


def fleet(holders: tuple[str, ...] = (), *, copies: int = 1, other_base: tuple[str, ...] = ()) -> FleetView:
    """All four engines; the arm is resident on `holders`."""
    engines = tuple(
        engine(url, holds=url in holders, digest="sha256:other" if url in other_base else DIGEST) for url in URLS
    )
    return FleetView(engines, Homes(dict.fromkeys(URLS, 16)), {VERSION.id: copies} if copies > 1 else {})


def chosen(
    view: FleetView,
    arm: Arm = ARM,
    *,
    busy: Mapping[str, int] | None = None,
    limit: int = 512,
    unable: tuple[str, ...] = (),
    avoided: tuple[str, ...] = (),
    no_slot: tuple[str, ...] = (),
) -> str | None:
    known = busy or {}
    openings = Openings(
        known, lambda engine: known.get(engine.url, 0) < limit, lambda engine, _arm: engine.url not in no_slot
    )
    found = place(arm, view, openings, unable, avoided)
    return found.url if found else None


def test_nobody_holds_it_so_its_first_home_will_load_it() -> None:
    assert chosen(fleet()) == ORDER[0]


def test_an_engine_that_holds_it_is_better_than_a_home_that_does_not() -> None:
    assert chosen(fleet((ORDER[2],))) == ORDER[2]


def test_its_home_is_better_than_another_that_holds_it() -> None:
    busy = {ORDER[0]: SPILL_FLOOR - 1}
    assert chosen(fleet((ORDER[0], ORDER[3])), busy=busy) == ORDER[0]


def test_of_several_homes_that_hold_it_the_least_loaded_serves() -> None:
    view = fleet(ORDER[:3], copies=2)
    assert chosen(view, busy={ORDER[0]: 3, ORDER[1]: 2}) == ORDER[1], "the third is no home of it"
    assert chosen(view, busy={ORDER[0]: 2, ORDER[1]: 2}) == ORDER[0]


def test_a_second_home_that_has_not_loaded_it_yet_gets_no_request() -> None:
    assert chosen(fleet((ORDER[0],), copies=2), busy={ORDER[0]: SPILL_FLOOR - 1}) == ORDER[0]


def test_an_overloaded_home_spills_to_another_that_holds_it() -> None:
    assert chosen(fleet((ORDER[0], ORDER[3])), busy={ORDER[0]: SPILL_FLOOR}) == ORDER[3]


def test_an_overloaded_home_spills_to_the_next_home_when_nobody_else_holds_it() -> None:
    assert chosen(fleet((ORDER[0],)), busy={ORDER[0]: SPILL_FLOOR}) == ORDER[1]
    assert chosen(fleet((ORDER[0],)), busy={ORDER[0]: SPILL_FLOOR, ORDER[1]: SPILL_FLOOR}) == ORDER[2]


def test_an_engine_that_is_as_busy_as_the_others_does_not_spill() -> None:
    busy = dict.fromkeys(URLS, 10 * SPILL_FLOOR)
    assert chosen(fleet((ORDER[0],)), busy=busy) == ORDER[0]


def test_what_has_failed_this_request_is_never_tried_again() -> None:
    assert chosen(fleet((ORDER[0],)), unable=(ORDER[0],)) == ORDER[1]
    assert chosen(fleet(ORDER), unable=ORDER) is None


def test_what_fails_often_comes_last() -> None:
    assert chosen(fleet((ORDER[0],)), avoided=(ORDER[0],)) == ORDER[1]
    assert chosen(fleet((ORDER[0],)), avoided=(ORDER[0],), unable=ORDER[1:]) == ORDER[0], "better than no answer"
    assert chosen(fleet((ORDER[0],)), avoided=ORDER) == ORDER[0]


def test_a_full_engine_gets_nothing_whoever_holds_it() -> None:
    assert chosen(fleet((ORDER[0],)), busy={ORDER[0]: 5}, limit=5) == ORDER[1]
    assert chosen(fleet(ORDER), busy=dict.fromkeys(URLS, 5), limit=5) is None


def test_where_no_slot_is_free_another_that_holds_it_and_has_one_serves() -> None:
    assert chosen(fleet((ORDER[0], ORDER[3])), no_slot=(ORDER[0],)) == ORDER[3]
    assert chosen(fleet((ORDER[0], ORDER[3])), no_slot=(ORDER[0], ORDER[3])) == ORDER[1]


def test_an_engine_with_a_slot_loads_it_where_no_other_must_make_room_for_it() -> None:
    assert chosen(fleet((ORDER[0],)), no_slot=ORDER[:2]) == ORDER[2]
    full = tuple(engine(url, holds=url == ORDER[0], others=14) for url in URLS)
    assert chosen(FleetView(full, Homes(dict.fromkeys(URLS, 16)), {}), no_slot=(ORDER[0],)) == ORDER[0]


def test_where_no_engine_has_a_slot_it_waits_at_home() -> None:
    assert chosen(fleet((ORDER[0],)), no_slot=ORDER) == ORDER[0]
    assert chosen(fleet((ORDER[0],)), no_slot=ORDER, busy={ORDER[0]: SPILL_FLOOR}) == ORDER[1], "nor is it overloaded"


def test_an_engine_of_another_base_never_serves() -> None:
    assert chosen(fleet(ORDER, other_base=(ORDER[0],))) == ORDER[1]
    assert chosen(fleet(ORDER, other_base=ORDER)) is None


def test_base_traffic_goes_to_the_least_loaded() -> None:
    busy = {url: 5 + number for number, url in enumerate(URLS)}
    assert chosen(fleet(), BASE, busy=busy) == URLS[0]
    assert chosen(fleet(), BASE, busy={**busy, URLS[2]: 1}) == URLS[2]


def test_base_traffic_keeps_away_from_engines_that_cannot_serve_it_yet() -> None:
    ready = URLS[3]
    engines = tuple(engine(url, holds=False, base=url == ready) for url in URLS)
    view = FleetView(engines, Homes(dict.fromkeys(URLS, 16)), {})
    assert chosen(view, BASE, busy={ready: 9}) == ready


def test_no_engine_is_no_attempt() -> None:
    assert chosen(FleetView.empty()) is None
