"""Fixtures that every folder of tests may use, and how tests are shared out among processes."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = ["tests.gateway.gateway_fixtures"]

HERE = Path(__file__).parent
LONGEST_FIRST = ("live", "test_bars.py")
"""What takes minutes as one piece begins first, so that no process works alone at the end."""


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Long values and raw bytes do not name a test: every process must come to the same name, and people read it."""
    if isinstance(val, str) and len(val) <= 100:
        return None
    if isinstance(val, bytes) and len(val) <= 100 and val.isascii() and val.decode().isprintable():
        return None
    return f"{argname} of {len(val)}" if isinstance(val, (bytes, str)) else None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With `-n` a file stays in one process, because of its fixtures, and the real engine's files in the same one."""
    for item in items:
        place = item.path.relative_to(HERE)
        item.add_marker(pytest.mark.xdist_group("live" if place.parts[0] == "live" else str(place)))
    items.sort(key=lambda item: _rank(item.path.relative_to(HERE).parts[0]))


def _rank(first_part: str) -> int:
    return LONGEST_FIRST.index(first_part) if first_part in LONGEST_FIRST else len(LONGEST_FIRST)
