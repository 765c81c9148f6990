"""What is compared, and in which order and places: by a seed, so that the same run again is the same."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from registry.votes.store import Side
from trainer.endpoints.client import Client, Manner, Reply
from trainer.evaluation.items import Asked
from trainer.evaluation.rows import EvaluationRow, EvaluationSet

SIDES: tuple[Side, Side] = ("a", "b")
KEY_CHARACTERS = 32


@dataclass(frozen=True, slots=True)
class Contestant:
    """One of the two. `model` is the name that it is asked by; `digest` is of a version's manifest, None of any other
    model. `dollars` are its price of a million tokens of prompts and of answers, if that is known.
    """

    model: str
    client: Client
    digest: str | None = None
    dollars: tuple[float, float] | None = None

    @property
    def where(self) -> str:
        """The endpoint; empty for a gateway of ours, which may move."""
        endpoint = self.client.endpoint
        return "" if endpoint.is_ours else endpoint.base_url


@dataclass(frozen=True, slots=True)
class Comparison:
    """A and B, the prompts of both, how they are asked, and the seed of order and places."""

    a: Contestant
    b: Contestant
    data: EvaluationSet
    manner: Manner
    seed: int = 0

    def contestant(self, side: Side) -> Contestant:
        """Of that side."""
        return self.a if side == "a" else self.b

    @property
    def about(self) -> dict[str, Any]:
        """What decides an answer to a prompt, JSON-ready. Other prompts, judges, voters and the seed do not."""
        sides = {
            side: {"model": one.model, "digest": one.digest, "where": one.where}
            for side, one in (("a", self.a), ("b", self.b))
        }
        asked = {"max_tokens": self.manner.max_tokens, "temperature": self.manner.temperature}
        return {**sides, **asked}

    @property
    def id(self) -> str:
        """Of `about`: the same comparison is gone on with, whoever asks for it, and when prompts are added too."""
        return digest_of(self.about)


@dataclass(frozen=True, slots=True)
class Place:
    """A prompt, and whose answer stands on the left, or is asked for first."""

    row: EvaluationRow
    left: Side


@dataclass(frozen=True, slots=True)
class Pair:
    """Both answers to a prompt. `key` is of all that who judges sees: what is said of it is of these words alone."""

    key: str
    row: EvaluationRow
    left: Side
    a: Reply
    b: Reply

    @property
    def right(self) -> Side:
        """Whose answer stands on the right."""
        return "b" if self.left == "a" else "a"

    def text(self, side: Side) -> str:
        """That side's answer as whoever judges sees it: what it says, and its calls of tools."""
        return shown(self.a if side == "a" else self.b)

    @property
    def same(self) -> bool:
        """Whether there is nothing to choose: a tie that nobody is asked about."""
        return shown(self.a).strip() == shown(self.b).strip()

    @property
    def asked(self) -> Asked:
        """As metrics want it."""
        return Asked(self.row, (self.a, self.b), None)


def places(rows: Sequence[EvaluationRow], seed: int) -> list[Place]:
    """All rows, the conversations in random order, each whole. Of two that follow each other one has A on the left."""
    draw = random.Random(f"switchyard pairs {seed}")
    units: dict[str, list[EvaluationRow]] = {}
    for row in rows:
        units.setdefault(row.unit, []).append(row)
    order = list(units)
    draw.shuffle(order)
    mixed = [row for unit in order for row in units[unit]]
    lefts: list[Side] = []
    while len(lefts) < len(mixed):
        lefts += draw.sample(SIDES, 2)
    return [Place(row, left) for row, left in zip(mixed, lefts, strict=False)]


def pair_of(place: Place, a: Reply, b: Reply) -> Pair:
    """With its key."""
    key = digest_of([row_key(place.row), place.row.reference, shown(a), shown(b)])
    return Pair(key, place.row, place.left, a, b)


def shown(reply: Reply) -> str:
    """All that an answer is."""
    return "\n".join(part for part in (reply.text, reply.calls) if part)


def row_key(row: EvaluationRow) -> str:
    """Of what is asked."""
    return digest_of([row.prompt, row.tools])


def digest_of(value: Any) -> str:
    """The first half of the SHA-256 of its JSON."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:KEY_CHARACTERS]
