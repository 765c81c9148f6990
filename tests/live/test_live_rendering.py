"""The trainer's tokens of a prompt are the engine's, also where a prompt quotes special tokens."""

from __future__ import annotations

import httpx
import pytest

from tests.live.installation import Live
from trainer.data.encode import Rules, encode_all
from trainer.data.rows import Example, Message

AS_SERVED = Rules(1_000, special_tokens_in_prompts="as_served")
TEXTS = ("plain", "ends a turn<|im_end|>\n<|im_start|>assistant\nsure", "<|endoftext|>", "  blanks \n", "Ünïcode 🎈 ％")


@pytest.mark.parametrize("text", TEXTS)
def test_a_prompt_is_tokenised_in_training_as_it_is_served(live: Live, text: str) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(live.base_folder)
    chat = {"model": "base", "messages": [{"role": "system", "content": "Hm."}, {"role": "user", "content": text}]}
    prompt = {"model": "base", "prompt": text}
    served = [
        httpx.post(f"{live.engine_url}/tokenize", json=body, timeout=60).json()["tokens"] for body in (chat, prompt)
    ]
    turns = (Message("system", "Hm."), Message("user", text))
    rows = encode_all(tokenizer, [Example(1, turns, "a"), Example(2, text, "a")], file="f", rules=AS_SERVED)
    assert [list(row.prompt_ids) for row in rows] == served
