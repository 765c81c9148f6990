"""Does an engine serve the base model that it is declared to serve?"""

from __future__ import annotations

import asyncio
import datetime
import secrets
from collections.abc import Sequence

from gateway.engines.faults import ProbeRefused
from gateway.engines.kind import EngineControl
from registry.bases.fingerprint import MAX_TOKENS, TEXTS, Fingerprint, FingerprintProbe, Question, positions_in
from registry.bases.renderings import CONVERSATIONS, Rendering

MAX_DISAGREEMENT_NATS = 0.5
"""More than this is another model. Measured on SmolLM2-135M in float32 against itself (mean over sixteen questions, in
nats): float16 0.009, bfloat16 0.06, every weight rounded to int8 0.09; noise on every weight of 1 % of its matrix's
deviation 0.05, of 3 % 0.26, of 10 % 1.2; one layer's MLP left out 0.51; a small task trained into it 2.6 and 4.8; other
weights altogether 8.8. So precision and kernels stay five times below, and any training is five times above.
"""
AT_ONCE = 4
"""Questions in flight: enough to share batches, too few to hold up an engine's traffic."""


async def base_agreement(control: EngineControl, base_name: str, questions: Sequence[Question]) -> float:
    """How far the engine's base is from the measured one: the mean absolute difference of log-probabilities, in nats.

    `base_name` is what the engine calls the model that base traffic goes to, so the all-zero adapter where there is
    one. Each question is one token, under a salt of its own that keeps it out of everybody's prefix cache.
    Raises each kind of `EngineFault`; the engine's refusal of a token id also tells another base.
    """
    served = await _answers(control, base_name, [(question.prefix, question.token) for question in questions])
    differences = [abs(one - question.logprob) for one, question in zip(served, questions, strict=True)]
    return sum(differences) / len(differences)


async def fingerprint_of(control: EngineControl, base_name: str, url: str) -> Fingerprint:
    """What this engine answers as its base, for others and its own later boots to be compared with. `url` is written
    down beside it. Raises each kind of `EngineFault`.
    """
    texts = [(await control.tokens.encoded(base_name, text))[:MAX_TOKENS] for text in TEXTS]
    asked = [(text[:position], text[position]) for text in texts for position in positions_in(len(text))]
    logprobs = iter([round(value, 5) for value in await _answers(control, base_name, asked)])
    probes = []
    for text in texts:
        positions = positions_in(len(text))
        probes.append(FingerprintProbe(text, positions, tuple(next(logprobs) for _ in positions)))
    return Fingerprint(tuple(probes), await _renderings(control, base_name), url)


async def _answers(
    control: EngineControl, base_name: str, questions: Sequence[tuple[tuple[int, ...], int]]
) -> list[float]:
    """Of a prefix and a token each: the log-probability that the one follows the other, in nats."""
    salt = f"fingerprint-{secrets.token_hex(8)}"
    places = asyncio.Semaphore(AT_ONCE)

    async def answer(prefix: tuple[int, ...], token: int) -> float:
        async with places:
            return await control.next_token_logprob(base_name, prefix, token, salt)

    return await asyncio.gather(*(answer(prefix, token) for prefix, token in questions))


async def _renderings(control: EngineControl, base_name: str) -> tuple[Rendering, ...]:
    """As `trainer.renderings` takes them of the base itself: without those that a template refuses, and none of one
    that prints the date, or where there is no template.
    """
    today = datetime.date.today()
    found = []
    for conversation in CONVERSATIONS:
        try:
            token_ids = await control.tokens.rendered(base_name, conversation)
        except ProbeRefused:
            continue
        text = await control.tokens.decoded(base_name, token_ids)
        if today.strftime("%b %Y") in text or today.isoformat() in text:
            return ()
        found.append(Rendering(conversation, token_ids))
    return tuple(found)
