"""The isolation self-test: do two adapters and the base stay themselves when they share an engine's batches?

Each of the three is asked alone first, then all of them at once and in random order; every answer must be the one given
alone. The adapters are ours: large random products on the last layer's attention output, so that each drowns what the
base would say, in its own way, and any leak shows. Answers are greedy and short. Batches change log-probabilities by
hundredths, which may turn a close decision: so an answer counts up to the first token that was no clear choice alone.

Safe beside traffic: names that begin with `doctor-` and are never used twice, a cache salt for every request, no more
than a dozen requests of four tokens at once, and everything that was loaded is unloaded at the end. Files stay, as an
engine may read them again until it has forgotten the adapter.
"""

from __future__ import annotations

import asyncio
import random
import re
import secrets
import time
from array import array
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from gateway.engines.faults import EngineFault
from gateway.engines.kind import EngineControl, Word
from gateway.engines.zero_adapter import Matrix, write_lora
from registry.bases.model import BaseSpec

NAME_PREFIX = "doctor-"
"""Of every adapter name that the self-test uses; a fleet's controller leaves such names alone."""
ABANDONED_S = 900
"""A name of a self-test this old was left by one that was killed: it is unloaded by the next."""
PROMPTS = (
    "The capital of France is",
    "One, two, three, four,",
    "def add(a, b):\n    return",
    "Once upon a time there was a",
)
TOKENS, ROUNDS = 4, 3
CLEAR_NATS = 0.4
"""A choice this much likelier than the next is the same in every batch. Between float32 and bfloat16, a larger change
than any batch makes, margins on SmolLM2 move by 0.3 at most."""
RANK, STRENGTH = 4, 100.0
BASE, ADAPTERS = "base", ("adapter 1", "adapter 2")
Answer = tuple[Word, ...]


class CannotTest(Exception):
    """The self-test cannot be made on this engine; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class CrossTalk:
    """One answer that is not the speaker's own. Texts are tokens as the engine writes them."""

    speaker: str
    prompt: str
    expected: str
    got: str


@dataclass(frozen=True, slots=True)
class Isolation:
    """What a self-test found; `asked` counts the answers in mixed batches that were compared."""

    asked: int
    cross_talk: tuple[CrossTalk, ...]


@dataclass(frozen=True, slots=True)
class Folders:
    """Folders that the engine can read; `zero` where its base must be served through an all-zero adapter."""

    adapters: tuple[Path, ...]
    """The two of the self-test; none where only the base is asked."""
    zero: Path | None


def write_test_adapters(folder: Path, base: BaseSpec, max_rank: int) -> tuple[Path, Path]:
    """Two adapters of the base in `folder`, always the same ones. Raises `CannotTest` for an unknown architecture."""
    module = _last_attention_output(base)
    out_features, in_features = base.linears[module]
    rank = min(RANK, max_rank)
    name = f"isolation-{base.digest.removeprefix('sha256:')[:16]}-{rank}"

    def write(seed: int) -> Path:
        draw = random.Random(seed)
        a = _normal(draw, rank, in_features, in_features**-0.5)
        return write_lora(folder / f"{name}-{seed}", module, a, _normal(draw, out_features, rank, STRENGTH))

    return write(1), write(2)


async def examine(control: EngineControl, names: Mapping[str, str]) -> Isolation:
    """Run the self-test with the speakers' names on the engine. Raises `CannotTest` and `EngineFault`."""
    alone = await _ask_alone(control, names)
    asked, found = 0, []
    for _ in range(ROUNDS):
        tasks = [(speaker, prompt) for speaker in names for prompt in alone]
        random.shuffle(tasks)
        answers = await asyncio.gather(*(_ask(control, names[speaker], prompt) for speaker, prompt in tasks))
        for (speaker, prompt), got in zip(tasks, answers, strict=True):
            asked += 1
            expected = alone[prompt][speaker]
            if differ(expected, got):
                found.append(CrossTalk(speaker, prompt, _text(expected), _text(got)))
    return Isolation(asked, tuple(found))


def differ(expected: Answer, got: Answer) -> bool:
    """Whether `got` departs from `expected` before the first token that was no clear choice."""
    for mine, other in zip(expected, got, strict=True):
        if mine.margin < CLEAR_NATS:
            return False
        if mine.text != other.text:
            return True
    return False


@asynccontextmanager
async def speakers(control: EngineControl, folders: Folders, places: int) -> AsyncIterator[dict[str, str]]:
    """Speaker → name on an engine that has `places` for adapters, loaded inside the block.

    Raises `CannotTest` when too few places are free, and `EngineFault`.
    """
    wanted = dict(zip(ADAPTERS, folders.adapters, strict=False))
    if folders.zero is not None:
        wanted[BASE] = folders.zero
    base = await _base_with_room(control, len(wanted), places)
    run = f"{NAME_PREFIX}{int(time.time()):x}-{secrets.token_hex(4)}"
    names = {speaker: f"{run}-{number}" for number, speaker in enumerate(wanted)}
    try:
        for speaker, folder in wanted.items():
            await control.load_adapter(names[speaker], folder)
        yield {BASE: base, **names}
    finally:
        for name in names.values():  # also those whose load broke off: it may have worked
            await control.unload_adapter(name)


async def _base_with_room(control: EngineControl, wanted: int, places: int) -> str:
    """The base's own name on an engine that has places for so many adapters more. Raises `CannotTest`."""
    cards = await control.models()
    for name in [name for name in cards if _abandoned(name)]:
        await control.unload_adapter(name)
        del cards[name]
    held = sum(card.parent is not None for card in cards.values())
    if places - held < wanted:
        raise CannotTest(
            f"it needs {wanted} free places for adapters and the engine has {max(0, places - held)} of {places}; "
            "run it when fewer adapters are loaded"
        )
    base = next((card.id for card in cards.values() if card.parent is None), None)
    if base is None:
        raise CannotTest("the engine lists no base model; it is no vLLM")
    return base


def _abandoned(name: str) -> bool:
    found = re.match(rf"{NAME_PREFIX}([0-9a-f]+)-", name)
    return found is not None and time.time() - int(found[1], 16) > ABANDONED_S


async def _ask_alone(control: EngineControl, names: Mapping[str, str]) -> dict[str, dict[str, Answer]]:
    """Prompt → speaker → answer given alone, of the prompts at which the three are clearly different.

    Raises `CannotTest` when there is none: then a leak could not be seen.
    """
    alone: dict[str, dict[str, Answer]] = {}
    for prompt in PROMPTS:
        answers = {speaker: await _ask(control, name, prompt) for speaker, name in names.items()}
        if all(differ(answers[one], answers[other]) for one in answers for other in answers if one != other):
            alone[prompt] = answers
    if not alone:
        raise CannotTest(
            "two adapters with large random weights and the base give the same answers: the engine loads adapters "
            "without effect; look at its --lora-target-modules and its log"
        )
    return alone


async def _ask(control: EngineControl, name: str, prompt: str) -> Answer:
    answer = await control.greedy(name, prompt, TOKENS, salt=secrets.token_hex(8))
    if len(answer) != TOKENS:
        raise EngineFault(f"the engine answered {len(answer)} tokens where {TOKENS} were asked")
    return answer


def _text(answer: Answer) -> str:
    return "".join(word.text for word in answer)


def _last_attention_output(base: BaseSpec) -> str:
    """The path of the last layer's `o_proj`: nearly every architecture has one, mixtures of experts too."""
    found = [(int(layer[1]), name) for name in base.linears if (layer := re.search(r"\.(\d+)\..*\bo_proj$", name))]
    if not found:
        raise CannotTest(f"{base.architecture} has no o_proj to put a test adapter on; nothing to do about it yet")
    return max(found)[1]


def _normal(draw: random.Random, rows: int, columns: int, deviation: float) -> Matrix:
    return Matrix(rows, columns, array("f", (draw.gauss(0, deviation) for _ in range(rows * columns))))
