"""The masking receipt of a training, compared with what the real vLLM makes of the same prompts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.live.installation import ROOT, Live
from trainer.data.encode import Rules, encode_all
from trainer.data.read import read_data
from trainer.data.rows import Example, Message
from trainer.errors import TrainingRefused
from trainer.methods.engine_rendering import engine_at
from trainer.methods.loading import load_tokenizer
from trainer.methods.receipt import base_of, masking_receipt

TURNS = (
    Message("system", "Answer in one word."),
    Message("user", "  مرحبا\n"),
    Message("assistant", "你好"),
    Message("user", "e\u0301 👩‍👩‍👧?"),
)


def test_prompts_are_trained_as_the_engine_renders_them(live: Live) -> None:
    rows = read_data(ROOT / "examples" / "triage" / "heldout.jsonl", "chat").examples[:20]
    examples = [*rows, Example(0, TURNS, "Oslo"), Example(0, "Review: it broke.\nMood:", " heron")]
    tokenizer = load_tokenizer(live.base_folder)
    encoded = encode_all(tokenizer, examples, file="rows", rules=Rules(1024))
    with engine_at(live.engine_url) as ask:
        receipt = masking_receipt(base_of(live.base_folder, tokenizer), examples, encoded, ask)
    assert receipt.rendered_by == "the engine's /tokenize"
    assert receipt.rows_compared == 22
    assert receipt.stops == {"<|im_end|>": 22}


def test_another_template_than_the_engines_is_refused(live: Live, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(live.base_folder)
    tokenizer.chat_template = tokenizer.chat_template.replace("You are a helpful", "You are an unhelpful")
    examples = [Example(1, (Message("user", "Hello"),), "Oslo")]
    encoded = encode_all(tokenizer, examples, file="rows", rules=Rules(1024))
    base = base_of(tmp_path, tokenizer)
    with engine_at(live.engine_url) as ask, pytest.raises(TrainingRefused, match=r"the engine \(its /tokenize\) makes"):
        masking_receipt(base, examples, encoded, ask)
