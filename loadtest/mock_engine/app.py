"""The ASGI application: routes, key check, errors."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import orjson

from loadtest.mock_engine.answers import Conversation, decode, prompt_tokens
from loadtest.mock_engine.engine import Engine
from loadtest.mock_engine.inference import SocketBroken, infer
from loadtest.mock_engine.jobs import chat_tokens, invalid, messages_of, parse_object, require_text, require_tokens
from loadtest.mock_engine.metrics import exposition, state
from loadtest.mock_engine.pooling import Task, pool
from loadtest.mock_engine.replies import model_cards
from loadtest.mock_engine.wire import ClientGone, EngineError, Exchange, Receive, Scope, Send

POOLING_ROUTES: dict[str, Task] = {
    "/v1/embeddings": "embeddings",
    "/score": "score",
    "/v1/score": "score",
    "/rerank": "rerank",
    "/v1/rerank": "rerank",
    "/v2/rerank": "rerank",
}
GUARDED = ("/v1", "/v2", "/inference", "/cohere")
METRICS_TYPE = b"text/plain; version=1.0.0; charset=utf-8"
Handler = Callable[[Exchange], Awaitable[None]]


class MockApp:
    """vLLM's routes over an `Engine`, and the mock's own under /mock/."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.routes: dict[str, dict[str, Handler]] = {
            "/health": {"GET": self.health},
            "/ping": {"GET": self.health, "POST": self.health},
            "/version": {"GET": self.version},
            "/metrics": {"GET": self.metrics},
            "/tokenize": {"POST": self.tokenize},
            "/detokenize": {"POST": self.detokenize},
            "/v1/models": {"GET": self.models},
            "/mock/state": {"GET": self.mock_state},
            "/mock/faults": {"GET": self.show_faults, "POST": self.set_faults},
        }
        if engine.options.runner == "pooling":
            for path, task in POOLING_ROUTES.items():
                self.routes[path] = {"POST": partial(pool, engine, task)}
        else:
            self.routes["/v1/chat/completions"] = {"POST": self.chat}
            self.routes["/v1/completions"] = {"POST": self.text}
        if engine.options.runtime_lora:
            self.routes["/v1/load_lora_adapter"] = {"POST": self.load}
            self.routes["/v1/unload_lora_adapter"] = {"POST": self.unload}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry."""
        if scope["type"] == "lifespan":
            for answer in ("lifespan.startup.complete", "lifespan.shutdown.complete"):
                await receive()
                await send({"type": answer})
            return
        exchange = Exchange(scope, receive, send, self.engine.options.enable_request_id_headers)
        try:
            await self._dispatch(exchange)
        except EngineError as error:
            await exchange.answer(error.status, error.body())
        except (ClientGone, SocketBroken):
            exchange.transport.close()

    async def _dispatch(self, exchange: Exchange) -> None:
        path: str = exchange.scope["path"]
        if self.engine.faults.reset_connections and not path.startswith("/mock/"):
            exchange.abort()
            return
        if path.startswith(GUARDED) and not self._may_enter(exchange):
            await exchange.answer(401, b'{"error":"Unauthorized"}')
            return
        methods = self.routes.get(path)
        if methods is None:
            await exchange.answer(404, b'{"detail":"Not Found"}')
            return
        handler = methods.get(exchange.scope["method"])
        if handler is None:
            await exchange.answer(405, b'{"detail":"Method Not Allowed"}')
            return
        await handler(exchange)

    def _may_enter(self, exchange: Exchange) -> bool:
        key = self.engine.options.api_key
        if key is None:
            return True
        scheme, _, given = (exchange.header(b"authorization") or "").partition(" ")
        return scheme.lower() == "bearer" and secrets.compare_digest(given.encode(), key.encode())

    async def health(self, exchange: Exchange) -> None:
        """200 with no body while the engine lives, then 503."""
        bad = self.engine.dead or self.engine.faults.unhealthy
        await exchange.answer(503 if bad else 200, b"", None)

    async def version(self, exchange: Exchange) -> None:
        """The version that is imitated."""
        await exchange.answer(200, orjson.dumps({"version": self.engine.options.version}))

    async def metrics(self, exchange: Exchange) -> None:
        """Prometheus text."""
        engine = self.engine
        first = engine.options.served_model_name[0]
        text = exposition(
            first, engine.started, time.time(), engine.stats, engine.admission, engine.table, engine.prefix, engine.pace
        )
        await exchange.answer(200, text.encode(), METRICS_TYPE)

    async def tokenize(self, exchange: Exchange) -> None:
        """One token per word; not the real tokenizer's ids."""
        body = await self._object(exchange)
        self.engine.find(body.get("model") or "")
        options, faults = self.engine.options, self.engine.faults
        if faults.tokenize_ms:
            await asyncio.sleep(faults.tokenize_ms / 1_000)
        if faults.fail_tokenize:
            raise EngineError(faults.fail_tokenize, "InternalServerError", "told to fail")
        if "prompt" not in body or "messages" in body:
            messages_of(body)
            ids = chat_tokens(Conversation.counted(body), options)
        else:
            ids = prompt_tokens(require_text(body, "prompt"), options.tokenizer, options.vocab_size)
        self.engine.stats.tokenized += 1
        strings = [decode(token) for token in ids] if body.get("return_token_strs") else None
        reply = {"count": len(ids), "max_model_len": options.max_model_len, "tokens": ids, "token_strs": strings}
        await exchange.answer(200, orjson.dumps(reply))

    async def detokenize(self, exchange: Exchange) -> None:
        """The words of ids; of texts that were tokenised, other ones than they had."""
        body = await self._object(exchange)
        self.engine.find(body.get("model") or "")
        reply = {"prompt": "".join(decode(token) for token in require_tokens(body))}
        await exchange.answer(200, orjson.dumps(reply))

    async def models(self, exchange: Exchange) -> None:
        """Base cards, then adapter cards."""
        loaded = [(adapter.name, adapter.path) for adapter in self.engine.table.names.values()]
        await exchange.answer(200, orjson.dumps(model_cards(self.engine.options, loaded, int(time.time()))))

    async def load(self, exchange: Exchange) -> None:
        """Load an adapter; success is plain text without a content type."""
        body = await self._object(exchange)
        name, path = require_text(body, "lora_name"), require_text(body, "lora_path")
        await self.engine.load(name, path, bool(body.get("load_inplace")))
        await exchange.answer(200, f"Success: LoRA adapter '{name}' added successfully.".encode(), None)

    async def unload(self, exchange: Exchange) -> None:
        """Unload a name."""
        name = require_text(await self._object(exchange), "lora_name")
        self.engine.unload(name)
        await exchange.answer(200, f"Success: LoRA adapter '{name}' removed successfully.".encode(), None)

    async def chat(self, exchange: Exchange) -> None:
        """Chat completion."""
        await infer(self.engine, "chat", exchange)

    async def text(self, exchange: Exchange) -> None:
        """Text completion."""
        await infer(self.engine, "text", exchange)

    async def mock_state(self, exchange: Exchange) -> None:
        """Counters since the start."""
        engine = self.engine
        found = state(engine.stats, engine.admission, engine.table, engine.pace)
        await exchange.answer(200, orjson.dumps({**found, "loading": engine.loading}))

    async def show_faults(self, exchange: Exchange) -> None:
        """The faults that are on."""
        await exchange.answer(200, orjson.dumps(self.engine.faults.as_dict()))

    async def set_faults(self, exchange: Exchange) -> None:
        """Change faults; `crash: true` ends the process, `forget_adapter: NAME` drops a name behind one's back."""
        patch = await self._object(exchange)
        crash, forgotten = patch.pop("crash", False), patch.pop("forget_adapter", None)
        try:
            self.engine.change_faults(patch)
        except ValueError as error:
            raise invalid(str(error), "body") from error
        if forgotten is not None and self.engine.table.names.pop(forgotten, None) is None:
            raise EngineError(404, "NotFoundError", f"The lora adapter '{forgotten}' cannot be found.")
        if crash:
            self.engine.exit_now()
            return
        await self.show_faults(exchange)

    async def _object(self, exchange: Exchange) -> dict[str, Any]:
        return parse_object(await exchange.body(), exchange.header(b"content-type"))
