"""The most that an engine can truly answer to a request: more is neither read nor believed."""

from __future__ import annotations

from typing import NamedTuple

from gateway.billing import Bill
from gateway.handoffs import InferenceRequest

LONGEST_ANSWER = 1 << 20
"""Tokens of an answer that nothing else bounds."""
HEAD_BYTES, BYTES_A_SCORE, BYTES_A_VECTOR = 65_536, 512, 1 << 21
"""Of what stands around an answer; of a log-probability of a token; of a vector."""
BYTES_REPEATED = 64
"""Of each byte of a body: its tokens' ids and texts may be what is asked for."""
TOKENS_A_BYTE, TOKENS_AROUND = 16, 1_024
"""Of a prompt, where nothing is held for it: more than what any base's bound gives."""
SCORES = ("logprobs", "top_logprobs", "prompt_logprobs")
REPEATS = ("echo", "prompt_logprobs", "return_token_ids")
WORDY = frozenset({*SCORES, *REPEATS})


class MostOf(NamedTuple):
    """Of one attempt: tokens of all prompts, of all answers, and bytes."""

    prompt: int
    completion: int
    answer_bytes: int


def most_of(request: InferenceRequest, bill: Bill, context: int | None, token_bytes: int) -> MostOf:
    """`context`: tokens of prompt and answer together that the engine takes, if it says so. `token_bytes`: of a token
    in an event of its own.
    """
    body, choices = request.body, request.choices
    prompts = max(1, choices // (body.get("n") or 1))
    by_body = TOKENS_AROUND + TOKENS_A_BYTE * request.body_bytes * prompts
    prompt = bill.most_prompt or max(by_body, (context or 0) * prompts)
    longest = request.max_output_tokens
    completion = max(1, (context or LONGEST_ANSWER) if longest is None else longest) * choices
    tokens, scores = completion, 0
    if not WORDY.isdisjoint(body):
        scores = sum(body.get(name, 0) for name in SCORES)
        tokens += prompt if any(name in body for name in REPEATS) else 0
    answer_bytes = HEAD_BYTES + tokens * (token_bytes + BYTES_A_SCORE * scores) + BYTES_REPEATED * request.body_bytes
    return MostOf(prompt, completion, answer_bytes + (BYTES_A_VECTOR * prompts if request.dialect.bulky else 0))
