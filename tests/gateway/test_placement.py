"""What is loaded though nobody asks for it: all that may be in its turn, and at no cost that anybody feels."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from gateway.fleet.placement import MOST_LOOKED_AT, Placement
from registry.catalog.snapshot import VersionEntry
from tests.support.fleet_parts import managed_engine

MANY = 3 * MOST_LOOKED_AT + 1


class NothingLoads:
    """Refuses every load, and notes which it was asked about."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def running_on(self, _url: str) -> int:
        return 0

    def may_preload(self, _engine: object, version: VersionEntry) -> bool:
        self.asked.append(version.id)
        return False


def placement(base_digest: str, loading: NothingLoads) -> Placement:
    """Of an engine with room, and many adapters of a tenant that an alias points at."""
    engine = managed_engine("http://127.0.0.1:9", base_digest="sha256:0")
    engine.health.up()
    wanted = {
        number: VersionEntry(number, f"acme/t-{number}@1.0", "acme", "t", "1.0", "sha256:1", base_digest, None, 0, 1)
        for number in range(MANY)
    }
    catalog: Any = SimpleNamespace(
        wanted=wanted, wanted_versions=wanted.values, versions_by_id=wanted, shadowed=dict[int, VersionEntry]()
    )
    parts: Any = SimpleNamespace()
    loads: Any = loading
    return Placement(
        [engine],
        lambda: catalog,
        parts,
        loads,
        tuple,
        requests_per_home=8.0,
        retire_after_s=60.0,
    )


def test_of_many_adapters_some_are_looked_at_at_once_and_all_in_their_turn() -> None:
    loading = NothingLoads()
    one = placement("sha256:0", loading)
    for _ in range(MANY // MOST_LOOKED_AT + 1):
        before = len(loading.asked)
        one.preload()
        assert len(loading.asked) - before == MOST_LOOKED_AT
    assert {*loading.asked} == {*range(MANY)}


def test_adapters_of_a_base_whose_engines_have_no_room_are_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    loading = NothingLoads()
    one = placement("sha256:9", loading)
    monkeypatch.setattr(one, "_homes_among", None)
    one.preload()
    assert loading.asked == []
