"""What an engine refuses or gives up, as the client reads it."""

from __future__ import annotations

import orjson
import pytest

from gateway.engines.connection import AdapterMissing, EngineClient, EngineUnreachable
from gateway.errors import ApiError, BadRequest
from gateway.handoffs import EngineBroke, EngineCount
from tests.support.admitted import NAME, PUBLIC, forward_to
from tests.support.forward_parts import (
    COUNTS,
    DONE,
    USAGE,
    all_of,
    event,
    forwarded,
    public,
    read_into,
    token,
)
from tests.support.raw_server import Connection, chunked, document, raw_server


def refusal(message: str, param: str | None = None) -> bytes:
    return orjson.dumps({"error": {"message": message, "type": "t", "param": param, "code": 1}})


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (b"404 Not Found", refusal(f"The model `{NAME}` does not exist.", "model"), AdapterMissing),
        (b"503 Service Unavailable", refusal("full"), EngineUnreachable),
        (b"503 Service Unavailable", b"<html>", EngineUnreachable),
        (b"400 Bad Request", refusal(f"no such thing for {NAME}", "stop"), ApiError),
        (b"500 Internal Server Error", refusal(f"boom {NAME}"), ApiError),
        (b"500 Internal Server Error", refusal("EngineCore encountered an issue."), EngineUnreachable),
        (b"401 Unauthorized", b'{"error":"Unauthorized"}', EngineUnreachable),
        (b"404 Not Found", b'{"detail":"Not Found"}', EngineUnreachable),
        (b"200 OK".replace(b"200", b"301"), b"", EngineUnreachable),
    ],
)
async def test_a_refusal_of_the_engine_becomes_ours(status: bytes, body: bytes, kind: type[Exception]) -> None:
    with pytest.raises(kind) as caught:
        async with forwarded(document(body, status=status)):
            raise AssertionError("unreachable")
    if isinstance(caught.value, ApiError):
        assert NAME not in caught.value.message
        assert caught.value.status == (400 if status.startswith(b"400") else 502)
        assert caught.value.param == ("stop" if status.startswith(b"400") else None)


async def test_a_refusal_leaves_the_connection_ready_for_the_next_request() -> None:
    async def answer(connection: Connection) -> None:
        await connection.send(document(refusal("x"), status=b"400 Bad Request"))

    async with raw_server(answer) as server:
        client = EngineClient(server.url)
        for _ in range(3):
            with pytest.raises(ApiError):
                async with forward_to(client, {}, EngineCount(), endpoint="completions"):
                    raise AssertionError("unreachable")
        client.close()
    assert len(server.connections) == 1
    assert len(server.requests) == 3


TOOLS = "tools[1].function.parameters.a", "tools[1].input_schema.a"


@pytest.mark.parametrize(
    ("endpoint", "stream", "engines", "clients"),
    [
        ("chat", False, "max_completion_tokens", "max_completion_tokens"),
        ("responses", False, "max_completion_tokens", "max_output_tokens"),
        ("responses", True, "max_completion_tokens", "max_output_tokens"),
        ("input_tokens", False, "tools[1].function.name", "tools[1].name"),
        ("messages", False, *TOOLS),
        ("messages", True, *TOOLS),
        ("count_tokens", False, *TOOLS),
    ],
)
async def test_what_an_engine_refuses_is_named_as_the_client_named_it(
    endpoint: str, stream: bool, engines: str, clients: str
) -> None:
    said = orjson.dumps({"error": {"message": f"'{engines}' is odd.", "type": "t", "param": engines, "code": 400}})

    async def answer(connection: Connection) -> None:
        behind_the_head = chunked(b"data: %b\n\n" % said, DONE)
        await connection.send(behind_the_head if stream else document(said, status=b"400 Bad Request"))

    async with raw_server(answer) as server:
        client = EngineClient(server.url)
        with pytest.raises(BadRequest) as refused:
            async with forward_to(
                client, {"messages": [], "stream": stream}, EngineCount(), endpoint=endpoint
            ) as forward:
                await all_of(forward)
        client.close()
    assert (refused.value.param, refused.value.message) == (clients, f"'{clients}' is odd.")


@pytest.mark.parametrize("reason", ["abort", "error"])
@pytest.mark.parametrize("pieces", [1, 10_000])
async def test_an_answer_that_its_engine_gave_up_is_an_answer_that_broke(reason: str, pieces: int) -> None:
    ended = event({"id": "c-1", "model": NAME, "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
    async with forwarded(chunked(token("one") + ended + USAGE + DONE), pieces=pieces) as (forward, usage, _):
        got: list[bytes] = []
        with pytest.raises(EngineBroke):
            await read_into(got, forward)
    assert b"".join(got) == public(token("one"))
    assert usage.source != "engine"
    said = {"id": "c-1", "model": NAME, "choices": [{"message": {"content": "x"}, "finish_reason": reason}]}
    async with forwarded(document(orjson.dumps({**said, "usage": COUNTS})), stream=False, pieces=pieces) as (
        forward,
        _,
        _,
    ):
        with pytest.raises(EngineBroke):
            await all_of(forward)


async def test_a_client_may_talk_about_answers_that_are_given_up() -> None:
    text = 'the field is "finish_reason":"abort"'
    async with forwarded(chunked(token(text) + USAGE + DONE)) as (forward, _, _):
        assert b"".join(await all_of(forward)) == public(token(text) + DONE)


ADAPTER = "a-0123456789abcdef-1-7"
MESSAGES_OF_THE_ENGINE = [
    ("base", "tiny", "The model `base` does not exist.", "The model `tiny` does not exist."),
    ("base", "tiny", "Invalid base64 in the database based on base.", "Invalid base64 in the database based on base."),
    ("base", "tiny", "'base' and \"base\", not 'base`", "'tiny' and \"tiny\", not 'base`"),
    ("a", "tiny", "A value of `a` at a/b", "A value of `tiny` at a/b"),
    ("m.l", "tiny", "model 'mxl' is not 'm.l'", "model 'mxl' is not 'tiny'"),
    (ADAPTER, PUBLIC, f"LoRA {ADAPTER} is not loaded", f"LoRA {PUBLIC} is not loaded"),
    (ADAPTER, PUBLIC, f"name={ADAPTER}, {ADAPTER}.", f"name={PUBLIC}, {PUBLIC}."),
    (ADAPTER, PUBLIC, f"{ADAPTER}0 and x{ADAPTER}", f"{ADAPTER}0 and x{ADAPTER}"),
    (ADAPTER, r"t/a\1", f"`{ADAPTER}`", r"`t/a\1`"),
]


@pytest.mark.parametrize(("engine_name", "public_name", "message", "shown"), MESSAGES_OF_THE_ENGINE)
async def test_only_names_are_replaced_in_the_engines_messages_and_no_words_that_contain_them(
    engine_name: str, public_name: str, message: str, shown: str
) -> None:
    refusal = orjson.dumps({"error": {"message": message, "param": None}})

    async def answer(connection: Connection) -> None:
        await connection.send(document(refusal, status=b"400 Bad Request"))

    async with raw_server(answer) as server:
        client = EngineClient(server.url, None)
        with pytest.raises(BadRequest) as caught:
            async with forward_to(
                client, {"messages": []}, EngineCount(), engine_name=engine_name, public_name=public_name
            ):
                pass
        client.close()
    assert caught.value.message == shown


@pytest.mark.parametrize("status", [b"503 Service Unavailable", b"418 I'm a teapot", b"502 Bad Gateway"])
async def test_what_an_engine_says_of_its_failure_is_not_logged_as_it_may_repeat_the_prompt(status: bytes) -> None:
    refusal = orjson.dumps({"error": {"message": "cannot do 'the words of a tenant'", "param": None}})

    async def answer(connection: Connection) -> None:
        await connection.send(document(refusal, status=status))

    async with raw_server(answer) as server:
        client = EngineClient(server.url, None)
        with pytest.raises(EngineUnreachable) as caught:
            async with forward_to(client, {"messages": []}, EngineCount()):
                pass
        client.close()
    assert "words of a tenant" not in str(caught.value)
