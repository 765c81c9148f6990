"""Prompts that bytes would refuse are counted by the base's tokenizer, and never as fewer tokens than they are."""

from __future__ import annotations

import importlib
import json
import random
from pathlib import Path
from typing import Any

import pytest

from gateway.cost.prompt_tokens import MOST_BYTES, PromptTokens, texts_of
from gateway.steps.hold import TEMPLATE_TOKENS, printed_bytes
from tests.gateway.stack import House, run_stack

tokenizers: Any = importlib.import_module("tokenizers")  # it comes with the engine and the trainer, which tests have
WORDS = ["the", "parcel", "is", "late", ",", "!", "überall", "Straße", "東京", "🙂", "\n\n", "    ", "return", "x"]
WORDS += ["aaaaaaaaaaaaaaaa", "12345678", "<|im_end|>", "user", " ", "\t"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A byte-level BPE as bases have one, with merges over words, punctuation and line ends."""
    folder = tmp_path_factory.mktemp("base")
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    draw = random.Random(1)
    lines = [" ".join(draw.choices(WORDS, k=30)) for _ in range(200)]
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<|im_start|>", "<|im_end|>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(lines, trainer)
    tokenizer.enable_truncation(16)  # what the last caller of a saved file asked for is not what it counts
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def rendered(messages: list[dict[str, Any]]) -> str:
    """ChatML, with a default system prompt."""
    text = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    for message in messages:
        content = message["content"]
        if isinstance(content, list):
            content = "\n".join(part["text"] for part in content)
        text += f"<|im_start|>{message['role']}\n{content}<|im_end|>\n"
    return text + "<|im_start|>assistant\n"


async def test_a_count_is_never_below_the_truth_and_far_nearer_to_it_than_bytes(base: Path) -> None:
    counter = PromptTokens(lambda digest: [base])
    truth = tokenizers.Tokenizer.from_file(str(base / "tokenizer.json"))
    truth.no_truncation()
    draw, bytes_in_all, held_in_all, true_in_all = random.Random(2), 0, 0, 0
    for _ in range(300):
        messages: list[dict[str, Any]] = []
        for _ in range(draw.randrange(1, 6)):
            texts = [
                "".join(draw.choices([*WORDS, " ", "\n"], k=draw.randrange(80))) for _ in range(draw.randrange(1, 4))
            ]
            content: Any = texts[0] if draw.random() < 0.7 else [{"type": "text", "text": text} for text in texts]
            messages.append({"role": draw.choice(["user", "assistant", "system"]), "content": content})
        body = {"model": "m", "messages": messages}
        size = len(json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode())
        bound = size + TEMPLATE_TOKENS + printed_bytes(body)
        held = bound - await counter.spared("sha256:1", body)
        tokens = len(truth.encode(rendered(messages), add_special_tokens=False).ids)
        assert tokens <= held <= bound
        bytes_in_all, held_in_all, true_in_all = bytes_in_all + bound, held_in_all + held, true_in_all + tokens
    assert held_in_all - true_in_all < 0.7 * (bytes_in_all - true_in_all)
    counter.close()


async def test_text_prompts_are_counted_and_lists_of_token_ids_are_not(base: Path) -> None:
    counter = PromptTokens(lambda digest: [base])
    text = " the parcel is late" * 100
    assert await counter.spared("d", {"prompt": text}) > len(text) / 2
    assert await counter.spared("d", {"prompt": [text, text]}) > len(text)
    assert await counter.spared("d", {"prompt": [1, 2, 3]}) == 0
    assert texts_of({"prompt": [[1], [2]], "messages": None}) == []
    counter.close()


async def test_where_nothing_can_count_or_it_would_take_long_bytes_count(base: Path, tmp_path: Path) -> None:
    text = {"prompt": " the parcel is late" * 10}
    (tmp_path / "tokenizer.json").write_text("{")
    for folders in ([], [tmp_path], [tmp_path / "nowhere"]):
        counter = PromptTokens(lambda digest, found=folders: found)  # type: ignore[misc]
        assert [await counter.spared("d", text) for _ in range(2)] == [0, 0]
        counter.close()
    counter = PromptTokens(lambda digest: [base])
    assert await counter.spared("d", {"prompt": "a" * (MOST_BYTES + 1)}) == 0
    assert await counter.spared("d", text) > 0
    counter.close()


def test_near_a_budgets_end_a_request_is_let_through_by_its_tokens_that_its_bytes_would_refuse(
    base: Path, house: House
) -> None:
    house.publish("acme/triage")
    house.point("acme/triage", "1.0")
    house.registry.limits.set("tenant:acme", {"daily_tokens": 1_500})
    messages = [{"role": "user", "content": " the parcel is late" * 100}]
    with run_stack(house) as stack:
        stack.wait_resident("acme/triage@1.0")
        assert stack.gateway.house is not None
        prompts = stack.gateway.house.prompts
        prompts._folders = lambda digest: []
        assert stack.chat("triage", messages=messages).json()["error"]["code"] == "insufficient_quota"
        prompts._tokenizers.clear()
        prompts._folders = lambda digest: [base]
        assert stack.chat("triage", messages=messages).status_code == 200
