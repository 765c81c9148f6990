"""One attempt is one step: whoever has a request in progress can make another one, elsewhere and for another reader."""

from __future__ import annotations

from collections.abc import AsyncIterator
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
from gateway.handoffs import AnswerReader, Booked
from gateway.journal.journal import Journal
from gateway.journal.shipper import Shipper
from gateway.steps.attempt import attempt
from loadtest.mock_engine.options import Options
from loadtest.testing import MockEngine
from registry.ledger.store import Ledger
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


async def test_a_copy_of_a_request_is_one_more_attempt_with_another_engine_and_another_sink(
    engines: list[EngineView], tmp_path: Path, ledger: Ledger
) -> None:
    view = FleetView(tuple(engines), Homes({}), {})
    fleet: Any = SimpleNamespace(view=lambda: view, in_flight=InFlight(on_released=lambda: None))
    settings: Any = SimpleNamespace(cold_wait_s=1.0, **dict.fromkeys(Patience.__dataclass_fields__, 5.0))
    journal = Journal(tmp_path, "w", max_unshipped_bytes=1 << 20)
    means: Any = SimpleNamespace(fleet=fleet, journal=journal, settings=settings)
    request = admitted(DIALECTS["chat"].parse(BODY, caps=Caps(), allow_unknown=False))
    client, shadow = Kept(keeps=True), Kept(keeps=False)
    used = [
        await attempt(request, engine, number, sink, means)
        for number, (engine, sink) in enumerate(zip(engines, (client, shadow), strict=True))
    ]
    assert b'"model":"acme/triage@1.0"' in client.data
    assert shadow.data == b""
    assert [one.completion_tokens for one in used] == [3, 3]
    assert all(sink.attempt is not None and sink.attempt.outcome == "ok" for sink in (client, shadow))
    assert fleet.in_flight.total() == 0
    Shipper(journal, ledger).ship()
    journal.close()
    rows = sorted((row["attempt_id"], row["engine"]) for row in ledger.recent(10))
    assert rows == [("r1-0", engines[0].url), ("r1-1", engines[1].url)]
