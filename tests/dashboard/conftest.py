"""A dashboard before the shared stack."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gateway.admin_key import admin_key
from tests.support.dashboard_parts import Visitor, dashboard_of
from tests.support.stack import Stack


@pytest.fixture
def visitor(stack: Stack) -> Iterator[Visitor]:
    """Who is not logged in."""
    with dashboard_of(stack.url) as visitor:
        yield visitor


@pytest.fixture
def operator(stack: Stack, visitor: Visitor) -> Visitor:
    """Who is, with the root key."""
    assert visitor.log_in(admin_key(stack.house.settings)).status_code == 303
    return visitor
