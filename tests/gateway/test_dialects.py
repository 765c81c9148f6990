"""What holds for every dialect, those that are still to come too."""

from __future__ import annotations

import pytest

from gateway.api.dialects import BY_PATH, DIALECTS
from gateway.api.dialects.dialect import Dialect
from gateway.api.fields.table import RESERVED, UNSUPPORTED
from gateway.engines.kinds import KINDS
from gateway.errors import ModelNotFound
from gateway.metrics.rows import Rows
from registry.ledger.rows import USAGE
from tests.support.ended_requests import ended


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)
def test_a_dialect_is_whole(dialect: Dialect) -> None:
    assert BY_PATH[dialect.path] is dialect
    assert dialect.path.startswith("/v1/")
    assert dialect.summary
    assert set(dialect.required) <= dialect.forwarded.keys()
    assert not dialect.forwarded.keys() & dialect.not_forwarded.keys()
    assert not set(dialect.known()) & (RESERVED.keys() | UNSUPPORTED.keys() | dialect.refused.keys())
    assert all(param in dialect.known() for param, _ in dialect.rules)
    error = ModelNotFound("m")
    assert error.message.encode() in dialect.error_body(error)
    assert error.message.encode() in dialect.error_event(error)


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)
def test_a_dialect_has_a_place_at_engines_in_the_ledger_and_in_metrics(dialect: Dialect) -> None:
    assert all(dialect.asks in kind.paths for kind in KINDS.values())
    assert len(dialect.name) <= getattr(USAGE.c.endpoint.type, "length", 0)
    rows = Rows()
    rows.answered(dialect.name, ended(), 0.1)
    assert rows.take_rows()[0].endpoint == dialect.name
