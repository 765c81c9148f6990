"""Many rows in one transaction and few statements: all or none."""

from __future__ import annotations

from typing import Any, cast

import pytest
from sqlalchemy import Table, event, select
from sqlalchemy.exc import DBAPIError, IntegrityError

from registry.bulk import MOST_AT_ONCE, Appender
from registry.responses.rows import StoredResponse
from registry.service import Registry
from tests.registry.test_responses import EVER, turn


def rows(registry: Registry, *ids: str, tenant: str = "acme") -> list[tuple[object, ...]]:
    return [registry.responses.sealed(turn(one, tenant=tenant)).row for one in ids]


@pytest.fixture
def appender(registry: Registry) -> Appender:
    return Appender(registry.db.engine, cast("Table", StoredResponse.__table__))


@pytest.mark.parametrize("count", [1, 2, 7, MOST_AT_ONCE, 2 * MOST_AT_ONCE + 3])
def test_every_row_is_there(registry: Registry, appender: Appender, count: int) -> None:
    ids = [f"resp_{number}" for number in range(count)]
    appender.append(rows(registry, *ids))
    assert registry.responses.kept()[0].responses == count
    assert [registry.responses.document("acme", one, EVER) for one in ids] == [turn(one).document for one in ids]


def test_what_is_nothing_no_number_and_no_text_is_read_as_it_was_written(
    registry: Registry, appender: Appender
) -> None:
    (row,) = rows(registry, "resp_1")
    appender.append([row])
    with registry.db.read() as session:
        found = session.execute(select(cast("Table", StoredResponse.__table__))).one()
    assert {type(one) for one in row} == {str, int, bool, bytes, type(None)}
    assert tuple(found) == row


def test_a_row_that_is_there_already_keeps_all_others_out(registry: Registry, appender: Appender) -> None:
    appender.append(rows(registry, "resp_1"))
    with pytest.raises(IntegrityError):
        appender.append(rows(registry, "resp_2", "resp_3", "resp_1"))
    appender.append(rows(registry, "resp_4"))
    assert registry.responses.kept()[0].responses == 2


def test_where_rows_that_are_there_are_passed_over_the_others_count_as_new(registry: Registry) -> None:
    appender = Appender(registry.db.engine, cast("Table", StoredResponse.__table__), passes_known=True)
    assert appender.append(rows(registry, "resp_1")) == 1
    assert appender.append(rows(registry, "resp_1", "resp_2", "resp_2", "resp_3")) == 2
    assert appender.append(rows(registry, "resp_3")) == 0
    assert registry.responses.kept()[0].responses == 3


def test_an_sqlite_connection_is_taken_from_the_pool_once_and_one_to_a_server_for_each_transaction(
    registry: Registry, appender: Appender
) -> None:
    engine = registry.db.engine
    taken: list[object] = []
    event.listen(engine, "checkout", lambda connection, *_: taken.append(connection))
    for number in range(3):
        appender.append(rows(registry, f"resp_{number}"))
    assert len(taken) == (1 if engine.dialect.name == "sqlite" else 3)


def test_whatever_connection_was_taken_is_closed_with_the_database(registry: Registry, appender: Appender) -> None:
    engine = registry.db.engine
    taken: list[Any] = []
    event.listen(engine, "checkout", lambda connection, *_: taken.append(connection))
    appender.append(rows(registry, "resp_0"))
    engine.dispose()
    with pytest.raises(Exception, match="closed"):
        taken[0].execute("SELECT 1")
    appender.append(rows(registry, "resp_1"))
    assert registry.responses.kept()[0].responses == 2


def test_what_fails_half_way_leaves_no_transaction_open(registry: Registry, appender: Appender) -> None:
    appender.append(rows(registry, "resp_0"))
    many = rows(registry, *(f"resp_{number}" for number in range(1, MOST_AT_ONCE + 2)))
    no_value: Any = object()
    with pytest.raises(DBAPIError):
        appender.append([*many[:-1], (*many[-1][:-1], no_value)])
    Appender(registry.db.engine, cast("Table", StoredResponse.__table__)).append(many)
    assert registry.responses.kept()[0].responses == len(many) + 1


def test_a_row_of_nobody_is_refused(registry: Registry, appender: Appender) -> None:
    with pytest.raises(IntegrityError):
        appender.append(rows(registry, "resp_1", tenant="nobody"))
    assert not registry.responses.kept()
