"""Fixtures that every folder of tests may use, and names of tests."""

from __future__ import annotations

pytest_plugins = [
    "tests.support.authorities",
    "tests.support.collected",
    "tests.support.compiled",
    "tests.support.fixtures",
    "tests.support.forked_starts",
    "tests.support.garbage",
    "tests.support.processor",
    "tests.support.routes",
    "tests.support.sharing",
    "tests.support.temporary",
]


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Long values and raw bytes do not name a test: every process must come to the same name, and people read it."""
    if isinstance(val, str) and len(val) <= 100:
        return None
    if isinstance(val, bytes) and len(val) <= 100 and val.isascii() and val.decode().isprintable():
        return None
    return f"{argname} of {len(val)}" if isinstance(val, (bytes, str)) else None
