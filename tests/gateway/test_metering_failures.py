"""A disk without room and a database that is away fail nothing that was accepted, and let nothing begin unrecorded."""

from __future__ import annotations

import resource
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from gateway.journal.recovery import by_writer
from gateway.journal.verify import verify
from gateway.serving.supervisor import StartFailed
from loadtest.answers import read_answer
from loadtest.testing import MockEngine
from registry.fleet.workers import LEASE_MS
from tests.bars.support.gateways import GatewayProcess, gateway_process
from tests.support.stack import CHAT, MESSAGES, House, locked, run, run_engines
from tests.support.waiting import wait_until

MODEL = "acme/triage"
TOKENS = 4
LONG_TOKENS = 60
TOKEN_MS = 40
"""A long answer takes 2.4 s: it begins before what goes wrong and ends while it still does."""


@dataclass
class Service:
    """A gateway process before one mock engine, and the outcome that the ledger must have for each request."""

    house: House
    engine: MockEngine
    gateway: GatewayProcess
    http: httpx.Client
    outcomes: dict[str, tuple[str, int | None]] = field(default_factory=dict)
    """Request id → outcome and completion tokens; of a request that the client gave up, None: any number."""

    @property
    def journal(self) -> Path:
        return self.house.settings.state_dir / "journal"

    def open(self, tokens: int, *, stream: bool) -> httpx.Response:
        """A request whose answer has so many tokens; its head."""
        body = {"model": MODEL, "messages": MESSAGES, "max_tokens": tokens, "min_tokens": tokens, "stream": stream}
        headers = {"Authorization": f"Bearer {self.house.keys['acme']}"}
        return self.http.send(
            self.http.build_request("POST", f"{self.gateway.url}{CHAT}", json=body, headers=headers), stream=True
        )

    def ask(self, tokens: int = TOKENS, *, stream: bool = False) -> httpx.Response:
        """The whole answer; one with status 200 must be without a fault, and is expected in the ledger."""
        with closing(self.open(tokens, stream=stream)) as answer:
            answer.read()
        if answer.status_code == 200:
            assert read_answer(200, answer.content, stream).failure is None
            self.outcomes[answer.headers["x-request-id"]] = ("ok", tokens)
        return answer

    def give_up(self, events: int) -> None:
        """A stream whose client goes away after so many lines."""
        with closing(self.open(LONG_TOKENS, stream=True)) as answer:
            for number, _ in enumerate(answer.iter_lines()):
                if number >= events:
                    break
        self.outcomes[answer.headers["x-request-id"]] = ("client_aborted", None)

    def serves(self) -> bool:
        """Whether one more request is served; if not, it was told why and when to come again, and no engine was."""
        asked = self.asked()
        answer = self.ask()
        if answer.status_code == 200:
            return True
        assert answer.status_code == 503, answer.text
        assert answer.json()["error"]["code"] == "metering_unavailable"
        assert int(answer.headers["retry-after"]) > 0
        assert self.asked() == asked
        return False

    def asked(self) -> int:
        """Requests of clients that the engine has got."""
        return int(run(self.engine.state())["identified"])

    def wait_running(self, count: int) -> None:
        wait_until(f"{count} answers to run", lambda: run(self.engine.state())["running"] == count)

    def booked(self) -> Counter[tuple[str, str]]:
        """How often the ledger has each request with each outcome."""
        return Counter((row["request_id"], row["outcome"]) for row in self.house.usage())

    def wait_booked(self) -> None:
        """The ledger has every request once, as it was, and nothing else; the journal agrees."""
        expected = Counter((request_id, outcome) for request_id, (outcome, _) in self.outcomes.items())
        wait_until(f"{len(expected)} rows", lambda: self.booked().total() >= len(expected))
        assert self.booked() == expected
        for row in self.house.usage():
            tokens = self.outcomes[row["request_id"]][1]
            assert tokens is None or row["completion_tokens"] == tokens
        assert self.problems() == ()

    def problems(self) -> tuple[str, ...]:
        return verify(self.journal, self.house.registry.ledger).problems


@contextmanager
def service(house: House, **settings: Any) -> Iterator[Service]:
    """One engine and a gateway in a process of its own, warm."""
    house.publish(MODEL)
    house.point(MODEL, "1.0")
    with (
        run_engines(house, {}) as (engine,),
        gateway_process(house.settings.state_dir, [engine.url], engine_check_s=0.2, **settings) as gateway,
        httpx.Client(timeout=60, limits=httpx.Limits(max_keepalive_connections=0)) as http,
    ):
        one = Service(house, engine, gateway, http)
        wait_until("the adapter to be served", lambda: one.ask().status_code == 200)
        run(engine.faults(token_ms=TOKEN_MS))
        yield one


@contextmanager
def another(one: Service) -> Iterator[None]:
    """The gateway that is started in place of one that was killed."""
    with gateway_process(one.house.settings.state_dir, [one.engine.url]) as one.gateway:
        yield


def kill(gateway: GatewayProcess) -> None:
    """kill -9, and it is gone."""
    process = psutil.Process(gateway.pid)
    process.send_signal(signal.SIGKILL)
    wait_until("it to be gone", lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)


@contextmanager
def full_disk(gateway: GatewayProcess, journal: Path) -> Iterator[None]:
    """The gateway's files grow no more while the block runs: not the journal, not the database, not its log.

    Ten bytes are left in the journal, which are less than a record takes.
    """
    (segments,) = by_writer(journal).values()
    room = segments[-1].stat().st_size + 10
    before = resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, before)


def test_a_start_where_usage_cannot_be_written_down_says_so_in_one_sentence(house: House) -> None:
    (house.settings.state_dir / "journal").touch()
    with pytest.raises(StartFailed), gateway_process(house.settings.state_dir, ["http://127.0.0.1:9"]):
        pass
    (log,) = house.folder.glob("gateway-*.log")
    said = log.read_text()
    assert "error: usage cannot be written down in" in said
    assert "make room there and let this user write" in said
    assert "Traceback" not in said


def test_on_a_full_disk_what_had_begun_ends_and_nothing_begins_until_there_is_room(house: House) -> None:
    with service(house) as one, ThreadPoolExecutor(4) as clients:
        streams = [clients.submit(one.ask, LONG_TOKENS, stream=True) for _ in range(2)]
        whole = clients.submit(one.ask, LONG_TOKENS)
        gone = clients.submit(one.give_up, 20)
        one.wait_running(4)
        with full_disk(one.gateway, one.journal):
            assert not one.serves()
            assert [answer.result().status_code for answer in (*streams, whole)] == [200] * 3
            gone.result()
            one.wait_running(0)
            assert not one.serves(), "what ended waits for room, and comes first"
        wait_until("service to go on by itself", one.serves)
        one.wait_booked()
    assert one.problems() == ()


def test_when_the_journals_folder_is_removed_nothing_begins_until_it_is_there_again_and_nothing_is_lost(
    house: House,
) -> None:
    with service(house) as one, ThreadPoolExecutor(1) as clients:
        stream = clients.submit(one.ask, LONG_TOKENS, stream=True)
        one.wait_running(1)
        with locked(house):  # so that none of it is in the ledger yet
            assert [one.serves() for _ in range(3)] == [True] * 3
            shutil.rmtree(one.journal)
            one.journal.touch()  # nobody can make the folder
            wait_until("that nothing begins", lambda: not one.serves())
            assert [one.serves() for _ in range(5)] == [False] * 5
            assert stream.result().status_code == 200
        one.journal.unlink()
        wait_until("service to go on by itself", one.serves)
        one.wait_booked()
    assert one.problems() == ()


def test_a_gateway_that_is_killed_with_ends_that_wait_for_room_books_them_as_lost(house: House) -> None:
    with service(house) as one, ThreadPoolExecutor(1) as clients:
        stream = clients.submit(one.ask, LONG_TOKENS, stream=True)
        one.wait_running(1)
        with full_disk(one.gateway, one.journal):
            request_id = stream.result().headers["x-request-id"]
            kill(one.gateway)
        one.outcomes[request_id] = ("lost", None)
        with another(one):
            one.wait_booked()


def test_while_the_database_is_locked_so_much_is_served_and_then_nothing_begins(house: House) -> None:
    with service(house, journal_max_unshipped_bytes=10_000) as one, ThreadPoolExecutor(1) as clients:
        one.wait_booked()
        warm = one.booked()
        with locked(house):
            served = [one.serves() for _ in range(5)]
            time.sleep(LEASE_MS / 1000 + 0.5)  # its lease lapses, and the controller's too: nobody can renew any
            served += [one.serves() for _ in range(5)]
            assert served == [True] * 10
            stream = clients.submit(one.ask, LONG_TOKENS, stream=True)
            one.wait_running(1)
            wait_until("so much to wait that nothing begins", lambda: not one.serves())
            assert stream.result().status_code == 200
            assert not one.serves()
            assert one.booked() == warm
        wait_until("service to go on by itself", one.serves)
        one.wait_booked()
    assert one.problems() == ()


def test_a_gateway_that_is_killed_while_the_database_is_locked_has_lost_nothing(house: House) -> None:
    with service(house) as one, ThreadPoolExecutor(1) as clients:
        one.wait_booked()
        with locked(house):
            assert [one.serves() for _ in range(5)] == [True] * 5
            stream = clients.submit(one.open, LONG_TOKENS, stream=True)
            with closing(stream.result()) as answer:
                kill(one.gateway)
            assert one.booked().total() < len(one.outcomes)
        one.outcomes[answer.headers["x-request-id"]] = ("lost", None)
        with another(one):
            one.wait_booked()
