"""Completions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from loadtest.fidelity.rules import Rule, served
from loadtest.fidelity.shapes.chat import FEW, SCHEMA, long_text
from loadtest.fidelity.shapes.shape import Shape

PATH = "/v1/completions"
TEXT = "The colours of the flag are"
IDS = [504, 11, 253, 28, 17, 30, 260, 2]
LAST = {"include_usage": True}


def text(name: str, prompt: Any = TEXT, **fields: Any) -> dict[str, Any]:
    """The arguments of a greedy, short completion's shape."""
    body = {"prompt": prompt, "temperature": 0, "max_tokens": FEW} | fields
    return {"name": f"completions: {name}", "path": PATH, "body": {k: v for k, v in body.items() if v is not None}}


def shapes(context: int) -> Sequence[Shape]:
    """All of them."""
    return [*_prompts(context), *_sampling(), *_streams()]


def _prompts(context: int) -> list[Shape]:
    return [
        Shape(**text("one text")),
        Shape(**text("one text, and the usual bound", max_tokens=None)),
        Shape(**text("two texts", [TEXT, "Once upon a"])),
        Shape(**text("token ids", IDS)),
        Shape(**text("two lists of token ids", [IDS, IDS[:3]])),
        Shape(**text("a text as long as the context takes", long_text(context))),
        Shape(**text("an echo", echo=True)),
        Shape(**text("an echo of token ids", IDS, echo=True)),
        Shape(**text("nothing but an echo", echo=True, max_tokens=0)),
        Shape(
            **text("an echo with log-probabilities", echo=True, logprobs=1), needs=frozenset({"prompt_logprobs"})
        ),
        Shape(
            **text("the score of a text", echo=True, max_tokens=0, logprobs=1), needs=frozenset({"prompt_logprobs"})
        ),
        Shape(**text("a suffix", suffix=" and white.")),
    ]  # fmt: skip


def _sampling() -> list[Shape]:
    return [
        Shape(**text("two answers to each of two texts", [TEXT, "Once upon a"], n=2, temperature=1, seed=5)),
        Shape(**text("the best of one", best_of=1)),
        Shape(**text("log-probabilities", logprobs=3)),
        Shape(**text("log-probabilities of what was chosen", logprobs=0)),
        Shape(**text("a seed at temperature 1", temperature=1, seed=7)),
        Shape(**text("stop strings", stop=[",", "."])),
        Shape(**text("a bias", logit_bias={"253": 5})),
        Shape(**text("hints", user="u-1", metadata={"team": "a"}, service_tier="default", store=False)),
        Shape(**text("JSON of a schema", structured_outputs={"json": SCHEMA}, max_tokens=24)),
        Shape(**text("token ids of prompt and answer", return_token_ids=True)),
        Shape(
            **text("the newer bound", max_tokens=None, max_completion_tokens=3),
            differs=(
                Rule(
                    r"answer\.(?:choices\[0\]\.(?:text|finish_reason)|usage\.(?:completion|total)_tokens)",
                    "completions of vLLM do not know 'max_completion_tokens' and make 16 tokens; the gateway heeds it",
                ),
            ),
        ),
        Shape(
            **text("two greedy answers", n=2),
            differs=served("several greedy answers are all the same one: the gateway serves what vLLM 0.32 refuses"),
        ),
    ]


def _streams() -> list[Shape]:
    two = [TEXT, "Once upon a"]
    return [
        Shape(**text("a stream", stream=True)),
        Shape(**text("a stream with its usage", stream=True, stream_options=LAST)),
        Shape(**text("a stream of two texts", two, stream=True, stream_options=LAST)),
        Shape(**text("a stream of two answers", stream=True, n=2, temperature=1, seed=5, stream_options=LAST)),
        Shape(**text("a stream of log-probabilities", stream=True, logprobs=2)),
        Shape(**text("a stream with an echo", stream=True, echo=True)),
        Shape(**text("a stream that a stop string ends", stream=True, stop=[",", "."])),
    ]
