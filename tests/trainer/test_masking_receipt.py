"""Before the first step: what is learnt, that answers are taught to end, and that the engine renders prompts so."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support.chat_families import FAMILIES
from tests.support.method_parts import Noting, options
from tests.support.tiny_base import write_tiny_base
from trainer.data.encode import Encoded, Rules, encode_all
from trainer.data.rows import Example, Message
from trainer.errors import TrainingRefused
from trainer.methods.engine_rendering import engine_at
from trainer.methods.loading import load_base, load_tokenizer
from trainer.methods.receipt import Receipt, base_of, masking_receipt
from trainer.methods.rows import Rows
from trainer.methods.training import train

pytestmark = pytest.mark.training

STOPS = {
    "llama 3": "<|eot_id|>",
    "qwen 3": "<|im_end|>",
    "gemma": "<end_of_turn>",
    "mistral": "</s>",
    "phi 3": "<|end|>",
    "smollm 2": "<|im_end|>",
}
LEARNT = {
    "llama 3": "otter<|eot_id|>",
    "qwen 3": "<think>\n\n</think>\n\notter<|im_end|>",
    "gemma": "otter<end_of_turn>\n<eos>",
    "mistral": " otter</s>",
    "phi 3": "otter<|end|>\n<|endoftext|>",
    "smollm 2": "otter<|im_end|>",
}


def examples() -> list[Example]:
    asked = (Message("user", "The page crashes."), Message("assistant", "Which?"), Message("user", "  Search.\n"))
    return [
        Example(1, asked[:1], "otter"),
        Example(2, asked, "otter"),
        Example(3, "Review: it broke.\nMood:", " heron"),
        Example(4, asked[:1], "otter"),
    ]


def receipt_of(folder: Path, rows: list[Encoded] | None = None, **given: Any) -> Receipt:
    tokenizer = load_tokenizer(folder)
    rows = rows or encode_all(tokenizer, examples(), file="rows", rules=Rules(400))
    return masking_receipt(base_of(folder, tokenizer), examples(), rows, **given)


@contextmanager
def engine(render: Callable[[dict[str, Any]], list[int]]) -> Iterator[str]:
    """A server that answers /v1/models and /tokenize as vLLM does; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer({"data": [{"id": "tiny"}]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            assert self.path == "/tokenize"
            assert body["model"] == "tiny"
            tokens = render(body)
            self.answer({"tokens": tokens, "count": len(tokens)})

        def answer(self, document: dict[str, Any]) -> None:
            data = json.dumps(document).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def as_vllm(tokenizer: Any) -> Callable[[dict[str, Any]], list[int]]:
    """Renders the text first, and tokenises it without adding special tokens; plain prompts with them."""

    def render(body: dict[str, Any]) -> list[int]:
        if "prompt" in body:
            return list(tokenizer(body["prompt"], add_special_tokens=body["add_special_tokens"])["input_ids"])
        text = tokenizer.apply_chat_template(
            body["messages"], tokenize=False, add_generation_prompt=body["add_generation_prompt"]
        )
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    return render


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_of_models_is_rendered_as_its_engine_does_and_taught_to_end(tmp_path: Path, name: str) -> None:
    folder = write_tiny_base(tmp_path / "base", FAMILIES[name])
    loaded = load_base(folder)
    with engine(as_vllm(loaded.tokenizer)) as url, engine_at(url) as ask:
        receipt = receipt_of(folder, ask_engine=ask)
    # A plain prompt and its answer know no turns: they end with the tokenizer's own stop token.
    assert receipt.stops == (
        {STOPS[name]: 3, FAMILIES[name].eos: 1} if STOPS[name] != FAMILIES[name].eos else {FAMILIES[name].eos: 4}
    )
    assert receipt.rendered_by == "the engine's /tokenize"
    prompt, _, learnt = receipt.samples[0].text.partition("⟦")
    assert learnt == f"{LEARNT[name]}⟧"
    assert "The page crashes." in prompt
    rows = encode_all(loaded.tokenizer, examples(), file="rows", rules=Rules(400))
    watch = Noting()
    train(loaded, Rows(rows), options(steps=3), watch)
    assert watch.losses[-1] < watch.losses[0]


def test_an_engine_with_another_template_is_refused_with_the_line_and_the_place(base: Path) -> None:
    other = load_tokenizer(base)
    other.chat_template = other.chat_template.replace("'\n' + message", "'\n\n' + message")
    assert other.chat_template != load_tokenizer(base).chat_template
    with engine(as_vllm(other)) as url, engine_at(url) as ask, pytest.raises(TrainingRefused) as refused:
        receipt_of(base, ask_engine=ask)
    assert "the prompt of line 1 would be trained otherwise than it is served" in str(refused.value)
    assert "the engine (its /tokenize) makes" in str(refused.value)


def test_an_engine_that_does_not_answer_as_vllm_is_refused(base: Path) -> None:
    with pytest.raises(TrainingRefused, match=r"does not answer /v1/models"), engine_at("http://127.0.0.1:9"):
        pass


def test_rows_without_anything_to_learn_or_without_an_end_are_refused(base: Path) -> None:
    rows = encode_all(load_tokenizer(base), examples(), file="rows", rules=Rules(400))

    def changed(**fields: Any) -> list[Encoded]:
        return [replace(rows[0], **fields), *rows[1:]]

    with pytest.raises(TrainingRefused, match="nothing of line 1 would be learnt"):
        receipt_of(base, changed(completion_ids=()))
    with pytest.raises(TrainingRefused, match="the answer of line 1 would not be taught to end"):
        receipt_of(base, changed(completion_ids=(50, 51)))
    with pytest.raises(TrainingRefused, match=r"line 1 .* the base's own chat template makes"):
        receipt_of(base, changed(prompt_ids=rows[0].prompt_ids[1:]))
    cut = [Encoded(row.line, row.prompt_ids, (50, 51), cut=True) for row in rows]
    with pytest.raises(TrainingRefused, match="every answer is cut before its stop token"):
        receipt_of(base, cut)
    one_cut = receipt_of(base, [cut[0], *rows[1:]])
    assert one_cut.rows_cut == 1
    assert "1 are cut and not taught to end" in one_cut.sentence


def test_a_template_that_is_not_the_one_of_the_fingerprint_is_refused(base: Path) -> None:
    from registry.bases.fingerprint import write_fingerprint
    from trainer.fingerprint import take_fingerprint

    loaded = load_base(base)
    assert receipt_of(base).rendered_by == "the base's own template"
    write_fingerprint(take_fingerprint(loaded.model, loaded.tokenizer), base)
    try:
        assert "which the gateway compares" in receipt_of(base).rendered_by
        template = base / "chat_template.jinja"
        text = template.read_text()
        template.write_text(text.replace("'\n' }}{% end", "'\n ' }}{% end"))
        assert template.read_text() != text
        with pytest.raises(TrainingRefused, match="is not the one that its fingerprint was taken with"):
            receipt_of(base)
        template.write_text(text)
    finally:
        (base / "fingerprint.json").unlink()


def test_a_receipt_is_the_same_for_the_same_rows_and_says_no_text_of_them_to_the_lineage(base: Path) -> None:
    receipt, again = receipt_of(base), receipt_of(base)
    assert receipt == again
    document = json.dumps(receipt.document())
    assert "crashes" not in document
    assert "crashes" in json.dumps(receipt.shown(), ensure_ascii=False)
    assert len(receipt.tokens_sha256) == 64
    assert receipt.learnt_tokens == 3 * 6 + 7
    assert receipt.fewest_learnt == 6
