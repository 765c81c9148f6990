"""What a vLLM with `--runner pooling` answers: vectors of texts, and how near they are to each other.

A vector depends on nothing but (adapter's content, tokens), as words of answers do, so it tells whose weights made it.
Two texts are as near as their vectors: 1 to itself, and about 0 to any other.
"""

from __future__ import annotations

import base64
import hashlib
import math
import time
import uuid
from array import array
from typing import Any, Literal

import orjson

from loadtest.mock_engine.answers import tokenize
from loadtest.mock_engine.engine import Engine
from loadtest.mock_engine.inference import before_answer
from loadtest.mock_engine.jobs import invalid, missing, parse_object
from loadtest.mock_engine.options import Options
from loadtest.mock_engine.wire import ClientGone, EngineError, Exchange
from loadtest.mock_engine.worker import Registered

Task = Literal["embeddings", "score", "rerank"]
Tokens = tuple[int, ...]


async def pool(engine: Engine, task: Task, exchange: Exchange) -> None:
    """Serve one request. Raises EngineError before the answer has begun, ClientGone."""
    data = await exchange.body()
    body = parse_object(data, exchange.header(b"content-type"))
    texts = _texts(task, body, engine.options)
    adapter = _find(engine, body.get("model") or "")
    engine.check_alive()
    name = adapter.name if adapter else engine.options.served_model_name[0]
    stats = engine.stats
    stats.requests.count(name)
    stats.identified += exchange.header(b"x-request-id") is not None
    stats.trace = exchange.header(b"traceparent"), exchange.header(b"tracestate")
    request_id = exchange.header(b"x-request-id") or uuid.uuid4().hex[:16]
    try:
        await before_answer(engine, exchange, data)
        async with engine.admission.place(adapter.number if adapter else None):
            await engine.prepare(adapter)
            with engine.batch(adapter) as serving:
                await engine.pace.work(exchange, engine.faults.ttft_ms / 1_000)
                engine.check_alive()
                vectors = [vector(serving.who, one, engine.options.embedding_size) for one in texts]
                reply = _reply(task, body, vectors, sum(map(len, texts)), serving.model, request_id)
                stats.prompt_tokens += sum(map(len, texts))
                stats.finished["stop"] += len(texts)
                await exchange.answer(200, orjson.dumps(reply))
    except ClientGone:
        stats.aborted += 1
        raise
    except EngineError:
        stats.failed += 1
        raise
    stats.answered.count(name)


def vector(who: bytes, tokens: Tokens, size: int) -> list[float]:
    """The direction of a text, of length 1."""
    drawn = hashlib.shake_256(who + array("q", tokens).tobytes()).digest(2 * size)
    numbers = [int.from_bytes(drawn[at : at + 2], "little") - 32_767.5 for at in range(0, 2 * size, 2)]
    length = math.sqrt(sum(number * number for number in numbers))
    return [number / length for number in numbers]


def _find(engine: Engine, model: str) -> Registered | None:
    try:
        return engine.find(model)
    except EngineError as error:  # it names no parameter here, and no alias
        raise EngineError(404, error.kind, f"The model `{model}` does not exist.") from error


def _texts(task: Task, body: dict[str, Any], options: Options) -> list[Tokens]:
    if task == "embeddings":
        if "input" not in body:
            raise missing("input")
        if (asked := body.get("dimensions")) is not None:
            name = options.served_model_name[0]
            text = f"Model '{name}' does not support Matryoshka embeddings; dimensions must be unset"
            raise EngineError(400, "BadRequestError", f"{text} (received dimensions={asked}).")
        given = body["input"]
        if not isinstance(given, str | list):
            raise invalid(
                {"type": "list_type", "loc": "body.input", "msg": "Input should be a valid list"}, "body.input"
            )
        parts = [given] if isinstance(given, str) or (given and type(given[0]) is int) else given
    else:
        one, two = _sides(task, body)
        if not two:
            raise EngineError(400, "BadRequestError", "At least one text_pair element must be given")
        if len(one) not in (1, len(two)):
            raise EngineError(400, "BadRequestError", "Input lengths must be either 1:1, 1:N or N:N")
        parts = [*one, *two]
    if not parts:
        raise EngineError(400, "BadRequestError", "You must pass at least one prompt")
    return [_checked(one, body, options) for one in parts]


def _sides(task: Task, body: dict[str, Any]) -> tuple[list[str], list[str]]:
    names = ("query", "documents") if task == "rerank" else ("queries", "documents")
    if task == "score" and names[0] not in body:
        names = ("text_1", "text_2")
    for name in names:
        if name not in body:
            raise missing(name)
    one, two = ([side] if isinstance(side, str) else list(side) for side in (body[name] for name in names))
    if strangers := [part for part in (*one, *two) if not isinstance(part, str)]:
        detail = {"type": "string_type", "loc": f"body.{names[1]}", "msg": "Input should be a valid string"}
        raise invalid({**detail, "input": str(strangers[0])}, f"body.{names[1]}")
    return one, two


def _checked(part: str | list[int], body: dict[str, Any], options: Options) -> Tokens:
    tokens = tokenize(part, options.vocab_size) if isinstance(part, str) else tuple(part)
    if not tokens:
        raise EngineError(400, "BadRequestError", "The decoder prompt cannot be empty")
    if strangers := [token for token in tokens if not 0 <= token < options.vocab_size]:
        raise EngineError(400, "BadRequestError", f"Token id {strangers[0]} is out of vocabulary")
    most = body.get("truncate_prompt_tokens") or 0
    tokens = tokens[-most:] if most > 0 else tokens
    if len(tokens) > options.max_model_len:
        text = f"This model's maximum context length is {options.max_model_len} tokens. However, your prompt contains"
        text += f" {len(tokens)} input tokens, which exceeds this limit even without any output tokens. Please reduce"
        suffix = f"the length of the input prompt. (parameter=input_tokens, value={len(tokens)})"
        raise EngineError(400, "BadRequestError", f"{text} {suffix}", "input_tokens")
    return tokens


def _reply(
    task: Task, body: dict[str, Any], vectors: list[list[float]], read: int, model: str, request_id: str
) -> dict[str, Any]:
    usage: dict[str, Any] = {"prompt_tokens": read, "total_tokens": read}
    if task == "rerank":
        return {"id": f"score-{request_id}", "model": model, "usage": usage, "results": _ranked(body, vectors)}
    usage |= {"completion_tokens": 0, "prompt_tokens_details": None, "completion_tokens_details": None}
    kind = "embd" if task == "embeddings" else "score"
    head = {"id": f"{kind}-{request_id}", "object": "list", "created": int(time.time()), "model": model}
    found: list[Any]
    if task == "embeddings":
        as_text = body.get("encoding_format") == "base64"
        found = [base64.b64encode(array("f", one).tobytes()).decode() if as_text else one for one in vectors]
        data = [{"index": at, "object": "embedding", "embedding": one} for at, one in enumerate(found)]
    else:
        found = _scores(vectors, len(_sides(task, body)[0]))
        data = [{"index": at, "object": "score", "score": one} for at, one in enumerate(found)]
    return {**head, "data": data, "usage": usage}


def _scores(vectors: list[list[float]], queries: int) -> list[float]:
    one, two = vectors[:queries], vectors[queries:]
    one = one * len(two) if queries == 1 else one
    return [sum(a * b for a, b in zip(left, right, strict=True)) for left, right in zip(one, two, strict=True)]


def _ranked(body: dict[str, Any], vectors: list[list[float]]) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = [
        {"index": at, "document": {"text": body["documents"][at], "multi_modal": None}, "relevance_score": score}
        for at, score in enumerate(_scores(vectors, 1))
    ]
    results.sort(key=lambda one: one["relevance_score"], reverse=True)
    return results[: body.get("top_n") or len(results)]
