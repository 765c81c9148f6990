"""Embeddings, score and rerank, for engines that pool: they answer nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from loadtest.fidelity.rules import Rule, left_out, served
from loadtest.fidelity.shapes.shape import Shape

TEXTS = ["A red flag", "Où est mon colis ? 🙂", "A blue one"]
IDS = [11, 7, 13, 5]
PROMPTS_ONLY = Rule(
    r"answer\.usage\.(?:completion_tokens|completion_tokens_details|prompt_tokens_details)",
    "nothing is written: OpenAI's usage of embeddings has no count of it, and vLLM's says 0 or null",
    left_out,
)
PATHS = {"embeddings": "/v1/embeddings", "score": "/v1/score", "rerank": "/v1/rerank"}


def shapes(context: int) -> Sequence[Shape]:
    """All of them."""
    too_long = " late" * (context + 100)
    documents = [{"text": text} for text in TEXTS]
    return [
        _pooled("embeddings: a text", input=TEXTS[0]),
        _pooled("embeddings: three texts", input=TEXTS),
        _pooled("embeddings: token ids", input=IDS),
        _pooled("embeddings: two lists of token ids", input=[IDS, IDS[:2]]),
        _pooled("embeddings: base64, as the SDK asks", input=TEXTS, encoding_format="base64"),
        _pooled("embeddings: floats, and who asks", input=TEXTS, encoding_format="float", user="u-1"),
        _pooled("embeddings: cut to its last tokens", input=TEXTS[0] * 20, truncate_prompt_tokens=4),
        _pooled("embeddings: refused: a text longer than the context", input=too_long),
        _pooled("embeddings: refused: a number", input=1.5),
        _pooled("score: a text and one", queries=TEXTS[0], documents=TEXTS[2]),
        _pooled("score: a text and three", queries=TEXTS[0], documents=TEXTS),
        _pooled("score: pairs", queries=TEXTS, documents=TEXTS[::-1]),
        _pooled("score: by their older names", text_1=TEXTS[0], text_2=TEXTS),
        _pooled("score: refused: two and three", queries=TEXTS[:2], documents=TEXTS),
        _pooled("rerank: three documents", query=TEXTS[0], documents=TEXTS),
        _pooled("rerank: the best of them", query=TEXTS[0], documents=TEXTS, top_n=1),
        Shape(
            "rerank: documents as Cohere writes them",
            PATHS["rerank"],
            {"query": TEXTS[0], "documents": documents},
            served("vLLM wants plain texts; clients of Cohere and Jina may send objects"),
            frozenset({"pooling"}),
        ),
    ]


def _pooled(name: str, **body: Any) -> Shape:
    return Shape(name, PATHS[name.partition(":")[0]], body, (PROMPTS_ONLY,), frozenset({"pooling"}))
