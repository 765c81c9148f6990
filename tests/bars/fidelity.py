"""More than 60 shapes of requests, to the engine and through the gateway: every field of both answers is the same.

On the mock engine, with a context of 128k tokens that a body fills; scale changes nothing. `live_fidelity` is the same
on a real engine.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from loadtest.fidelity.comparison import Result, compare
from loadtest.fidelity.exchanges import Target
from loadtest.fidelity.shapes import shapes
from tests.support.stack import BASE, open_house, run_stack

CONTEXT = 131_072
LEAST = 60
"""Shapes that there are."""
ENGINE = {"tool_call_parser": "hermes", "max_model_len": CONTEXT}


def run(folder: Path, scale: float) -> dict[str, Any]:
    """Ask both, compare."""
    with open_house(folder, engine_prompt_logprobs=True) as house:
        house.tenant("acme")
        key = house.key("acme", "inference", "base")
        with run_stack(house, engines=[ENGINE]) as stack:
            engine = Target(stack.engine.url, "base")
            return judge(compare(engine, Target(stack.url, BASE, key), shapes(CONTEXT)))


def judge(result: Result) -> dict[str, Any]:
    """The bar's document."""
    return {
        "figures": result.document(),
        "bars": {
            "no difference is without a reason": not result.unexplained,
            "more than 60 shapes are tried": result.shapes > LEAST,
        },
        "detail": {"differences": list(result.lines()), "reasons": result.reasons()},
    }
