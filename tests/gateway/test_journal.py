"""Usage survives whatever happens to the process, and is counted once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.cost.journal import Journal, Shipper
from loadtest.testing import free_port
from registry.ledger import Ledger
from registry.service import Registry
from registry.settings import RegistrySettings
from tests.gateway.stack import CHAT, MESSAGES, House, Stack, run_engines, run_stack, wait_until

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Registry.open(RegistrySettings(state_dir=tmp_path / "var")) as registry:
        yield registry.ledger


def row(attempt: str, outcome: str = "lost", tokens: int | None = None) -> dict[str, Any]:
    return {
        "attempt_id": attempt,
        "request_id": attempt,
        "tenant": "acme",
        "key_id": "k",
        "requested_model": "t",
        "served_model": "acme/t@1.0",
        "split_id": None,
        "arm": None,
        "unit_source": None,
        "endpoint": "chat",
        "engine": "http://e",
        "outcome": outcome,
        "prompt_tokens": tokens,
        "cached_tokens": tokens and 0,
        "completion_tokens": tokens,
        "started_at_ms": 1_000,
        "finished_at_ms": None if outcome == "lost" else 2_000,
    }


def outcomes(ledger: Ledger) -> dict[str, tuple[str, int | None]]:
    return {row["attempt_id"]: (row["outcome"], row["completion_tokens"]) for row in ledger.recent(1_000)}


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# The files


def test_what_settled_is_shipped_once_and_what_runs_is_not_shipped_yet(tmp_path: Path, ledger: Ledger) -> None:
    journal = Journal(tmp_path / "journal", "w")
    shipper = Shipper(journal, ledger)
    journal.intent(row("a"))
    journal.intent(row("b"))
    journal.settle(row("a", "ok", 7))
    for _ in range(3):
        shipper.ship()
        assert outcomes(ledger) == {"a": ("ok", 7)}
    journal.settle(row("b", "client_gone"))
    shipper.ship()
    assert outcomes(ledger) == {"a": ("ok", 7), "b": ("client_gone", None)}
    journal.close()


def test_a_second_shipper_over_the_same_files_changes_nothing(tmp_path: Path, ledger: Ledger) -> None:
    journal = Journal(tmp_path / "journal", "w")
    journal.intent(row("a"))
    journal.settle(row("a", "ok", 7))
    Shipper(journal, ledger).ship()
    Shipper(journal, ledger).ship()
    assert outcomes(ledger) == {"a": ("ok", 7)}
    assert ledger.sums(0, 10_000)[0].completion_tokens == 7
    journal.close()


def test_of_a_dead_worker_an_intent_without_an_end_is_lost_and_its_file_goes(tmp_path: Path, ledger: Ledger) -> None:
    dead = Journal(tmp_path / "journal", "dead")
    dead.intent(row("a"))
    dead.intent(row("b"))
    dead.settle(row("a", "ok", 7))
    journal = Journal(tmp_path / "journal", "w")
    shipper = Shipper(journal, ledger)
    shipper.ship()
    assert outcomes(ledger) == {}, "the other worker is alive and ships its own"
    dead.close()
    shipper.ship()
    assert outcomes(ledger) == {"a": ("ok", 7), "b": ("lost", None)}
    assert files(journal.folder) == ["usage-w-000001.jsonl"]
    journal.close()


def test_a_torn_last_line_is_no_record(tmp_path: Path, ledger: Ledger) -> None:
    dead = Journal(tmp_path / "journal", "dead")
    dead.intent(row("a"))
    dead.close()
    with dead.path.open("ab") as file:
        file.write(json.dumps(["settle", row("a", "ok", 7)]).encode()[:-20])
    journal = Journal(tmp_path / "journal", "w")
    Shipper(journal, ledger).ship()
    assert outcomes(ledger) == {"a": ("lost", None)}
    journal.close()


def test_an_attempt_that_ends_after_its_file_was_full_is_not_lost(tmp_path: Path, ledger: Ledger) -> None:
    journal = Journal(tmp_path / "journal", "w", rotate_bytes=100)
    shipper = Shipper(journal, ledger)
    journal.intent(row("a"))
    for _ in range(3):
        shipper.ship()
    assert outcomes(ledger) == {}
    assert files(journal.folder) == ["usage-w-000001.jsonl", "usage-w-000002.jsonl"]
    journal.settle(row("a", "ok", 7))
    shipper.ship()
    assert outcomes(ledger) == {"a": ("ok", 7)}
    shipper.ship()
    assert files(journal.folder) == ["usage-w-000003.jsonl"], "full files go when all of their attempts have ended"
    journal.close()


def test_a_full_file_of_a_live_worker_is_left_to_it(tmp_path: Path, ledger: Ledger) -> None:
    journal = Journal(tmp_path / "journal", "w", rotate_bytes=100)
    journal.intent(row("a"))
    Shipper(journal, ledger).ship()
    other = Journal(tmp_path / "journal", "other")
    Shipper(other, ledger).ship()
    assert outcomes(ledger) == {}
    journal.settle(row("a", "ok", 7))
    journal.close()
    Shipper(other, ledger).ship()
    assert outcomes(ledger) == {"a": ("ok", 7)}, "begun in one file of the dead worker and ended in another"
    other.close()


def test_a_worker_with_the_id_of_a_dead_one_begins_a_file_of_its_own(tmp_path: Path, ledger: Ledger) -> None:
    dead = Journal(tmp_path / "journal", "w")
    dead.intent(row("a"))
    dead.close()
    journal = Journal(tmp_path / "journal", "w")
    Shipper(journal, ledger).ship()
    assert outcomes(ledger) == {"a": ("lost", None)}
    journal.close()


def test_a_ledger_that_is_away_loses_nothing(tmp_path: Path, ledger: Ledger) -> None:
    journal = Journal(tmp_path / "journal", "w")
    shipper = Shipper(journal, ledger)
    journal.settle({**row("a", "ok", 7), "no_such_column": 1})
    with pytest.raises(Exception, match="no_such_column"):
        shipper.ship()
    assert outcomes(ledger) == {}
    journal.path.write_bytes(journal.path.read_bytes().replace(b',"no_such_column":1', b""))
    shipper.ship()
    assert outcomes(ledger) == {"a": ("ok", 7)}
    journal.close()


def test_what_was_written_before_the_end_is_shipped_by_the_end(tmp_path: Path, ledger: Ledger) -> None:
    journal = Journal(tmp_path / "journal", "w")
    shipper = Shipper(journal, ledger, interval_s=60)
    shipper.start()
    journal.settle(row("a", "ok", 7))
    shipper.stop()
    journal.close()
    assert outcomes(ledger) == {"a": ("ok", 7)}


# The gateway


def test_every_attempt_has_a_row_with_what_it_used_and_how_it_ended(stack: Stack) -> None:
    good = stack.chat("ft:gpt-4o-mini:acme::7", max_tokens=5)
    streamed = stack.chat("triage", stream=True, max_tokens=6)
    refused = stack.chat("triage", max_tokens=5_000)
    stack.faults(fail_next=[500])
    failed = stack.chat("triage")
    stack.faults(error_after_chunks=3)
    broken = stack.chat("triage", stream=True)
    stack.faults(error_after_chunks=None)
    rows = [
        stack.house.usage_of(answer.headers["x-request-id"]) for answer in (good, streamed, refused, failed, broken)
    ]
    assert [len(attempts) for attempts in rows] == [1] * 5
    ok, stream, rejected, error, half = (attempts[0] for attempts in rows)
    assert ok["requested_model"] == "ft:gpt-4o-mini:acme::7"
    assert (ok["tenant"], ok["served_model"], ok["endpoint"]) == ("acme", "acme/triage@1.0", "chat")
    assert ok["engine"] == stack.engine.url
    usage = good.json()["usage"]
    assert (ok["prompt_tokens"], ok["completion_tokens"]) == (usage["prompt_tokens"], 5)
    assert ok["cached_tokens"] == usage["prompt_tokens_details"]["cached_tokens"]
    assert ok["started_at_ms"] <= ok["finished_at_ms"]
    assert (stream["prompt_tokens"], stream["completion_tokens"]) == (usage["prompt_tokens"], 6)
    assert [one["outcome"] for one in (ok, stream, rejected, error, half)] == [
        "ok",
        "ok",
        "rejected",
        "engine_error",
        "engine_error",
    ]
    assert (rejected["completion_tokens"], error["completion_tokens"], half["completion_tokens"]) == (None, None, None)


def test_a_request_that_no_engine_was_asked_for_has_no_row(stack: Stack) -> None:
    refused = [stack.chat("nothing"), stack.chat("triage", temperature=9), stack.chat("triage", key="sk-x")]
    last = stack.chat("triage")
    assert stack.house.usage_of(last.headers["x-request-id"])
    for answer in refused:
        assert stack.house.usage(request_id=answer.headers["x-request-id"]) == []


def test_a_kill_right_after_the_answers_loses_none_of_them(house: House) -> None:
    house.publish("acme/triage")
    house.point("acme/triage", "1.0")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with run_engines(house, {}) as (engine,):
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("SWITCHYARD_")},
            "SWITCHYARD_STATE_DIR": str(house.settings.state_dir),
            "SWITCHYARD_ENGINES": json.dumps([engine.url]),
            "SWITCHYARD_ENGINE_PLATFORM": "cpu",
            "SWITCHYARD_PORT": str(port),
        }
        gateway = subprocess.Popen(
            [sys.executable, "-m", "switchyard", "gateway"],
            cwd=REPOSITORY,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_until("the process to be ready", lambda: _ready(url), deadline_s=60)
            headers = {"Authorization": f"Bearer {house.keys['acme']}"}
            ids = []
            with httpx.Client(base_url=url, headers=headers, timeout=15) as http:
                for number in range(20):
                    body = {"model": "triage", "messages": MESSAGES, "max_tokens": 3, "stream": number % 2 == 0}
                    ids.append(http.post(CHAT, json=body).raise_for_status().headers["x-request-id"])
                running = json.dumps({"model": "triage", "messages": MESSAGES, "max_tokens": 9, "stream": True})
                _slow_down(engine.url)
                with http.stream("POST", CHAT, content=running) as answer:
                    lines = answer.iter_lines()
                    next(lines)
                    ids.append(answer.headers["x-request-id"])
                    gateway.send_signal(signal.SIGKILL)
                    gateway.wait(10)
                    with pytest.raises(httpx.RemoteProtocolError):
                        list(lines)
        finally:
            gateway.kill()
            gateway.wait(10)
    with run_stack(house) as stack:
        found = [stack.house.usage_of(request_id)[0] for request_id in ids]
    assert [row["outcome"] for row in found] == ["ok"] * 20 + ["lost"]
    assert [row["completion_tokens"] for row in found] == [3] * 20 + [None]
    assert len(house.usage()) == 21


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz").status_code == 200
    except httpx.TransportError:
        return False


def _slow_down(engine: str) -> None:
    httpx.post(f"{engine}/mock/faults", json={"token_ms": 500}).raise_for_status()
