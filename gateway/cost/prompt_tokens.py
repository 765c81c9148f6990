"""Counts of prompts by the base's own tokenizer, where it is at hand on this host: for requests that the bytes of their
body would refuse near a budget's end.

Only text is counted: contents of messages, and prompts. Everything else of a body (roles, braces, tools) goes on
counting by its bytes, which is what a chat template puts around text and much more, so that a hold stays a bound.
The library `tokenizers` comes with the engine and the trainer; where it is not installed, bytes count.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from gateway.cost.normalization import growth

log = logging.getLogger("switchyard.prompts")
MOST_WAITING = 16
"""Requests that are counted or wait for it; of what comes then, bytes count."""
MOST_BYTES = 262_144
"""Of one request's text; of longer ones bytes count. So long a text takes about a quarter of a second."""
WAIT_S = 2.0
"""Longest wait of a request. The first one of a base waits until its tokenizer is read, or for so long."""
SEAM_TOKENS = 8
"""For each text: where it meets what stands around it, it may be cut into other tokens."""


class PromptTokens:
    """One thread, and a tokenizer for each base that was asked for."""

    def __init__(self, folders: Callable[[str], Iterable[Path]]) -> None:
        """`folders` finds those of a base by digest; it may block."""
        self._folders = folders
        self._tokenizers: dict[str, Any] = {}
        self._waiting = 0
        growth(("é",))  # its table takes 50 ms, which no request should wait for
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="prompt-tokens")

    async def spared(self, base_digest: str, body: Mapping[str, Any]) -> int:
        """By how many tokens its text is less than its bytes and their growth, at least; 0: nobody can tell in time."""
        texts = texts_of(body)
        if self._waiting >= MOST_WAITING or self._tokenizers.get(base_digest, self) is None:
            return 0
        if not 0 < sum(map(len, texts)) <= MOST_BYTES:
            return 0
        self._waiting += 1
        counting = asyncio.get_running_loop().run_in_executor(self._thread, self._count, base_digest, texts)
        counting.add_done_callback(self._counted)
        try:
            async with asyncio.timeout(WAIT_S):
                return await asyncio.shield(counting)
        except TimeoutError:
            return 0

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(cancel_futures=True)

    def _counted(self, counting: asyncio.Future[int]) -> None:
        self._waiting -= 1
        if not counting.cancelled() and (error := counting.exception()) is not None:
            log.warning("a prompt's tokens could not be counted, its bytes were: %s", error)

    def _count(self, base_digest: str, texts: list[str]) -> int:
        if base_digest not in self._tokenizers:
            self._tokenizers[base_digest] = self._load(base_digest)
        tokenizer = self._tokenizers[base_digest]
        if tokenizer is None:
            return 0
        counts = (len(one.ids) for one in tokenizer.encode_batch(texts, add_special_tokens=False))
        return sum(max(0, _most(text) - count - SEAM_TOKENS) for text, count in zip(texts, counts, strict=True))

    def _load(self, base_digest: str) -> Any:
        """The tokenizer; `None` when there is none here, which is not tried again."""
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # its threads would take the event loop's core
        try:
            library = importlib.import_module("tokenizers")
            folder = next(iter(self._folders(base_digest)))
            tokenizer = library.Tokenizer.from_file(str(folder / "tokenizer.json"))
        except (ImportError, StopIteration):
            return None
        except Exception as error:  # the library raises plain `Exception` for a file that it cannot read
            log.warning("prompts count by their bytes: the tokenizer of %s cannot be used: %s", base_digest, error)
            return None
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer


def _most(text: str) -> int:
    return len(text.encode()) + growth((text,))


def texts_of(body: Mapping[str, Any]) -> list[str]:
    """Every text of a checked body that the model reads as it is."""
    prompt = body.get("prompt")
    texts = [one for one in (prompt if isinstance(prompt, list) else [prompt]) if isinstance(one, str)]
    for message in body.get("messages") or ():
        content = message.get("content")
        if isinstance(content, str):
            texts.append(content)
        elif isinstance(content, list):
            texts += [part["text"] for part in content if isinstance(part.get("text"), str)]
    return texts
