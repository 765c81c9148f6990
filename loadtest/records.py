"""What `loadtest.traffic` is told to ask, and what it writes down about each request. Times are unix seconds."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Ask:
    """Something that may be asked. `forbidden` is another tenant's model: the right answer is 404."""

    tenant: str
    key: str
    model: str
    weight: float = 1.0
    forbidden: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """Open-loop traffic: `rate` requests per second, whatever becomes of them."""

    url: str
    rate: float
    seconds: float
    asks: tuple[Ask, ...]
    prompts: tuple[str, ...]
    seed: int = 0
    stream_share: float = 0.5
    whole_tokens: int = 8
    stream_tokens: int = 16
    retries: int = 2
    """Retries of a 503 with Retry-After, after that time: what OpenAI's client does by default."""
    timeout_s: float = 30.0

    def write(self, path: Path) -> Path:
        """As JSON."""
        path.write_text(json.dumps(asdict(self)))
        return path


def read_plan(path: Path) -> Plan:
    """What `Plan.write` wrote. Raises OSError, ValueError, TypeError for a field that does not exist."""
    fields = json.loads(path.read_text())
    asks = tuple(Ask(**ask) for ask in fields.pop("asks"))
    return Plan(asks=asks, prompts=tuple(fields.pop("prompts")), **fields)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One exchange. `status` is 0 when no answer began; `first_byte` is None when no body did."""

    started: float
    first_byte: float | None
    ended: float
    status: int
    request_id: str | None
    failure: str | None
    retry_after_s: float | None = None
    proper_error: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """One request with its retries. `models` and `text` are the last attempt's."""

    tenant: str
    model: str
    forbidden: bool
    chat: bool
    stream: bool
    prompt: int
    tokens: int
    attempts: tuple[Attempt, ...]
    models: tuple[str, ...]
    text: str

    @property
    def last(self) -> Attempt:
        """The attempt that decided."""
        return self.attempts[-1]

    @property
    def started(self) -> float:
        """When the client first asked."""
        return self.attempts[0].started

    @property
    def failure(self) -> str | None:
        """Why the client got no whole answer; None when it did, or was rightly refused."""
        if self.forbidden:
            return None if self.last.status in (200, 404) else self.last.failure
        return self.last.failure

    @property
    def question(self) -> str:
        """What was asked of the model, as `loadtest.signatures` names it."""
        return question(self.chat, self.prompt)


def question(chat: bool, prompt: int) -> str:
    """A name for one of the fixed prompts on one of the two endpoints."""
    return f"{'chat' if chat else 'text'} {prompt}"


def write_records(path: Path, records: Iterable[Record]) -> None:
    """One JSON object a line."""
    with path.open("w") as file:
        for record in records:
            file.write(json.dumps(asdict(record)) + "\n")


def read_records(path: Path) -> list[Record]:
    """What `write_records` wrote."""
    with path.open() as file:
        return [_record(json.loads(line)) for line in file]


def _record(fields: Mapping[str, Any]) -> Record:
    return Record(
        **{
            **fields,
            "attempts": tuple(Attempt(**attempt) for attempt in fields["attempts"]),
            "models": tuple(fields["models"]),
        }
    )
