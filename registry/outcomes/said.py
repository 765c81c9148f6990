"""An outcome before it is in the database, and after."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal, NamedTuple

import orjson

from registry.errors import Conflict, RegistryError

Source = Literal["automatic", "feedback", "judge"]
Kind = Literal["boolean", "number", "label"]
DIGEST_CHARACTERS = 32


@dataclass(frozen=True, slots=True)
class Subject:
    """What an outcome is about: one answer, by its request, or a unit as a whole, by its hash."""

    adapter_id: int | None
    """`None`: a base model has answered."""
    request_id: str | None
    split_id: int | None
    arm: str | None
    unit_hash: str | None

    @property
    def name(self) -> str:
        """By which its rows are told from others of the tenant's."""
        return self.request_id or f"unit:{self.unit_hash}"


@dataclass(frozen=True, slots=True)
class Said:
    """One value of one metric: `value` of a number or a boolean (1 or 0), else `label`."""

    metric: str
    kind: Kind
    value: float | None
    label: str | None = None
    comment: str | None = None

    def digest(self, subject: Subject) -> str:
        """Of all that is said about it: the same feedback has the same one."""
        return _digest(orjson.dumps([subject.name, self.metric, self.kind, self.value, self.label, self.comment]))


@dataclass(frozen=True, slots=True)
class NewOutcome:
    """To be added. `key` is the client's own name of a piece of feedback, if it gave one."""

    subject: Subject
    said: Said
    key: str | None = None

    @property
    def key_digest(self) -> str:
        """Feedback without a key has what it says for one: who says the same twice has said it once."""
        if self.key is None:
            return self.said.digest(self.subject)
        return _digest(b"key:" + self.key.encode("utf-8", "surrogatepass"))


@dataclass(frozen=True, slots=True)
class TakenFeedback:
    """Feedback that is in the database. `replayed`: it was before."""

    id: str
    at_ms: int
    said: Said
    request_id: str | None
    unit_hash: str | None
    arm: str | None
    replayed: bool = False


class OutcomeRow(NamedTuple):
    """One outcome as an analysis reads it: without words."""

    id: int
    at_ms: int
    source: str
    request_id: str | None
    split_id: int | None
    arm: str | None
    unit_hash: str | None
    metric: str
    value: float | None
    """`None`: it is a label."""


class KeyOfOtherFeedback(Conflict):
    """The idempotency key stands for other feedback. `number` is the piece's place among those that came with it."""

    def __init__(self, key: str, number: int) -> None:
        super().__init__(
            f"idempotency_key is {key[:80]!r}, under which other feedback was given; send a new key with new feedback",
            param="idempotency_key",
        )
        self.number = number


class FeedbackIsFull(RegistryError):
    """The tenant has as many outcomes as it may."""


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:DIGEST_CHARACTERS]
