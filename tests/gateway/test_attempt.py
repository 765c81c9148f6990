"""One attempt is one step: whoever has a request in progress can make another one, elsewhere and for another reader."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.api.dialects import DIALECTS
from gateway.api.fields.caps import Caps
from gateway.engines.connection import EngineClient
from gateway.engines.engine import Engine, EngineStatus
from gateway.fleet.homes import Homes
from gateway.fleet.view import EngineView, FleetView, InFlight
from gateway.handoffs import AnswerReader, Arm, Booked
from gateway.journal.journal import Journal
from gateway.journal.shipper import Shipper
from gateway.limits.limits import Bill, Limits, Standing
from gateway.limits.windows import Tally
from gateway.responses.writer import Writer
from gateway.steps.attempt import attempt
from loadtest.mock_engine.options import Options
from loadtest.testing import MockEngine
from registry.catalog.snapshot import TariffEntry
from registry.db import Database, now_ms
from registry.ledger.store import Ledger
from registry.ledger.usage_report import report_usage
from registry.limits.spending import SpendingBooks
from registry.responses.sealing import Keyring
from registry.responses.store import StoredResponses
from tests.support.admitted import Patience, admitted

BODY = b'{"model": "triage", "messages": [{"role": "user", "content": "Hello!"}], "max_tokens": 3}'


class Kept:
    """A sink that keeps what is fed to it; without `keeps` one that drops it, as that of a copy of a request does."""

    def __init__(self, *, keeps: bool) -> None:
        self.keeps = keeps
        self.data = b""
        self.attempt: Booked | None = None

    def begin(self, attempt: Booked) -> None:
        self.attempt = attempt

    def read_by(self, reader: AnswerReader) -> None:
        self.reader = reader

    async def feed(self, chunk: bytes) -> None:
        if self.keeps:
            self.data += chunk

    def feed_now(self, chunk: bytes) -> bool:
        return False


@pytest.fixture
async def engines() -> AsyncIterator[list[EngineView]]:
    mocks = [MockEngine(Options()), MockEngine(Options())]
    for mock in mocks:
        await mock.start()
    status = EngineStatus("up", None, "base")
    views = [EngineView(Engine(one.url, "sha256:0", "cpu", 16), status, {}, EngineClient(one.url)) for one in mocks]
    yield views
    for view, mock in zip(views, mocks, strict=True):
        view.client.close()
        await mock.stop()


PRICE = TariffEntry(0, 1_000_000_000, 1_000_000_000, 2_000_000_000)
"""A dollar for a million tokens of prompts, two for answers."""


async def test_a_copy_of_a_request_is_one_more_attempt_that_nobody_gets_and_nobody_is_charged_for(
    engines: list[EngineView], tmp_path: Path, db: Database
) -> None:
    ledger, spending = Ledger(db), SpendingBooks(db)
    view = FleetView(tuple(engines), Homes({}), {})
    fleet: Any = SimpleNamespace(view=lambda: view, in_flight=InFlight(on_released=lambda: None))
    settings: Any = SimpleNamespace(cold_wait_s=1.0, **asdict(Patience()))
    journal = Journal(tmp_path, "w", max_unshipped_bytes=1 << 20)
    means: Any = SimpleNamespace(fleet=fleet, journal=journal, settings=settings)
    limits = Limits(spending, journal.writer)
    tally = Tally(now_ms())
    bill = Bill(limits, Standing((tally,), [], PRICE, None), None, PRICE)
    request = admitted(DIALECTS["chat"].parse(BODY, caps=Caps(), allow_unknown=False))._replace(bill=bill)
    client, drop = Kept(keeps=True), Kept(keeps=False)
    candidate = request._replace(arm=Arm("acme/triage@1.1", "sha256:0"), shadow=True)
    used = [
        await attempt(request, engines[0], 0, client, means),
        await attempt(candidate, engines[1], 0, drop, means),
    ]
    assert b'"model":"acme/triage@1.0"' in client.data
    assert drop.data == b""
    assert [one.completion_tokens for one in used] == [3, 3]
    assert all(sink.attempt is not None and sink.attempt.outcome == "ok" for sink in (client, drop))
    assert fleet.in_flight.total() == 0
    Shipper(journal, ledger).ship()
    journal.close()
    names = ("attempt_id", "request_id", "engine", "served_model", "shadow", "cost_nano")
    cost_nano = (used[0].prompt_tokens or 0) * 1_000 + 3 * 2_000
    assert sorted(tuple(row[name] for name in names) for row in ledger.recent(10)) == [
        ("r1-0", "r1", engines[0].url, "acme/triage@1.0", False, cost_nano),
        ("r1-s0", "r1", engines[1].url, "acme/triage@1.1", True, cost_nano),
    ]
    assert tally.day.nano == cost_nano, "in this process"
    assert spending.between(0, now_ms() + 1)["tenant:acme"].nano == cost_nano, "in the ledger"
    lines = report_usage(db, "tenant", until_ms=now_ms() + 1).lines
    assert [(line.name, line.shadow, line.attempts, line.payable) for line in lines] == [
        ("acme", False, 1, 1),
        ("acme (shadow)", True, 1, 0),
    ]


async def test_nothing_is_kept_of_the_answer_to_a_copy(engines: list[EngineView], tmp_path: Path, db: Database) -> None:
    view = FleetView(tuple(engines), Homes({}), {})
    settings: Any = SimpleNamespace(cold_wait_s=1.0, **asdict(Patience()))
    journal = Journal(tmp_path, "w", max_unshipped_bytes=1 << 20)
    writer = Writer(StoredResponses(db, Keyring(None)).save, lambda: 1)
    means: Any = SimpleNamespace(
        fleet=SimpleNamespace(view=lambda: view, in_flight=InFlight(on_released=lambda: None)),
        journal=journal,
        settings=settings,
        archive=SimpleNamespace(writer=writer),
    )
    body = b'{"model": "triage", "input": "Hello!", "max_output_tokens": 3}'
    request = admitted(DIALECTS["responses"].parse(body, caps=Caps(), allow_unknown=False))
    assert request.request.keeping is not None
    assert request.request.keeping.store
    used = await attempt(request._replace(shadow=True), engines[0], 0, Kept(keeps=False), means)
    assert used.completion_tokens == 3
    await writer.close()
    journal.close()
    assert StoredResponses(db, Keyring(None)).kept() == []
