"""Make drafts: new rows on topics, or other ways to ask what rows ask.

What an earlier run made counts, so that the same command goes on where it ended. Nothing that is there already, nearly
or exactly, becomes a draft.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from trainer.data.near import Known
from trainer.data.overlap import normal
from trainer.data.parse import parse
from trainer.data.synthetic.asking import (
    GENERATED,
    PARAPHRASED,
    generation_prompt,
    paraphrase_prompt,
    samples_of,
)
from trainer.data.synthetic.drafts import DraftsFile, new_draft
from trainer.data.synthetic.writer import Writer

MAX_WAVES = 4
"""How often a topic is asked for what is still missing of it."""
Say = Callable[[str], None]


@dataclass(slots=True)
class Made:
    """What became of the answers. `unusable` counts answers without rows, and rows that are none."""

    drafts: int = 0
    duplicates: int = 0
    unusable: int = 0
    cut: int = 0
    missing: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Source:
    """A row of which other ways to ask are wanted; `write` puts a question in place of its own."""

    key: str
    question: str
    write: Callable[[str], dict[str, Any]]


class Maker:
    """Asks, and keeps what is new."""

    def __init__(self, writer: Writer, file: DraftsFile, known: Known, say: Say) -> None:
        """`known` has the texts that must not come again; those of the file are added to it."""
        self._writer, self._file, self._known, self._say = writer, file, known, say
        self.made = Made()
        self._asked: dict[tuple[str, str], list[str]] = defaultdict(list)
        for draft in file.drafts.values():
            known.take(normal(_question(draft.row)))
            if draft.status != "rejected":
                self._asked[draft.topic, draft.of].append(_question(draft.row))

    async def topics(self, topics: Sequence[str], count: int, batch: int, guidelines: str) -> None:
        """`count` drafts on each topic. Raises EndpointError; what was made until then is kept."""
        await _all([self._topic(topic, count, batch, guidelines) for topic in topics])

    async def paraphrases(self, sources: Sequence[Source], count: int) -> None:
        """`count` other ways to ask what each row asks. Raises EndpointError; what was made until then is kept."""
        await _all([self._source(source, count) for source in sources])

    async def _topic(self, topic: str, count: int, batch: int, guidelines: str) -> None:
        for _ in range(MAX_WAVES):
            avoided = list(self._asked[topic, ""])
            missing = count - len(avoided)
            if missing <= 0:
                break
            sizes = [min(batch, missing - at) for at in range(0, missing, batch)]
            await _all([self._generate(topic, size, guidelines, avoided) for size in sizes])
        self._end(topic, count - len(self._asked[topic, ""]))

    async def _source(self, source: Source, count: int) -> None:
        for _ in range(MAX_WAVES):
            missing = count - len(self._asked["", source.key])
            if missing <= 0:
                break
            reply = await self._writer.ask(paraphrase_prompt(source.question, missing), PARAPHRASED)
            for sample in self._samples(reply.text, cut=not reply.ended)[:missing]:
                text = sample.get("text")
                if isinstance(text, str) and text.strip():
                    self._keep(source.write(text.strip()), kind="paraphrase", of=source.key)
                else:
                    self.made.unusable += 1
        self._end(repr(source.question[:40]), count - len(self._asked["", source.key]))

    async def _generate(self, topic: str, size: int, guidelines: str, avoided: list[str]) -> None:
        reply = await self._writer.ask(generation_prompt(topic, size, guidelines, avoided), GENERATED)
        for sample in self._samples(reply.text, cut=not reply.ended)[:size]:
            row = {key: sample.get(key) for key in ("instruction", "output")}
            if isinstance(sample.get("input"), str) and sample["input"].strip():
                row["input"] = sample["input"]
            self._keep(row, kind="synthetic", topic=topic)
        self._say(f"{topic}: {len(self._asked[topic, ''])} drafts")

    def _samples(self, text: str, *, cut: bool) -> list[dict[str, Any]]:
        self.made.cut += cut
        found = samples_of(text)
        self.made.unusable += found is None
        return found or []

    def _keep(self, row: dict[str, Any], *, kind: str, topic: str = "", of: str = "") -> None:
        if kind == "synthetic" and parse(1, row, "instruction").faults:
            self.made.unusable += 1
        elif not self._known.take(normal(_question(row))):
            self.made.duplicates += 1
        else:
            by = self._writer
            draft = new_draft(row, kind=kind, topic=topic, model=by.model, api=by.api, of=of)
            self._file.add(draft)
            self._asked[topic, of].append(_question(row))
            self.made.drafts += 1

    def _end(self, name: str, missing: int) -> None:
        if missing > 0:
            self.made.missing[name] = missing


async def _all(works: Sequence[Awaitable[None]]) -> None:
    """All of them; the first error after the others have ended, so that what they were answered is kept."""
    results = await asyncio.gather(*works, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result


def _question(row: dict[str, Any]) -> str:
    """What a row of any form asks."""
    return "\n".join(_questions(row))


def _questions(row: dict[str, Any]) -> Iterator[str]:
    for key in ("instruction", "input", "prompt"):
        if isinstance(row.get(key), str):
            yield row[key]
    messages = row.get("messages")
    for message in messages if isinstance(messages, list) else []:
        if isinstance(message, dict) and message.get("role") == "user" and isinstance(message.get("content"), str):
            yield message["content"]
