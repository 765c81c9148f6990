"""Events of streams that are written down: where they are, whose they are, and what they count for."""

from __future__ import annotations

from base64 import b64encode

import pytest
from alembic import command
from sqlalchemy import event, text

from registry.responses import streams as module
from registry.responses.retention import Retention
from registry.responses.sealing import Keyring
from registry.responses.streams import ResponseStreams, SomeEvents
from registry.responses.turns import NoSuchTurn, NotStreamed
from registry.service import Registry
from tests.registry.test_responses import EVER, save, turn
from tests.support.migrations import configured

WHOSE = "acme", "resp_1"


def events(first: int, number: int) -> bytes:
    return b"".join(b'event: x\ndata: {"sequence_number":%d}\n\n' % one for one in range(first, first + number))


@pytest.fixture
def streams(registry: Registry) -> ResponseStreams:
    """Of a tenant that has one."""
    save(registry, turn("resp_1", status="in_progress", worker="w-1"), turn("resp_2"))
    registry.response_streams.begin(*WHOSE)
    return registry.response_streams


def append(streams: ResponseStreams, first: int, some: bytes, ended: bool) -> None:
    streams.append([SomeEvents(*WHOSE, first, some, ended)])


def read(streams: ResponseStreams, wanted: int) -> tuple[bytes, int, bool]:
    found = streams.read(*WHOSE, EVER, wanted)
    return found.events, found.next, found.ended


def test_a_stream_is_read_from_any_event_on_as_far_as_it_is_there(streams: ResponseStreams) -> None:
    assert read(streams, 0) == (b"", 0, False)
    append(streams, 0, events(0, 4), False)
    append(streams, 4, events(4, 3), False)
    for wanted in range(8):
        assert read(streams, wanted) == (events(wanted, 7 - wanted), 7, False)
    assert streams.read(*WHOSE, EVER, 0).status == "in_progress"
    append(streams, 7, b"", True)
    assert read(streams, 2) == (events(2, 5), 7, True)
    assert read(streams, 7) == (b"", 7, True)


def test_what_is_written_down_once_more_with_more_of_it_is_there_once(streams: ResponseStreams) -> None:
    append(streams, 0, events(0, 2), False)
    append(streams, 0, events(0, 5), True)
    assert read(streams, 0) == (events(0, 5), 5, True)


def test_nothing_is_told_beyond_what_is_missing(streams: ResponseStreams) -> None:
    append(streams, 0, events(0, 2), False)
    append(streams, 3, events(3, 2), True)
    assert read(streams, 0) == (events(0, 2), 2, False)


def test_a_long_stream_is_read_in_parts(streams: ResponseStreams) -> None:
    for number in range(20):
        append(streams, number, events(number, 1), number == 19)
    seen, wanted, ended = b"", 0, False
    while not ended:
        some, wanted, ended = read(streams, wanted)
        seen += some
    assert (seen, wanted) == (events(0, 20), 20)


def test_another_tenants_stream_is_none_and_some_responses_have_none(
    registry: Registry, streams: ResponseStreams
) -> None:
    save(registry, turn("resp_1", tenant="globex"))
    for tenant, id_, fault in (
        ("globex", "resp_1", NotStreamed),
        ("globex", "resp_2", NoSuchTurn),
        ("acme", "resp_2", NotStreamed),
    ):
        with pytest.raises(fault):
            streams.read(tenant, id_, EVER, 0)


def test_they_count_for_their_tenant_and_go_with_the_response(registry: Registry, streams: ResponseStreams) -> None:
    def amounts() -> tuple[int, int]:
        return registry.responses.amounts(["acme"])["acme"]

    records, length = amounts()
    append(streams, 0, events(0, 50), False)
    append(streams, 0, events(0, 60), False)
    with registry.db.read() as session:
        written = session.execute(text("SELECT sum(length(events)) FROM response_events")).scalar_one()
    assert amounts() == (records, length + written)
    registry.responses.delete(*WHOSE, EVER)
    append(streams, 60, events(60, 1), True)
    with registry.db.read() as session:
        assert session.execute(text("SELECT count(*) FROM response_events")).scalar_one() == 0
        left = session.execute(text("SELECT sum(length(document) + length(turn)) FROM responses")).scalar_one()
    assert amounts() == (1, left)


def test_several_streams_are_written_down_at_once_but_for_those_that_are_deleted(
    registry: Registry, streams: ResponseStreams
) -> None:
    save(registry, turn("resp_3", tenant="globex", status="in_progress", worker="w-1"))
    streams.begin("globex", "resp_3")
    ids = (("globex", "resp_3"), ("acme", "resp_gone"), WHOSE)
    streams.append([SomeEvents(*whose, 0, events(0, 3), False) for whose in ids])
    streams.append([SomeEvents(*whose, 3, events(3, 2), True) for whose in reversed(ids)])
    for whose in (ids[0], WHOSE):
        found = streams.read(*whose, EVER, 1)
        assert (found.events, found.ended) == (events(1, 4), True)
    with registry.db.read() as session:
        assert session.execute(text("SELECT count(DISTINCT id) FROM response_events")).scalar_one() == 2


@pytest.mark.parametrize("how", ["one", "all"])
def test_a_long_stream_is_deleted_some_rows_at_a_time(
    registry: Registry, streams: ResponseStreams, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(module, "DELETED_AT_ONCE", 4)
    for number in range(10):
        append(streams, number, events(number, 1), number == 9)
    deleted: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("DELETE"):
            deleted.append(statement.split()[2])

    event.listen(registry.db.engine, "before_cursor_execute", note)
    try:
        if how == "one":
            registry.responses.delete(*WHOSE, EVER)
        else:
            registry.retention.delete("acme")
    finally:
        event.remove(registry.db.engine, "before_cursor_execute", note)
    assert deleted == ["response_events", "response_events", "responses"], "11 rows: 4, 4, and 3 with the response"
    with registry.db.read() as session:
        assert session.execute(text("SELECT count(*) FROM response_events")).scalar_one() == 0
        left = session.execute(
            text("SELECT coalesce(sum(length(document) + length(turn)), 0) FROM responses")
        ).scalar_one()
    assert registry.responses.amounts(["acme"])["acme"] == (1 if how == "one" else 0, left)


def test_without_their_table_they_count_no_more(registry: Registry, streams: ResponseStreams) -> None:
    before = registry.responses.amounts(["acme"])
    append(streams, 0, events(0, 5), True)
    assert registry.responses.amounts(["acme"]) != before
    with registry.db.engine.execution_options(switchyard_write=True).begin() as connection:
        command.downgrade(configured(connection), "0060")
    assert registry.responses.amounts(["acme"]) == before


def test_they_are_sealed_and_sealed_anew(registry: Registry) -> None:
    keyring = Keyring(b64encode(bytes(32)).decode() + ",plain")
    save(registry, turn("resp_1"))
    old, new = registry.response_streams, ResponseStreams(registry.db, keyring)
    old.begin(*WHOSE)
    append(old, 0, events(0, 3), False)
    append(new, 3, events(3, 3), True)
    assert Retention(registry.db, keyring).reseal() == 2, "the response, and what was written without a key"
    assert read(new, 0) == (events(0, 6), 6, True)
    with registry.db.read() as session:
        stored = session.execute(text("SELECT events FROM response_events")).scalars().all()
    assert all(b"sequence" not in one for one in stored)
