"""A stream is written down some events at a time, in order and whole, whatever the database does."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from sqlalchemy.exc import IntegrityError, OperationalError

from gateway.api.respond import Respond
from gateway.responses import recording
from gateway.responses.recording import Recording
from gateway.responses.writer import Writer
from registry.responses.streams import ResponseStreams, SomeEvents
from tests.support.waiting import wait_until_async

AWAY = OperationalError("INSERT", {}, Exception("locked"))


class Streams:
    """What is written down; the first orders raise these."""

    def __init__(self, *faults: Exception) -> None:
        self.faults = list(faults)
        self.orders: list[tuple[int, bytes, bool]] = []

    def append(self, some: Sequence[SomeEvents]) -> None:
        self.orders += [(one.first, one.events, one.ended) for one in some]
        if self.faults:
            raise self.faults.pop(0)


def recorded(streams: Streams) -> tuple[Recording, Writer]:
    writer = Writer(lambda _turns: None, lambda: 1, group_s=0.0)
    return Recording(writer, cast("ResponseStreams", streams), ("acme", "resp_1")), writer


def event(number: int) -> bytes:
    return b"data: %d\n\n" % number


async def take(recording_: Recording, *numbers: int, ended: bool = False) -> None:
    for number in numbers:
        recording_.take(event(number), ended and number == numbers[-1])


async def test_events_are_written_down_together_and_the_end_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "EVERY_S", 0.01)
    streams = Streams()
    one, writer = recorded(streams)
    await take(one, 0, 1, 2)
    await wait_until_async("them to be written", lambda: len(streams.orders) == 1)
    monkeypatch.setattr(recording, "EVERY_S", 3_600)
    await take(one, 3)
    await take(one, 4, ended=True)
    await wait_until_async("the end", lambda: len(streams.orders) == 2)
    assert streams.orders == [
        (0, event(0) + event(1) + event(2), False),
        (3, event(3) + event(4), True),
    ]
    await writer.close()


async def test_many_bytes_do_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "AT_ONCE_BYTES", 20)
    streams = Streams()
    one, writer = recorded(streams)
    await take(one, 0, 1)
    await wait_until_async("them to be written", lambda: streams.orders == [(0, event(0) + event(1), False)])
    await writer.close()


async def test_while_the_database_is_away_they_are_kept_and_written_down_when_it_is_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recording, "AGAIN_S", 0.01)
    streams = Streams(AWAY, AWAY)
    one, writer = recorded(streams)
    await take(one, 0, 1, ended=True)
    await wait_until_async("the third order", lambda: len(streams.orders) == 3)
    assert set(streams.orders) == {(0, event(0) + event(1), True)}
    await writer.close()


@pytest.mark.parametrize("what", ["a fault that does not pass", "too much that waits"])
async def test_where_some_are_missing_none_follows(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    monkeypatch.setattr(recording, "EVERY_S", 0.0)
    streams = Streams(IntegrityError("INSERT", {}, Exception("no such response"))) if "pass" in what else Streams()
    one, writer = recorded(streams)
    if streams.faults:
        await take(one, 0)
        await wait_until_async("the fault", lambda: not vars(one)["_goes_on"])
    else:
        monkeypatch.setattr(recording, "MOST_BYTES", len(event(0)))
        await take(one, 0, 1)
        await wait_until_async("it to be written", lambda: len(streams.orders) == 1)
    before: list[Any] = streams.orders[:]
    await take(one, 2, 3, ended=True)
    await writer.close()
    assert streams.orders == before


async def test_events_are_seen_once_and_also_those_that_a_client_must_be_waited_for_in_vain() -> None:
    async def send(_message: Any) -> None:
        pass

    seen: list[tuple[bytes, bool]] = []
    dialect, ids = SimpleNamespace(request_id_header=None), SimpleNamespace(headers=())
    respond = Respond(send, cast("Any", dialect), began_s=0.0, ids=cast("Any", ids), write_now=lambda _chunk: False)
    respond.streams = True
    respond.seen_by(lambda events, ended: seen.append((events, ended)))
    first, waited_for, in_vain = map(event, range(3))
    await respond.feed(first)
    assert not respond.feed_now(waited_for)
    await respond.feed(waited_for)
    assert not respond.feed_now(in_vain)  # and the request is cancelled
    await respond.end()
    assert seen == [(first, False), (waited_for, False), (in_vain, False), (b"", True)]
