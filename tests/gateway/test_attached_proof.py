"""A proof that came after the publish is asked of the engine like any other."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.names import parse_ref
from tests.support.stack import House, open_house, proof, run_stack


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with open_house(tmp_path) as house:
        house.tenant("acme")
        house.publish("acme/triage")
        yield house


def test_an_import_that_was_proven_later_is_held_to_its_effect(house: House) -> None:
    version = house.registry.adapters.attach_proof(parse_ref("acme/triage@1.0"), json.dumps(proof()).encode())
    with run_stack(house) as stack:
        assert house.promote("acme/triage", "1.0").state == "done"
        resident = stack.controller.engines[0].residency.resident[version.id]
        assert resident.strength == pytest.approx(1.0)


def test_an_engine_that_does_not_apply_it_gets_no_traffic(house: House) -> None:
    house.registry.adapters.attach_proof(parse_ref("acme/triage@1.0"), json.dumps(proof()).encode())
    with run_stack(house) as stack:
        stack.faults(noop_adapters=True)
        swap = house.promote("acme/triage", "1.0")
        assert swap.state == "failed"
        assert "effect proof failed" in swap.detail["error"]
        assert stack.chat("acme/triage").status_code == 404


def test_a_proof_is_read_and_parsed_off_the_event_loop(house: House) -> None:
    house.registry.adapters.attach_proof(parse_ref("acme/triage@1.0"), json.dumps(proof()).encode())
    readers: list[bool] = []
    watching = True

    def note(event: str, arguments: tuple[object, ...]) -> None:
        mine = watching and not threading.current_thread().name.startswith("mock-engine")
        if mine and event == "open" and str(arguments[0]).endswith("effect_proof.json"):
            readers.append(asyncio._get_running_loop() is not None)

    sys.addaudithook(note)
    with run_stack(house):
        assert house.promote("acme/triage", "1.0").state == "done"
    watching = False
    assert readers
    assert not any(readers)
