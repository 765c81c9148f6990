"""What one tenant, or a stranger, does to the gateway; each goes on until it is cancelled."""

from __future__ import annotations

import asyncio
from functools import partial

import orjson

from tests.bars.support.abuse.attacker import PAUSE_S, Aim, at_once, connect, hammer
from tests.support.wire import read_answer

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
MESSAGES = [{"role": "user", "content": "My parcel is late."}]
CONNECTIONS = 12
ADAPTERS_RUNNING = 4
"""The engine's `max_loras`."""
PLACES, COLD, BODIES, STRANGERS, HALVES, LISTERS = 14, 60, 30, 1_100, 512, 3
NOISY, NOISY_TOKENS = 320, 40
"""Requests at a time, 20 times what is its share of an engine that runs 32; and tokens of each of their answers."""
BODY_BYTES, HALF_BYTES = 4_000_000, 2_000_000
LONG_TOKENS, LOGPROB_TOKENS, LOGPROBS = 900, 50_000, 20
TRICKLE_S = 0.5


def _chat(aim: Aim, model: str, tokens: int, *, stream: bool) -> bytes:
    body = {"model": model, "messages": MESSAGES, "max_tokens": tokens, "ignore_eos": True, "stream": stream}
    return aim.post(CHAT, orjson.dumps(body))


async def long_streams(aim: Aim) -> None:
    """Long streams on as many adapters as an engine runs at a time."""
    await _streams(aim, CONNECTIONS, ADAPTERS_RUNNING)


async def all_places(aim: Aim) -> None:
    """Long streams on as many adapters as an engine has places for."""
    await _streams(aim, PLACES, PLACES)


async def _streams(aim: Aim, connections: int, adapters: int) -> None:
    requests = [_chat(aim, aim.adapters[number], LONG_TOKENS, stream=True) for number in range(adapters)]
    await at_once(connections, lambda number: hammer(aim, number, lambda _: requests[number % adapters]))


async def cold_storm(aim: Aim) -> None:
    """Short requests, each for an adapter that has not been used for long."""
    requests = [_chat(aim, name, 1, stream=False) for name in aim.adapters[:COLD]]
    each = len(requests) // CONNECTIONS

    async def one(number: int) -> None:
        await hammer(aim, number, lambda asked: requests[number * each + asked % each])

    await at_once(CONNECTIONS, one)


async def noisy(aim: Aim) -> None:
    """20 times its share of requests of a usual size, for an adapter that is in use."""
    request = _chat(aim, aim.adapters[0], NOISY_TOKENS, stream=False)
    await at_once(max(CONNECTIONS, int(NOISY * aim.size)), lambda number: hammer(aim, number, lambda _: request))


async def large_bodies(aim: Aim) -> None:
    """Bodies of 4 MB, of text and of token ids, for an engine that hangs."""
    prompts = (b'"' + b"a" * BODY_BYTES + b'"', b"[" + b"17," * (BODY_BYTES // 3) + b"17]")
    requests = [
        aim.post(TEXT, b'{"model":"%b","max_tokens":1,"prompt":%b}' % (aim.hung.encode(), one)) for one in prompts
    ]
    count = max(CONNECTIONS, int(BODIES * aim.size))
    await at_once(count, lambda number: hammer(aim, number, lambda _: requests[number % len(requests)]))


async def logprobs(aim: Aim) -> None:
    """Answers in one piece that are as long as they may be, of log-probabilities."""
    tokens = max(1_000, int(LOGPROB_TOKENS * aim.size))
    body = {"model": aim.hung, "prompt": "a", "max_tokens": tokens, "ignore_eos": True, "logprobs": LOGPROBS}
    request = aim.post(TEXT, orjson.dumps(body))
    await at_once(CONNECTIONS, lambda number: hammer(aim, number, lambda _: request))


async def idle_strangers(aim: Aim) -> None:
    """More connections than the gateway may have open, on which nothing comes; of every fourth, half a head."""

    async def one(number: int) -> None:
        while True:
            try:
                reader, writer = await connect(aim, number)
            except OSError:
                aim.answers[0] += 1
                await asyncio.sleep(PAUSE_S)
                continue
            try:
                if number % 4 == 0:
                    writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost:")
                aim.begun()
                answer = await read_answer(reader)
                aim.answers[0 if answer is None else answer.status] += 1
            except (OSError, ValueError, asyncio.IncompleteReadError):
                aim.answers[0] += 1
            finally:
                writer.close()
            await asyncio.sleep(PAUSE_S)

    await at_once(int(STRANGERS * aim.size), one)


async def model_lists(aim: Aim) -> None:
    """The list of a tenant that has very many adapters, again and again."""
    request = aim.head("GET", "/v1/models")
    await at_once(LISTERS, lambda number: hammer(aim, number, lambda _: request))


async def key_guesses(aim: Aim) -> None:
    """Keys of operators and of tenants, guessed."""

    def guess(number: int, asked: int) -> bytes:
        path = "/admin/v1/tenants" if asked % 2 else "/v1/models"
        return aim.head("GET", path, key=f"sk-{number:08x}{asked:024x}")

    await at_once(CONNECTIONS, lambda number: hammer(aim, number, partial(guess, number)))


async def nested_bodies(aim: Aim) -> None:
    """Bodies of 4 MB of lists in lists, where a hint or a schema may stand."""
    lists = b"[" + b"[[],[]]," * (BODY_BYTES // 8) + b"[]]"
    start = b'{"model":"%b","max_tokens":1,"messages":[{"role":"user","content":"x"}],' % aim.adapters[0].encode()
    schema = b'{"type":"json_schema","json_schema":{"name":"a","schema":{"type":"object","anyOf":%b}}}' % lists
    deep = b"[" * (BODY_BYTES // 2) + b"]" * (BODY_BYTES // 2)
    bodies = [
        start + b'"prompt_cache_options":' + lists + b"}",
        start + b'"response_format":' + schema + b"}",
        start + b'"prompt_cache_options":' + deep + b"}",
    ]
    requests = [aim.post(CHAT, body) for body in bodies]
    await at_once(CONNECTIONS, lambda number: hammer(aim, number, lambda asked: requests[asked % len(requests)]))


async def half_bodies(aim: Aim) -> None:
    """Half of a body on each of very many connections, and then a byte now and then."""
    head = aim.head("POST", CHAT, "Content-Type: application/json", f"Content-Length: {2 * HALF_BYTES}")

    async def one(number: int) -> None:
        while True:
            try:
                reader, writer = await connect(aim, number)
                try:
                    # A part of the connections bring two megabytes, the others a kilobyte, as their sender has no more.
                    writer.write(head + b" " * (HALF_BYTES if number % 16 == 0 else 1_000))
                    aim.begun()
                    trickling = asyncio.create_task(_trickle(writer))
                    try:
                        answer = await read_answer(reader)
                    finally:
                        trickling.cancel()
                        await asyncio.gather(trickling, return_exceptions=True)
                    aim.answers[0 if answer is None else answer.status] += 1
                finally:
                    writer.close()
            except (OSError, ValueError, asyncio.IncompleteReadError):
                aim.answers[0] += 1
            await asyncio.sleep(PAUSE_S)

    await at_once(max(CONNECTIONS, int(HALVES * aim.size)), one)


async def _trickle(writer: asyncio.StreamWriter) -> None:
    while True:
        await asyncio.sleep(TRICKLE_S)
        writer.write(b" ")
