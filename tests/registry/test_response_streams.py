"""Events of streams that are written down: where they are, whose they are, and what they count for."""

from __future__ import annotations

from base64 import b64encode

import pytest
from sqlalchemy import text

from registry.responses.retention import Retention
from registry.responses.sealing import Keyring
from registry.responses.streams import ResponseStreams
from registry.responses.turns import NoSuchTurn, NotStreamed
from registry.service import Registry
from tests.registry.test_responses import EVER, save, turn

WHOSE = "acme", "resp_1"


def events(first: int, number: int) -> bytes:
    return b"".join(b'event: x\ndata: {"sequence_number":%d}\n\n' % one for one in range(first, first + number))


@pytest.fixture
def streams(registry: Registry) -> ResponseStreams:
    """Of a tenant that has one."""
    save(registry, turn("resp_1", status="in_progress", worker="w-1"), turn("resp_2"))
    registry.response_streams.begin(*WHOSE)
    return registry.response_streams


def read(streams: ResponseStreams, wanted: int) -> tuple[bytes, int, bool]:
    found = streams.read(*WHOSE, EVER, wanted)
    return found.events, found.next, found.ended


def test_a_stream_is_read_from_any_event_on_as_far_as_it_is_there(streams: ResponseStreams) -> None:
    assert read(streams, 0) == (b"", 0, False)
    streams.append(*WHOSE, 0, events(0, 4), ended=False)
    streams.append(*WHOSE, 4, events(4, 3), ended=False)
    for wanted in range(8):
        assert read(streams, wanted) == (events(wanted, 7 - wanted), 7, False)
    assert streams.read(*WHOSE, EVER, 0).status == "in_progress"
    streams.append(*WHOSE, 7, b"", ended=True)
    assert read(streams, 2) == (events(2, 5), 7, True)
    assert read(streams, 7) == (b"", 7, True)


def test_what_is_written_down_once_more_with_more_of_it_is_there_once(streams: ResponseStreams) -> None:
    streams.append(*WHOSE, 0, events(0, 2), ended=False)
    streams.append(*WHOSE, 0, events(0, 5), ended=True)
    assert read(streams, 0) == (events(0, 5), 5, True)


def test_nothing_is_told_beyond_what_is_missing(streams: ResponseStreams) -> None:
    streams.append(*WHOSE, 0, events(0, 2), ended=False)
    streams.append(*WHOSE, 3, events(3, 2), ended=True)
    assert read(streams, 0) == (events(0, 2), 2, False)


def test_a_long_stream_is_read_in_parts(streams: ResponseStreams) -> None:
    for number in range(20):
        streams.append(*WHOSE, number, events(number, 1), ended=number == 19)
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
    streams.append(*WHOSE, 0, events(0, 50), ended=False)
    streams.append(*WHOSE, 0, events(0, 60), ended=False)
    with registry.db.read() as session:
        written = session.execute(text("SELECT sum(length(events)) FROM response_events")).scalar_one()
    assert amounts() == (records, length + written)
    registry.responses.delete(*WHOSE, EVER)
    streams.append(*WHOSE, 60, events(60, 1), ended=True)
    with registry.db.read() as session:
        assert session.execute(text("SELECT count(*) FROM response_events")).scalar_one() == 0
        left = session.execute(text("SELECT sum(length(document) + length(turn)) FROM responses")).scalar_one()
    assert amounts() == (1, left)


def test_they_are_sealed_and_sealed_anew(registry: Registry) -> None:
    keyring = Keyring(b64encode(bytes(32)).decode() + ",plain")
    save(registry, turn("resp_1"))
    old, new = registry.response_streams, ResponseStreams(registry.db, keyring)
    old.begin(*WHOSE)
    old.append(*WHOSE, 0, events(0, 3), ended=False)
    new.append(*WHOSE, 3, events(3, 3), ended=True)
    assert Retention(registry.db, keyring).reseal() == 2, "the response, and what was written without a key"
    assert read(new, 0) == (events(0, 6), 6, True)
    with registry.db.read() as session:
        stored = session.execute(text("SELECT events FROM response_events")).scalars().all()
    assert all(b"sequence" not in one for one in stored)
