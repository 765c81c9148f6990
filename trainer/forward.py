"""The two things asked of a model in memory: how likely given tokens are, and what it says."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

BATCH_ROWS = 16


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said. `ended` is false when it was cut at the most tokens that it might say."""

    text: str
    ended: bool


def token_logprobs(model: Any, sequences: Sequence[Sequence[int]]) -> list[list[float]]:
    """Teacher-forced log-probabilities in nats: `result[i][p - 1]` is log p(sequence_i[p] | sequence_i[:p]).

    So each inner list is one shorter than its sequence. Padding goes on the right, which causal attention never sees.
    """
    import torch

    results: list[list[float]] = []
    with torch.no_grad():
        for start in range(0, len(sequences), BATCH_ROWS):
            batch = sequences[start : start + BATCH_ROWS]
            width = max(len(row) for row in batch)
            ids = torch.tensor([[*row, *[0] * (width - len(row))] for row in batch], device=model.device)
            mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in batch], device=model.device)
            logits = model(input_ids=ids, attention_mask=mask).logits[:, -width:-1].float()
            chosen = logits.gather(2, ids[:, 1:, None]).squeeze(2) - logits.logsumexp(2)
            results.extend(chosen[row, : len(batch[row]) - 1].tolist() for row in range(len(batch)))
    return results


def greedy_answers(model: Any, tokenizer: Any, prompts: Sequence[Sequence[int]], max_new_tokens: int) -> list[Answer]:
    """The text that greedy decoding adds to each prompt, up to the stop token; batched with padding on the left.

    Not batched for a tuned prompt, whose places would be moved away from the text by padding.
    """
    import torch

    stop, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
    soft = getattr(getattr(model, "active_peft_config", None), "is_prompt_learning", False)
    rows = 1 if soft else BATCH_ROWS
    answers: list[Answer] = []
    with torch.no_grad(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Position ids are not supported", UserWarning)  # of PEFT; without padding
        for start in range(0, len(prompts), rows):
            batch = prompts[start : start + rows]
            width = max(len(row) for row in batch)
            ids = torch.tensor([[*[pad] * (width - len(row)), *row] for row in batch], device=model.device)
            mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in batch], device=model.device)
            made = model.generate(
                input_ids=ids,
                attention_mask=mask,
                max_new_tokens=max_new_tokens,
                do_sample=False,
                eos_token_id=stop,
                pad_token_id=pad,
            )
            for row in made[:, width:].tolist():
                ended = stop in row
                kept = row[: row.index(stop)] if ended else row
                answers.append(Answer(str(tokenizer.decode(kept, skip_special_tokens=True)), ended))
    return answers
