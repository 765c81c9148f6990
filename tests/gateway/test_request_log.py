"""One line for each request, whatever became of it; nobody waits for who reads it, and nobody writes into it."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.handoffs import Principal, Usage
from gateway.request_log import MOST_WAITING, Form, Request, RequestLog, fields_of, json_line, text_line
from registry.money import nano_to_dollars
from tests.bars.support.engines import engine_processes
from tests.bars.support.gateways import gateway_process
from tests.support.stack import CHAT, MESSAGES, open_house
from tests.support.waiting import wait_until

SECRET_WORDS = "the cat of the minister"
GOES_ON = {"model": "triage", "input": "Hi", "previous_response_id": "resp_none", "stream": True}


def lines_of(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]


def test_every_request_is_a_line_without_its_prompt_and_its_key(tmp_path: Path) -> None:
    with (
        open_house(tmp_path) as house,
        engine_processes(tmp_path, 1) as (engine,),
    ):
        for tenant in ("acme", "globex"):
            house.tenant(tenant)
            house.publish(f"{tenant}/triage")
            house.point(f"{tenant}/triage", "1.0")
        house.registry.limits.set("tenant:globex", {"daily_tokens": 1})
        house.registry.tariffs.add("base:tiny", input_dollars="1", output_dollars="10", source="a test")
        key = house.keys["acme"]
        with gateway_process(house.settings.state_dir, [engine.url]) as gateway:

            def post(headers: dict[str, str] | None = None, **body: Any) -> httpx.Response:
                whole = {"model": "triage", "messages": [{"role": "user", "content": SECRET_WORDS}], **body}
                head = {"Authorization": f"Bearer {key}", **(headers or {})}
                return httpx.post(f"{gateway.url}{CHAT}", json=whole, headers=head)

            for probed in ("/health", "/healthz", "/readyz", "/metrics"):
                httpx.get(f"{gateway.url}{probed}")
            answers = [
                post({"X-Request-Id": 'mine "one"'}, max_tokens=3),
                post(max_tokens=3, stream=True),
                post({"Authorization": "Bearer sk-nobody"}),
                post(temperature="hot"),
                post(model="no\nsuch\u2028model"),
                post({"Authorization": f"Bearer {house.keys['globex']}"}, max_tokens=3, stream=True),
                httpx.post(f"{gateway.url}/v1/responses", json=GOES_ON, headers={"Authorization": f"Bearer {key}"}),
                httpx.get(f"{gateway.url}/nothing"),
            ]
            ids = [answer.headers["x-request-id"] for answer in answers]
            found = wait_until(
                "a line for each", lambda: lines if len(lines := lines_of(gateway.log)) >= len(answers) else None
            )
            text = gateway.log.read_text()
    assert len(found) == len(answers), "probes are not noted"
    line = {one["request_id"]: one for one in found}
    good, stream, unknown, bad, none, over, gone, other = (line[one] for one in ids)
    assert (good["tenant"], good["model"], good["served"]) == ("acme", "triage", "acme/triage@1.0")
    assert (good["engine"], good["status"], good["outcome"]) == (engine.url, 200, "ok")
    assert (good["completion_tokens"], good["stream"]) == (3, False)
    assert good["client_request_id"] == 'mine "one"'
    assert good["key_id"]
    assert 0 < good["first_byte_ms"] <= good["ms"]
    assert good["cost_dollars"] == nano_to_dollars((good["prompt_tokens"] + 30) * 1_000)
    assert (stream["status"], stream["stream"], stream["completion_tokens"]) == (200, True, 3)
    assert (unknown["status"], unknown["outcome"], unknown["error"]) == (401, "refused", "invalid_api_key")
    assert "tenant" not in unknown
    assert (bad["status"], bad["tenant"], bad["error"]) == (400, "acme", "invalid_type")
    assert bad["model"] == "triage"
    assert (none["status"], none["model"], none["error"]) == (404, "no\nsuch\u2028model", "model_not_found")
    assert (over["status"], over["error"], over["stream"]) == (429, "insufficient_quota", True)
    assert (gone["status"], gone["error"]) == (400, "previous_response_not_found")
    assert (gone["model"], gone["stream"]) == ("triage", True)
    assert (other["status"], other["path"]) == (404, "/nothing")
    assert SECRET_WORDS not in text
    assert key not in text
    assert "sk-nobody" not in text


def request(**known: Any) -> Request:
    return Request(1_800_000_000.0, 0.0123, "0" * 32, None, "POST", CHAT, 200, None, **known)


@pytest.mark.parametrize(
    "evil", ["a\nb", "a\r\nb", 'a" model="b', "a\u2028b", "a\x85b", "a\x00b", "a\x1b[2Jb", "a b=c", "ä", "", "\\"]
)
def test_no_name_ends_a_line_or_begins_another_field(evil: str) -> None:
    noted = request(principal=Principal("acme", "k", frozenset(), allow_unknown_fields=False), model=evil)
    made = json_line(fields_of(noted))
    assert made.isascii()
    assert len(made.splitlines()) == 1
    assert json.loads(made)["model"] == evil
    text = text_line(fields_of(noted))
    assert text.isascii()
    assert text.isprintable()
    assert text.count(" model=") == 1 + evil.count(" model=")
    quoted = text.split(" model=", 1)[1].rsplit(" status=", 1)[0]
    assert quoted == evil or json.loads(quoted) == evil


@contextmanager
def writing(form: Form) -> Iterator[tuple[RequestLog, int]]:
    """A log that writes into a pipe, and the end to read from."""
    reads, writes = os.pipe()
    log = RequestLog(form, writes)
    try:
        yield log, reads
    finally:
        os.close(reads)
        log.close()
        os.close(writes)


def test_a_reader_that_stands_still_holds_nobody_up_and_what_is_lost_is_counted() -> None:
    with writing("text") as (log, reads):
        for _ in range(MOST_WAITING + 5_000):
            log.note(request())
        while log._lost == 0:
            log.note(request())
        got = b""
        while b"lines_lost=" not in got:
            got = got[-100:] + os.read(reads, 65_536)


def test_a_reader_that_is_gone_ends_the_log_and_not_the_gateway() -> None:
    reads, writes = os.pipe()
    os.close(reads)
    log = RequestLog("json", writes)
    log.note(request())
    wait_until("the log to end", lambda: not log.on)
    log.note(request())
    log.close()
    os.close(writes)


def test_off_is_off() -> None:
    before = threading.active_count()
    log = RequestLog("off")
    assert not log.on
    assert threading.active_count() == before
    log.close()


def test_what_an_attempt_used_and_cost_is_in_the_line() -> None:
    class Attempt:
        engine_url = "http://e:1"
        outcome = "client_aborted"
        nano = 1_500_000_001
        usage = Usage(prompt_tokens=7, completion_tokens=2)

    fields = fields_of(request(attempt=Attempt()))
    assert (fields["outcome"], fields["cost_dollars"], fields["prompt_tokens"]) == ("client_aborted", "1.500000001", 7)
    assert "cached_tokens" not in fields
    assert fields["at"] == "2027-01-15T08:00:00.000Z"
    assert MESSAGES[0]["content"] not in json_line(fields)
