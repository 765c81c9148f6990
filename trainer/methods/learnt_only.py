"""The loss of an answer asks the vocabulary of what is learnt alone, and not of every position of the prompt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from trainer.data.encode import IGNORED


@contextmanager
def learnt_only(model: Any, inputs: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What to give TRL's loss instead of `inputs`, while the block runs: positions that are not learnt are gone
    between the layers and the matrix of the vocabulary, and so from the labels.

    On GPUs TRL leaves them out itself. On others it multiplies all positions, as shapes that change are dear where
    each is compiled, and drops what it does not need: with answers of a fifth of their rows, a quarter of a step's
    time on a CPU. `model` is the one that is trained, with or without adapters.
    """
    import torch

    labels = inputs["labels"]
    following = torch.nn.functional.pad(labels[:, 1:], (0, 1), value=IGNORED)
    learnt = following != IGNORED
    if labels.device.type == "cuda" or _adds_tokens(model) or not learnt.any():
        yield dict(inputs)
        return

    def narrow(_module: Any, _given: Any, output: Any) -> Any:
        output.last_hidden_state = output.last_hidden_state[learnt][None]
        return output

    causal = model.get_base_model() if hasattr(model, "get_base_model") else model
    hook = causal.base_model.register_forward_hook(narrow)
    try:
        yield {key: value for key, value in inputs.items() if key != "labels"} | {
            "shift_labels": following[learnt][None]
        }
    finally:
        hook.remove()


def _adds_tokens(model: Any) -> bool:
    """Whether an adapter puts tokens of its own before a row: prompt and prefix tuning."""
    return any(config.is_prompt_learning for config in getattr(model, "peft_config", {}).values())
