"""Text that a tokenizer would read as control tokens: refused by line and field, unless it stays text on both sides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trainer.data.encode import Rules, encode_all
from trainer.data.faults import DataError
from trainer.data.rows import Example, Message

pytestmark = pytest.mark.training
STOP = "<|im_end|>"


@pytest.fixture(scope="module")
def tokenizer(base: Path) -> Any:
    """The tiny base's, with more of what real tokenizers have."""
    from tokenizers import AddedToken
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.add_tokens(
        [
            AddedToken("<fim_prefix>", special=True),
            AddedToken("OVER", special=True, single_word=True),
            AddedToken("<think>", special=False),
        ]
    )
    return tokenizer


def faults_of(tokenizer: Any, example: Example, rules: Rules = Rules(400)) -> list[tuple[int, str]]:
    with pytest.raises(DataError) as caught:
        encode_all(tokenizer, [example], file="d.jsonl", rules=rules)
    for fault in caught.value.faults:
        assert "remove it" in fault.message or "reword it" in fault.message
    return [(fault.line, f"{fault.code} {fault.message.split(' quotes')[0]}") for fault in caught.value.faults]


@pytest.mark.parametrize(
    "text",
    [
        STOP,
        f"yes{STOP}",
        f"In ChatML a turn ends with {STOP} and a newline.",
        f"{STOP}{STOP}",
        "<|im_start|>user\nhi",
        "Put <fim_prefix> first.",
        "Roger, OVER and out",
    ],
)
def test_an_answer_that_quotes_a_special_token_is_a_fault(tokenizer: Any, text: str) -> None:
    assert faults_of(tokenizer, Example(7, (Message("user", "hi"),), text)) == [
        (7, "special_token_in_answer messages[1].content")
    ]
    assert faults_of(tokenizer, Example(7, "hi", text)) == [(7, "special_token_in_answer 'completion'")]


@pytest.mark.parametrize("text", ["<|im_end", "im_end|>", "<| im_end |>", "<|IM_END|>", "OVERALL", "MOREOVER", "</s>"])
def test_what_only_resembles_a_special_token_is_text(tokenizer: Any, text: str) -> None:
    (row,) = encode_all(tokenizer, [Example(1, (Message("user", text),), text)], file="f", rules=Rules(400))
    assert tokenizer.decode(row.completion_ids) == text + STOP
    assert row.completion_ids.count(tokenizer.eos_token_id) == 1


def test_a_token_that_is_not_special_is_said_as_text_and_may_be_learnt(tokenizer: Any) -> None:
    (row,) = encode_all(tokenizer, [Example(1, "a", "<think>hm")], file="f", rules=Rules(400))
    assert tokenizer.decode(row.completion_ids, skip_special_tokens=True) == "<think>hm"


def test_every_turn_of_a_prompt_is_looked_at_once(tokenizer: Any) -> None:
    turns = (Message("system", "a"), Message("user", f"say {STOP}"), Message("assistant", "no"), Message("user", "b"))
    examples = [Example(3, turns[:2], "no"), Example(3, turns, "c")]
    with pytest.raises(DataError) as caught:
        encode_all(tokenizer, examples, file="f", rules=Rules(400))
    assert [(fault.code, fault.message.split(" quotes")[0]) for fault in caught.value.faults] == [
        ("special_token_in_prompt", "messages[1].content")
    ]


def test_prompts_may_quote_by_setting_and_are_then_what_the_engine_makes_of_them(tokenizer: Any) -> None:
    rules = Rules(400, special_tokens_in_prompts="as_served")
    prompt = f"<|im_start|>user\nhi{STOP}\n<|im_start|>assistant\n"
    (row,) = encode_all(tokenizer, [Example(1, prompt, "yo")], file="f", rules=rules)
    (chat,) = encode_all(tokenizer, [Example(1, (Message("user", "hi"),), "yo")], file="f", rules=rules)
    assert (row.prompt_ids, row.completion_ids) == (chat.prompt_ids, chat.completion_ids)
    assert faults_of(tokenizer, Example(2, prompt, f"yo{STOP}"), rules) == [(2, "special_token_in_answer 'completion'")]


def test_characters_that_the_tokenizer_does_not_know_cannot_be_an_answer() -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"<unk>": 0, "</s>": 1, "yes": 2}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>", eos_token="</s>")
    assert len(encode_all(tokenizer, [Example(1, "ja", "yes")], file="f", rules=Rules(9))) == 1
    with pytest.raises(DataError, match=r"line 1: \[unknown_characters\] 'completion' has characters"):
        encode_all(tokenizer, [Example(1, "yes", "yes ja")], file="f", rules=Rules(9))


@pytest.mark.parametrize("refusal", ["{{ raise_exception('Roles must alternate') }}", "{{ messages[9].content }}"])
def test_a_template_that_refuses_a_row_is_a_fault_with_its_line(tokenizer: Any, refusal: str) -> None:
    before, tokenizer.chat_template = tokenizer.chat_template, refusal
    try:
        with pytest.raises(DataError, match=r"line 4: \[cannot_render\] the base's chat template refuses the row: "):
            encode_all(tokenizer, [Example(4, (Message("user", "hi"),), "yo")], file="f", rules=Rules(99))
    finally:
        tokenizer.chat_template = before


def test_a_row_of_megabytes_is_refused_without_being_tokenised(tokenizer: Any) -> None:
    long = "a" * 4_000_000
    with pytest.raises(DataError, match=r"line 1: \[no_label_tokens\] the prompt alone has 4000000 characters"):
        encode_all(tokenizer, [Example(1, long, "b")], file="f", rules=Rules(64))
