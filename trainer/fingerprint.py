"""Takes the fingerprint of a base model: a few fixed texts, and how likely it finds some of their words."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from registry.bases.fingerprint import (
    FINGERPRINT_FILE,
    MAX_TOKENS,
    TEXTS,
    Fingerprint,
    FingerprintProbe,
    positions_in,
    write_fingerprint,
)
from registry.errors import first_line
from trainer.errors import BaseModelError
from trainer.forward import token_logprobs
from trainer.renderings import take_renderings


def take_fingerprint(model: Any, tokenizer: Any) -> Fingerprint:
    """Measure a model in memory. It should be in float32: what other precisions change is then the engine's share."""
    texts = [_encode(tokenizer, text) for text in TEXTS]
    measured = token_logprobs(model, texts)
    probes = tuple(_probe(text, values) for text, values in zip(texts, measured, strict=True))
    return Fingerprint(probes, take_renderings(tokenizer))


def ensure_fingerprint(folder: Path, say: Callable[[str], None] = lambda _: None) -> bool:
    """Write the fingerprint of the base in `folder` if it lacks one, or a part of it; True when there is one now.

    A base that cannot be loaded here, or a folder that cannot be written to, is no error: engines that serve it are
    shown as unverified, and `say` is told why.
    """
    try:
        if (folder / FINGERPRINT_FILE).exists():
            _add_renderings(folder, say)
            return True
        say("taking the base model's fingerprint")
        fingerprint_folder(folder)
    except BaseModelError as error:
        say(f"no fingerprint: {error}")
        return False
    return True


def _add_renderings(folder: Path, say: Callable[[str], None]) -> None:
    """To a fingerprint without them, which takes the tokenizer only. Raises BaseModelError."""
    try:
        known = Fingerprint.from_json(json.loads((folder / FINGERPRINT_FILE).read_bytes()))
        if known.renderings is None:
            say("taking down how its chat template renders")
            from transformers import AutoTokenizer

            renderings = take_renderings(AutoTokenizer.from_pretrained(folder))
            write_fingerprint(replace(known, renderings=renderings), folder)
    except Exception as error:  # as below
        raise BaseModelError(f"the chat template in {str(folder)!r} could not be tried: {error}") from error


def fingerprint_folder(folder: Path) -> Fingerprint:
    """Load the base in `folder`, measure it anew and write the file. Raises BaseModelError."""
    os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16")  # AMX may be advertised and still fault
    try:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        fingerprint = take_fingerprint(model, AutoTokenizer.from_pretrained(folder))
        write_fingerprint(fingerprint, folder)
    except Exception as error:  # of transformers, safetensors, torch and OSError there is no nearer ancestor
        raise BaseModelError(
            f"the base model in {str(folder)!r} could not be measured ({first_line(error)}); "
            "give a folder that transformers can load and that can be written to"
        ) from error
    return fingerprint


def _encode(tokenizer: Any, text: str) -> tuple[int, ...]:
    return tuple(tokenizer(text, add_special_tokens=False)["input_ids"][:MAX_TOKENS])


def _probe(text: Sequence[int], values: Sequence[float]) -> FingerprintProbe:
    positions = positions_in(len(text))
    logprobs = tuple(round(values[position - 1], 5) for position in positions)
    return FingerprintProbe(tuple(text), positions, logprobs)
