"""Whether a copy may run on an engine: whatever a tenant asks for comes first."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.engines.connection import EngineClient
from gateway.engines.engine import Engine, EngineStatus
from gateway.experiments.shadow.crowding import Crowding, choose, why_stop
from gateway.fleet.homes import Homes
from gateway.fleet.view import CopyPin, EngineView, FleetView, InFlight, Pin

A, B, C = (f"http://127.0.0.1:{port}" for port in (1, 2, 3))
CANDIDATE = 7


def engine(url: str, *, holds: bool = True, queues: bool = False) -> EngineView:
    status = EngineStatus("up", None, "base", queues=queues)
    resident = {CANDIDATE: "a-7"} if holds else {}
    return EngineView(Engine(url, "sha256:0", "cpu", 16), status, resident, EngineClient(url))


def view(*engines: EngineView) -> FleetView:
    return FleetView(engines, Homes({}), {})


CALM = Crowding({A: 3, B: 1, C: 2}, 4, lambda _url: 1, set(), lambda _base: False)


def test_a_copy_runs_where_its_request_ran_and_else_on_the_least_loaded_engine_that_holds_the_candidate() -> None:
    there = view(engine(A), engine(B), engine(C))
    found = choose(CANDIDATE, A, there, CALM)
    assert isinstance(found, EngineView)
    assert found.url == A
    elsewhere = choose(CANDIDATE, A, view(engine(A, holds=False), engine(B), engine(C)), CALM)
    assert isinstance(elsewhere, EngineView)
    assert elsewhere.url == B


@pytest.mark.parametrize(
    ("there", "crowding", "why"),
    [
        (view(), CALM, "not_resident"),
        (view(engine(A, holds=False)), CALM, "not_resident"),
        (view(engine(A, queues=True), engine(B)), CALM, "tenants_wait"),
        (view(engine(A)), replace(CALM, most=3), "engine_busy"),
        (view(engine(A)), replace(CALM, free=lambda _url: 0), "engine_busy"),
    ],
)
def test_no_copy_begins_in_a_tenants_way_and_none_is_loaded_for(there: FleetView, crowding: Crowding, why: str) -> None:
    assert choose(CANDIDATE, A, there, crowding) == why


@pytest.mark.parametrize(
    ("there", "crowding", "why"),
    [
        (view(engine(A)), CALM, None),
        (view(engine(B)), CALM, "engine_leaves"),
        (view(engine(A, holds=False)), CALM, "adapter_leaves"),
        (view(engine(A)), replace(CALM, awaited={(A, "a-7")}), "adapter_leaves"),
        (view(engine(A, queues=True)), CALM, "tenants_wait"),
        (view(engine(A)), replace(CALM, waits_at=lambda _base: True), "tenants_wait"),
        (view(engine(A)), replace(CALM, most=3), "engine_busy"),
        (view(engine(A)), replace(CALM, free=lambda _url: 0), None),
        (view(engine(A)), replace(CALM, free=lambda _url: -1), "engine_busy"),
    ],
)
def test_a_copy_ends_when_something_waits_for_it(there: FleetView, crowding: Crowding, why: str | None) -> None:
    assert why_stop(CANDIDATE, A, "a-7", there, crowding) == why


def test_a_copy_holds_its_adapter_and_is_neither_a_use_nor_a_load() -> None:
    released: list[int] = []
    in_flight = InFlight(on_released=lambda: released.append(1))
    mine, other = CopyPin(in_flight, A, "a-7"), Pin(in_flight, A, "a-7", CANDIDATE)
    assert (in_flight.counts, in_flight.copies) == ({(A, "a-7"): 2}, {(A, "a-7"): 1})
    assert in_flight.by_engine == {A: 1}
    assert in_flight.uses[A, CANDIDATE].requests == 1
    other.release()
    in_flight.awaited.add((A, "a-7"))
    mine.release()
    assert (in_flight.counts, in_flight.copies, in_flight.by_engine, released) == ({}, {}, {A: 0}, [1])
