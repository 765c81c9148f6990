"""Engines that operators add: a row is the order, and its end is one too."""

from __future__ import annotations

import pytest

from registry.errors import Conflict, NotFound
from registry.names import SYSTEM
from registry.service import Registry


def test_an_added_engine_is_kept_as_it_was_declared_and_goes_when_it_was_ordered_to(registry: Registry) -> None:
    engines = registry.added_engines
    added = engines.add("http://a:1", {"places": 16}, actor="kim")
    assert engines.add("http://a:1", {"places": 16}, actor="lee") == added
    with pytest.raises(Conflict, match="other properties"):
        engines.add("http://a:1", {"places": 8}, actor="lee")
    engines.forget("http://a:1")
    assert engines.all() == [added], "only what was ordered to go goes"
    removed = engines.remove("http://a:1", actor="lee")
    assert engines.remove("http://a:1", actor="kim") == removed
    assert engines.add("http://a:1", {"places": 16}, actor="kim") == added, "a removal can be taken back"
    registry.drains.order("http://a:1", actor="kim")
    engines.remove("http://a:1", actor="kim")
    engines.forget("http://a:1")
    assert engines.all() == []
    assert registry.drains.all() == {}, "who adds it again finds no old order"
    with pytest.raises(NotFound, match="http://a:1"):
        engines.remove("http://a:1", actor="kim")
    changes = [(one.actor, one.action, one.subject) for one in registry.actions.page(None, 10, SYSTEM)]
    assert changes == [
        ("kim", "engine.removed", "http://a:1"),
        ("kim", "engine.added", "http://a:1"),
        ("lee", "engine.removed", "http://a:1"),
        ("kim", "engine.added", "http://a:1"),
    ]
