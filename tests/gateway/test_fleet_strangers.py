"""Who neither has the fleet's secret nor holds its lease: nobody listens to him, and nobody waits for him."""

from __future__ import annotations

import asyncio
import socket
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest

from gateway.engines.engine import EngineStatus
from gateway.fleet import hub
from gateway.fleet.channel import (
    MAC_BYTES,
    MAGIC,
    MAX_FRAME_BYTES,
    NONCE_BYTES,
    UNPROVEN_BYTES,
    Channel,
    LinkBroken,
    link_key,
    of_controller,
    of_worker,
)
from gateway.fleet.hub import MOST_STRANGERS
from gateway.fleet.wire import EngineChanged, Inspected, Published, Welcome, encode
from tests.support.fleet_parts import engines_at, played_worker
from tests.support.link_parts import follower, office, played_office, real_worker, resident
from tests.support.stack import House
from tests.support.waiting import DEADLINE_S, never, wait_until_async

SECRET = "of the fleet"
KEY = bytes(range(32))
MUCH = 16 << 20
HERE = EngineChanged("http://evil:1", EngineStatus("up", None, "base"), ((7, "a-7"),), ())
Accept = Callable[[asyncio.StreamReader, asyncio.StreamWriter], object]


@asynccontextmanager
async def listening(path: Path, accept: Accept) -> AsyncIterator[None]:
    server = await asyncio.start_unix_server(accept, path)  # type: ignore[arg-type]
    try:
        yield
    finally:
        server.close()


def pour(path: str, first: bytes) -> int:
    """Send much to a socket, beginning with `first`; how much went before it was cut off."""
    with closing(socket.socket(socket.AF_UNIX)) as stranger:
        stranger.settimeout(DEADLINE_S)
        stranger.connect(path)
        sent = 0
        with suppress(ConnectionError):
            for piece in (first, *[bytes(1 << 16)] * (MUCH >> 16)):
                stranger.sendall(piece)
                sent += len(piece)
        return sent


def mode_of(path: str) -> int:
    return stat.S_IMODE(Path(path).stat().st_mode)


async def is_cut_off(reader: asyncio.StreamReader) -> bool:
    async with asyncio.timeout(DEADLINE_S):
        with suppress(ConnectionError):
            return await reader.read() == b""
    return True


@pytest.mark.parametrize("first", [b"GET / HTTP/1.1\r\n", b'{"kind":"hello","worker":"', MAGIC])
async def test_nothing_more_is_read_of_a_stranger_than_what_it_could_prove_itself_with(
    house: House, first: bytes
) -> None:
    async with office(house, looks=False) as (controller, address), follower(address, "good") as good:
        sent = await asyncio.gather(*(asyncio.to_thread(pour, address.host, first) for _ in range(8)))
        assert max(sent) < 1 << 20, "the sockets' own buffers, and no more"
        assert set(controller.hub.links) == {"good"}
        controller.hub.publish(())
        await wait_until_async("the worker to be told", lambda: good.seen == controller.hub.revision)


async def test_of_who_has_proven_nothing_no_more_waits_in_memory_than_a_greeting_could_need(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = asyncio.Queue[asyncio.StreamWriter]()

    async def listens_later(_: asyncio.StreamReader, writer: asyncio.StreamWriter, _key: bytes) -> Channel:
        held.put_nowait(writer)
        return await asyncio.Future()

    monkeypatch.setattr(hub, "of_controller", listens_later)
    async with asyncio.timeout(DEADLINE_S), office(house, looks=False) as (_, address):
        _reader, stranger = await address.connect()
        writer = await held.get()
        stranger.write(bytes(4 * UNPROVEN_BYTES))
        await wait_until_async("its socket to be read no more", lambda: not writer.transport.is_reading())  # type: ignore[attr-defined]
        stranger.close()


async def test_who_greets_in_another_protocol_or_version_hears_nothing(house: House) -> None:
    async with office(house, looks=False) as (_, address):
        for greeting in (b"swyd-l0\n", b"GET / HT", bytes(len(MAGIC))):
            reader, writer = await address.connect()
            writer.write(greeting + bytes(NONCE_BYTES))
            assert await is_cut_off(reader), "no proof of ours, which who speaks otherwise has no use for"
            writer.close()


async def test_a_worker_with_another_key_is_refused_and_told_nothing(house: House) -> None:
    async with office(house, looks=False) as (controller, address):
        reader, writer = await address.connect()
        with pytest.raises(LinkBroken, match="does not hold the lease"):
            await of_worker(reader, writer, link_key("guessed", "00" * 32))
        writer.write(bytes(32))
        assert await is_cut_off(reader)
        assert controller.hub.links == {}
        writer.close()


async def test_the_secret_alone_or_the_leases_key_alone_is_nobodys_proof(house: House) -> None:
    async with office(house, looks=False) as (controller, address):
        lease = house.registry.leadership.current()
        assert lease is not None
        controller.hub.key = link_key(SECRET, lease.key)
        for secret, term in (("guessed", lease.key), (SECRET, "00" * 32)):
            reader, writer = await address.connect()
            with pytest.raises(LinkBroken, match="does not hold the lease"):
                await of_worker(reader, writer, link_key(secret, term))
            writer.close()
        reader, writer = await address.connect()
        await of_worker(reader, writer, link_key(SECRET, lease.key))
        writer.close()


@asynccontextmanager
async def door(house: House, key: bytes) -> AsyncIterator[tuple[Path, asyncio.Queue[bool]]]:
    """Where a controller listens; of each that comes, whether it has proven itself."""
    path, proven = house.folder / "door.sock", asyncio.Queue[bool]()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await of_controller(reader, writer, key)
        except LinkBroken:
            proven.put_nowait(False)
        else:
            proven.put_nowait(True)
        finally:
            writer.close()

    async with listening(path, accept):
        yield path, proven


async def test_the_controllers_own_proof_sent_back_to_it_proves_nothing(house: House) -> None:
    async with asyncio.timeout(DEADLINE_S), door(house, KEY) as (path, proven):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(MAGIC + bytes(NONCE_BYTES))
        answer = await reader.readexactly(NONCE_BYTES + MAC_BYTES)
        writer.write(answer[NONCE_BYTES:])
        assert not await proven.get()
        writer.close()


async def test_what_a_worker_said_on_one_link_opens_no_other(house: House) -> None:
    said: list[bytes] = []
    async with asyncio.timeout(DEADLINE_S), door(house, KEY) as (path, proven):
        reader, writer = await asyncio.open_unix_connection(path)
        await of_worker(reader, Recorded(writer, said), KEY)  # type: ignore[arg-type]
        assert await proven.get()
        writer.close()
        greeting, proof = said
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(greeting)
        await reader.readexactly(NONCE_BYTES + MAC_BYTES)
        writer.write(proof)
        assert not await proven.get()
        writer.close()


async def test_what_a_controller_said_on_one_link_leads_no_other_worker(house: House) -> None:
    async with asyncio.timeout(DEADLINE_S), door(house, KEY) as (path, _):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(MAGIC + bytes(NONCE_BYTES))
        recorded = asyncio.StreamReader()
        recorded.feed_data(await reader.readexactly(NONCE_BYTES + MAC_BYTES))
        with pytest.raises(LinkBroken, match="does not hold the lease"):
            await of_worker(recorded, writer, KEY)
        writer.close()


async def test_what_an_end_has_said_itself_is_not_taken_for_the_others_word(house: House) -> None:
    async with office(house, looks=False) as (controller, address):
        reader, writer = await address.connect()
        said: list[bytes] = []
        channel = await of_worker(reader, Recorded(writer, said), controller.hub.key)  # type: ignore[arg-type]
        channel.write(b"a word")
        echoed = asyncio.StreamReader()
        echoed.feed_data(said[-1])
        channel._reader = echoed
        with pytest.raises(LinkBroken, match="has not written"):
            await channel.read(DEADLINE_S)
        writer.close()


class Recorded:
    """A writer that keeps what is written."""

    def __init__(self, writer: asyncio.StreamWriter, said: list[bytes]) -> None:
        self._writer = writer
        self._said = said

    def write(self, data: bytes) -> None:
        self._said.append(data)
        self._writer.write(data)


async def test_who_proves_nothing_in_time_is_cut_off(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.fleet.channel.HANDSHAKE_S", 0.05)
    async with office(house, looks=False) as (_, address):
        for said in (b"", MAGIC, MAGIC + bytes(32)):
            reader, writer = await address.connect()
            writer.write(said)
            assert len(await asyncio.wait_for(reader.read(), DEADLINE_S)) in (0, 64)
            writer.close()


async def test_so_many_strangers_wait_and_the_first_of_them_goes_for_the_next(house: House) -> None:
    async with office(house, looks=False) as (controller, address), AsyncExitStack() as closes:
        readers = []
        for _ in range(MOST_STRANGERS):
            reader, writer = await address.connect()
            closes.callback(writer.close)
            readers.append(reader)
        await wait_until_async("all to wait", lambda: len(controller.hub._strangers) == MOST_STRANGERS)
        worker = await played_worker(address, "w")
        await worker.hear_until_published()
        assert set(controller.hub.links) == {"w"}
        assert await is_cut_off(readers[0])
        assert not readers[1].at_eof()
        worker.hang_up()


async def test_who_has_the_secret_and_no_lease_leads_nobody(house: House) -> None:
    """It listens where the holder of the lease should, as after a crash."""
    path = house.folder / "taken.sock"
    refused: list[str] = []

    async def lead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            channel = await of_controller(reader, writer, link_key(SECRET, "00" * 32))
            say(channel, Welcome(99), engines_at("http://evil:1"), HERE, Published(1))
        except LinkBroken as error:
            refused.append(str(error))
        finally:
            writer.close()

    async with listening(path, lead), real_worker(house, secret=SECRET) as worker:
        assert house.registry.leadership.acquire("dead", f"unix:{path}") is not None
        await wait_until_async("it to have tried", lambda: len(refused) > 1)
        assert not worker.informed.is_set()
        assert worker.view().engines == ()
        assert not worker.link.linked


async def test_who_stands_between_a_worker_and_its_controller_can_say_nothing(house: House) -> None:
    """It passes on all that both say, and after that a message of its own, with the secret at hand."""
    path, lies = house.folder / "between.sock", asyncio.Event()

    async with office(house, looks=False) as (controller, address), AsyncExitStack() as closes:

        async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            theirs, to_them = await address.connect()
            back = asyncio.create_task(copy(reader, to_them))
            closes.callback(back.cancel)
            closes.callback(to_them.close)
            closes.callback(writer.close)
            copying = asyncio.create_task(copy(theirs, writer))
            closes.callback(copying.cancel)
            await lies.wait()
            liar = Channel(reader, writer, writes=link_key(SECRET, "00" * 32), reads=b"")
            say(liar, engines_at("http://evil:1"), HERE, Published(10**6))

        await closes.enter_async_context(listening(path, pass_on))
        lease = house.registry.leadership.current()
        assert lease is not None
        house.registry.leadership.release(lease.holder)
        led = house.registry.leadership.acquire("next", f"unix:{path}")
        assert led is not None
        controller.hub.key = link_key(SECRET, led.key)
        worker = await closes.enter_async_context(real_worker(house, secret=SECRET))
        await wait_until_async("a link through it", worker.informed.is_set)
        linked = worker.link._channel
        lies.set()
        await wait_until_async("the worker to hang up", lambda: worker.link._channel is not linked)
        await never("what it was told by nobody", lambda: resident(worker, 7) is not None)


async def test_who_has_lost_the_lease_is_left_by_its_workers_whatever_it_says(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.fleet.link.LOOK_UP_EVERY_S", 0.05)
    async with real_worker(house) as worker, played_office(house, "old") as links:
        old = await links.get()
        old.say(Welcome(1), engines_at("http://a:1"), revision=1)
        await old.hear_of("seen", 1)
        house.registry.leadership.release("old")  # as it lapses; the link stays
        old.say(revision=2)
        await old.hear_of("seen", 2)
        async with played_office(house, "new") as others:
            new = await asyncio.wait_for(others.get(), DEADLINE_S)
            assert (await new.hear())["kind"] == "hello"
            old.say(engines_at("http://evil:1"), HERE, revision=3)
            new.say(Welcome(2), engines_at("http://a:1"), revision=4)
            await new.hear_of("seen", 4)
            assert resident(worker, 7) is None


async def test_no_frame_is_taken_twice_or_out_of_turn(house: House) -> None:
    said: list[bytes] = []
    async with asyncio.timeout(DEADLINE_S), door(house, KEY) as (path, _):
        reader, writer = await asyncio.open_unix_connection(path)
        worker = await of_worker(reader, Recorded(writer, said), KEY)  # type: ignore[arg-type]
        for word in (b"first", b"second"):
            worker.write(word)
        first, second = said[-2:]
        for frames, understood in (([first, first], 1), ([second], 0), ([first, second], 2)):
            heard = asyncio.StreamReader()
            heard.feed_data(b"".join(frames))
            leader = Channel(heard, writer, writes=b"", reads=worker._writes)
            for _ in range(understood):
                await leader.read(DEADLINE_S)
            if understood < len(frames):
                with pytest.raises(LinkBroken, match="has not written"):
                    await leader.read(DEADLINE_S)
        writer.close()


async def test_nobody_else_on_the_host_may_open_the_controllers_socket(house: House) -> None:
    async with office(house, looks=False) as (_, address):
        assert mode_of(address.host) == 0o600


async def test_a_worker_that_reads_nothing_is_cut_off_before_more_waits_for_it_than_may(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "MAX_UNSENT_BYTES", 1 << 20)
    async with office(house, looks=False) as (controller, address):
        worker = await played_worker(address, "w")
        await wait_until_async("the link", lambda: "w" in controller.hub.links)
        link, said = controller.hub.links["w"], Inspected(1, {"much": "x" * (1 << 16)})
        for _ in range(MUCH >> 16):
            link.send(said)
        assert link.channel.is_closing()
        worker.hang_up()


async def test_a_frame_that_is_longer_than_any_of_ours_is_not_waited_for() -> None:
    """Else an end that is not what it was has as much kept for it as it goes on to send."""
    heard = asyncio.StreamReader()
    heard.feed_data((MAX_FRAME_BYTES + 1).to_bytes(4, "big") + bytes(MAC_BYTES))
    channel = Channel(heard, cast(Any, None), writes=KEY, reads=KEY)
    with pytest.raises(LinkBroken, match="the most is"):
        await channel.read(1.0)


def say(channel: Channel, *messages: object) -> None:
    for message in messages:
        channel.write(encode(message))  # type: ignore[arg-type]


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    for piece in iter(partial(reader.read, 1 << 16), None):
        if not (data := await piece):
            return
        writer.write(data)
