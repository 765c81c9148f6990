"""A stream is written down some events at a time, in order and whole, whatever the database does."""

from __future__ import annotations

from typing import Any, cast

import pytest
from sqlalchemy.exc import IntegrityError, OperationalError

from gateway.responses import recording
from gateway.responses.recording import Recording
from gateway.responses.writer import Writer
from registry.responses.streams import ResponseStreams
from tests.support.waiting import wait_until_async

AWAY = OperationalError("INSERT", {}, Exception("locked"))


class Streams:
    """What is written down; the first orders raise these."""

    def __init__(self, *faults: Exception) -> None:
        self.faults = list(faults)
        self.orders: list[tuple[int, bytes, bool]] = []

    def append(self, _tenant: str, _id: str, first: int, events: bytes, *, ended: bool) -> None:
        self.orders.append((first, events, ended))
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
