"""Traffic that is judged: what is written down about whole, broken, refused and late answers."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from loadtest.answers import read_answer
from loadtest.folders import write_adapter
from loadtest.records import Ask, Plan, read_plan, read_records, write_records
from loadtest.signatures import learn
from loadtest.testing import MockEngine, run_mock_engine
from loadtest.traffic import Traffic

PROMPTS = ("Write one line.", "Write another one.")
WHOLE = '{"model":"base","choices":[{"text":" a","finish_reason":"stop"}]}'
SEED_OF_ONE = 1
"""With it exactly one request begins within 0.15 s at ten a second."""


def plan_for(engine: MockEngine, **changes: object) -> Plan:
    plan = Plan(engine.url, 200, 0.3, (Ask("acme", "k", "base"),), PROMPTS, seed=3, stream_tokens=6, timeout_s=2)
    return replace(plan, **changes)  # type: ignore[arg-type]


async def test_every_request_is_recorded_with_model_text_and_times() -> None:
    async with run_mock_engine(token_ms=2) as engine:
        records = await Traffic(plan_for(engine)).run()
        said = await learn(engine.url, {}, {"base": "base"}, PROMPTS, 16)
    assert len(records) > 30
    gaps_s = []
    assert {(record.chat, record.stream, record.prompt) for record in records} == {
        (chat, stream, prompt) for chat in (True, False) for stream in (True, False) for prompt in (0, 1)
    }
    for record in records:
        assert (record.failure, record.models, len(record.attempts)) == (None, ("base",), 1)
        assert said["base"][record.question].startswith(record.text)
        assert len(record.text.split()) == record.tokens
        first_byte = record.last.first_byte
        assert first_byte is not None
        assert record.started <= first_byte <= record.last.ended
        if record.stream:
            gaps_s.append(record.last.ended - first_byte)
    assert max(gaps_s) > 0.008, "a stream's first byte is not its last"


async def test_requests_go_on_beginning_while_nobody_answers() -> None:
    async with run_mock_engine() as engine:
        await engine.faults(hang=True)
        records = await Traffic(plan_for(engine, timeout_s=0.2)).run()
    assert len(records) > 30
    assert {record.failure for record in records} == {"no answer within 0.2 s"}
    assert {record.last.status for record in records} == {0}


@pytest.mark.parametrize(("refusals", "statuses"), [(2, [503, 503, 200]), (9, [503, 503, 503])])
async def test_a_503_with_retry_after_is_asked_again_twice_at_most(refusals: int, statuses: list[int]) -> None:
    left = refusals

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal left
        left -= 1
        await reader.readuntil(b"}")
        status, head, body = (503, "Retry-After: 0.05\r\n", "{}") if left >= 0 else (200, "", WHOLE)
        writer.write(
            f"HTTP/1.1 {status} X\r\n{head}Connection: close\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        only = Ask("acme", "k", "base")
        (record,) = await Traffic(Plan(url, 10, 0.15, (only,), PROMPTS, seed=SEED_OF_ONE, stream_share=0.0)).run()
    assert [attempt.status for attempt in record.attempts] == statuses
    assert all(later.started - earlier.ended >= 0.05 for earlier, later in pairwise(record.attempts))
    assert (record.failure is None) == (statuses[-1] == 200)


async def test_a_failure_without_retry_after_is_final() -> None:
    async with run_mock_engine() as engine:
        await engine.faults(fail_next=[503] * 3)
        records = await Traffic(plan_for(engine)).run()
    assert sum(record.failure is not None for record in records) == 3
    assert all(len(record.attempts) == 1 for record in records)


async def test_a_stream_that_breaks_keeps_what_had_come() -> None:
    async with run_mock_engine() as engine:
        await engine.faults(die_after_chunks=3)
        broken = await Traffic(plan_for(engine, stream_share=1.0)).run()
        await engine.faults(die_after_chunks=None, error_after_chunks=3)
        told = await Traffic(plan_for(engine, stream_share=1.0)).run()
    for record in broken:
        assert record.failure == "the connection ended before the answer did"
        assert (record.models, record.last.proper_error) == (("base",), False)
        assert record.text
    for record in told:
        assert record.failure is not None
        assert record.failure.startswith("error in the answer")
        assert record.last.proper_error


async def test_answers_that_cannot_be_read_are_failures() -> None:
    assert read_answer(200, b"{", stream=False).failure is not None
    assert read_answer(200, b'data: {"model": "m"}\n\ndata: [DONE]\n\n', stream=True).failure is not None
    whole = b'data: {"model":"m","choices":[{"text":" a","finish_reason":"stop"}]}\n\n'
    assert read_answer(200, whole, stream=True).failure == "the stream ended without [DONE]"
    assert read_answer(200, whole + b"data: [DONE]\n\n", stream=True).failure is None
    assert read_answer(200, b'{"model":"m","choices":[{"text":" a"}]}', stream=False).failure is not None


async def test_versions_that_say_the_same_are_refused(tmp_path: Path) -> None:
    one, same = write_adapter(tmp_path / "1", seed=1), write_adapter(tmp_path / "2", seed=1)
    other = write_adapter(tmp_path / "3", seed=2)
    async with run_mock_engine(max_cpu_loras=8) as engine:
        signatures = await learn(engine.url, {"a": one, "b": other}, {"tiny": "base"}, PROMPTS, 8)
        assert set(signatures) == {"a", "b", "tiny"}
    async with run_mock_engine(max_cpu_loras=8) as engine:
        with pytest.raises(RuntimeError, match="the same answer"):
            await learn(engine.url, {"a": one, "b": same}, {}, PROMPTS, 8)


async def test_plan_and_records_survive_their_files(tmp_path: Path) -> None:
    async with run_mock_engine() as engine:
        plan = plan_for(engine)
        assert read_plan(plan.write(tmp_path / "plan.json")) == plan
        records = await Traffic(plan).run()
    write_records(tmp_path / "records.jsonl", records)
    assert read_records(tmp_path / "records.jsonl") == records
