"""Does an engine serve the base model that it is declared to serve?"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence

from gateway.engines.kind import EngineControl
from registry.bases.fingerprint import Question

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
    salt = f"fingerprint-{secrets.token_hex(8)}"
    places = asyncio.Semaphore(AT_ONCE)

    async def difference(question: Question) -> float:
        async with places:
            served = await control.next_token_logprob(base_name, question.prefix, question.token, salt)
        return abs(served - question.logprob)

    differences = await asyncio.gather(*map(difference, questions))
    return sum(differences) / len(differences)
