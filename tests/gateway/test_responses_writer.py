"""Answers are stored in groups: together when they come together, each for itself when one of them cannot be."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError, OperationalError

from gateway.errors import NotStored
from gateway.responses.writer import Shared, Writer
from registry.errors import InvalidInput
from registry.responses.turns import SealedTurn
from tests.support.waiting import DEADLINE_S, wait_until_async


def turn(id_: str, size: int = 100) -> SealedTurn:
    return SealedTurn((id_,), size, None)


def many() -> int:
    """So many requests are in flight that somebody may always come."""
    return 1_000


class Books:
    """What is stored, and what may be in the way of it."""

    def __init__(self) -> None:
        self.groups: list[list[str]] = []
        self.open = threading.Event()
        self.open.set()
        self.fault: Callable[[Sequence[SealedTurn]], Exception | None] = lambda _: None

    def save(self, turns: Sequence[SealedTurn]) -> None:
        assert self.open.wait(DEADLINE_S)
        if (fault := self.fault(turns)) is not None:
            raise fault
        self.groups.append([one.row[0] for one in turns])


@pytest.fixture
def books() -> Books:
    return Books()


@pytest.fixture
async def writer(books: Books) -> AsyncIterator[Writer]:
    writer = Writer(books.save, many, patience_s=5)
    yield writer
    books.open.set()
    await writer.close()


async def test_what_comes_while_one_transaction_is_under_way_is_in_the_next_one(writer: Writer, books: Books) -> None:
    books.open.clear()
    first = writer.do(turn("resp_0"))
    await wait_until_async("the thread to begin", lambda: writer._writes_since_s is not None)
    others = [writer.do(turn(f"resp_{number}")) for number in range(1, 20)]
    await asyncio.sleep(0)
    books.open.set()
    await asyncio.gather(first, *others)
    assert books.groups == [["resp_0"], [f"resp_{number}" for number in range(1, 20)]]


async def test_what_comes_soon_after_an_answer_that_was_stored_waits_for_others(books: Books) -> None:
    writer = Writer(books.save, many, group_s=3_600)
    await writer.do(turn("resp_0"))
    others = []
    for number in (1, 2):
        others.append(writer.do(turn(f"resp_{number}")))
        await asyncio.sleep(0.01)
    assert books.groups == [["resp_0"]]
    await writer.close()
    await asyncio.gather(*others)
    assert books.groups == [["resp_0"], ["resp_1", "resp_2"]]


async def test_nobody_waits_for_others_when_all_that_run_wait(books: Books) -> None:
    running = 1
    writer = Writer(books.save, lambda: running, group_s=3_600)
    await writer.do(turn("resp_0"))
    await writer.do(turn("resp_1"))  # nobody else is there
    running = 3
    others = [writer.do(turn(f"resp_{number}")) for number in (2, 3)]
    await asyncio.sleep(0.01)
    assert books.groups == [["resp_0"], ["resp_1"]]
    await asyncio.gather(*others, writer.do(turn("resp_4")))
    assert books.groups[2:] == [["resp_2", "resp_3", "resp_4"]]
    await writer.close()


async def test_a_turn_that_the_database_refuses_takes_no_other_with_it(writer: Writer, books: Books) -> None:
    refused: dict[str, Exception] = {
        "resp_1": IntegrityError("INSERT", {}, Exception("no such tenant")),
        "resp_3": InvalidInput("items are too many", param="items"),
    }
    books.fault = lambda turns: next((refused[one.row[0]] for one in turns if one.row[0] in refused), None)
    ended = await asyncio.gather(*(writer.do(turn(f"resp_{number}")) for number in range(5)), return_exceptions=True)
    assert [type(one) for one in ended] == [type(None), NotStored, type(None), InvalidInput, type(None)]
    assert sorted(id_ for group in books.groups for id_ in group) == ["resp_0", "resp_2", "resp_4"]


async def test_a_database_that_is_away_is_told_to_each_and_the_next_turn_is_stored(
    writer: Writer, books: Books
) -> None:
    books.fault = lambda _: OperationalError("BEGIN", {}, Exception("database is locked"))
    for one in await asyncio.gather(*(writer.do(turn(str(n))) for n in range(3)), return_exceptions=True):
        assert isinstance(one, NotStored)
        assert (one.code, one.status, one.retry_after_s) == ("store_unavailable", 503, 5)
    books.fault = lambda _: None
    await writer.do(turn("resp_1"))
    assert books.groups == [["resp_1"]]


async def test_nobody_waits_for_ever_and_what_nobody_waits_for_is_not_stored(books: Books) -> None:
    writer = Writer(books.save, many, patience_s=0.05)
    books.open.clear()
    ended = await asyncio.gather(*(writer.do(turn(f"resp_{n}")) for n in range(3)), return_exceptions=True)
    assert all(isinstance(one, NotStored) for one in ended)
    with pytest.raises(NotStored):
        writer.look()
    books.open.set()
    await wait_until_async("the thread to end", lambda: writer._writes_since_s is None)
    writer.look()
    await writer.do(turn("resp_9"))
    assert books.groups[-1] == ["resp_9"]
    await writer.close()


async def test_what_waits_is_bounded(writer: Writer, books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.responses.writer.MOST_WAITING", 2)
    books.open.clear()
    waiting = [writer.do(turn(f"resp_{number}")) for number in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(NotStored):
        await writer.do(turn("resp_2"))
    books.open.set()
    await asyncio.gather(*waiting)


async def test_what_waits_is_bounded_with_what_its_clients_wrote(
    writer: Writer, books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.responses.writer.MOST_WAITING_BYTES", 2_000)
    books.open.clear()
    first = writer.do(turn("resp_1", size=1_500))
    await asyncio.sleep(0)
    with pytest.raises(NotStored):
        await writer.do(turn("resp_2", size=1_500))
    books.open.set()
    await first


async def test_what_is_left_to_it_is_done_before_it_closes(books: Books) -> None:
    writer = Writer(books.save, many)
    done: list[Any] = []
    for number in range(3):
        writer.leave(lambda number=number: done.append(number))  # type: ignore[misc]
    writer.leave(lambda: 1 / 0)
    assert await writer.do(lambda: "its value") == "its value"
    writer.leave(lambda: done.append("last"))
    await writer.close()
    assert done == [0, 1, 2, "last"]


async def test_what_nobody_waits_for_is_tried_again_while_the_database_cannot_be_written_to(books: Books) -> None:
    writer = Writer(books.save, many, again_s=0.01)
    tries: list[int] = []

    def locked_at_first() -> None:
        tries.append(len(tries))
        if len(tries) < 3:
            raise OperationalError("UPDATE", {}, Exception("database is locked"))

    def never() -> None:
        tries.append(-1)
        raise InvalidInput("no")

    writer.leave(never)
    writer.leave(locked_at_first)
    await wait_until_async("another try", lambda: 2 in tries)
    await writer.close()
    assert tries == [-1, 1, 2]


async def test_what_is_shared_is_carried_out_at_once_behind_what_somebody_waits_for(
    writer: Writer, books: Books
) -> None:
    carried_out: list[Sequence[int]] = []
    may_begin = threading.Event()

    def carry_out(some: Sequence[int]) -> None:
        assert may_begin.wait(DEADLINE_S)
        carried_out.append(some)

    books.open.clear()
    first = writer.do(turn("resp_0"))
    await wait_until_async("the thread to begin", lambda: writer._writes_since_s is not None)
    shared = [writer.do(Shared(carry_out, number), waits=False) for number in range(20)]
    second = writer.do(turn("resp_1"))
    books.open.set()
    await asyncio.gather(first, second)
    assert not any(one.done() for one in shared)
    may_begin.set()
    await asyncio.gather(*shared)
    assert carried_out == [[*range(20)]]
    await writer.do(turn("resp_2"))
    assert books.groups == [["resp_0"], ["resp_1"], ["resp_2"]]


async def test_of_what_is_shared_one_that_is_refused_takes_no_other_with_it(writer: Writer) -> None:
    carried_out: list[int] = []

    def carry_out(some: Sequence[int]) -> None:
        if 1 in some:
            raise IntegrityError("INSERT", {}, Exception("no such response"))
        carried_out.extend(some)

    shared = [writer.do(Shared(carry_out, number), waits=False) for number in range(3)]
    ended = await asyncio.gather(*shared, return_exceptions=True)
    assert [type(one) for one in ended] == [type(None), IntegrityError, type(None)]
    assert carried_out == [0, 2]
