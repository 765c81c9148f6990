"""More than 60 shapes of requests, to the engine and through the gateway: every field of both answers is the same.

On the mock engine, with a context of 128k tokens that a body fills, or of an eighth of it when it is run small.
`live_fidelity` is the same on a real engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from loadtest.fidelity.comparison import Result, compare
from loadtest.fidelity.exchanges import Target
from loadtest.fidelity.shapes import shapes
from loadtest.fidelity.shapes.shape import Shape
from registry.service import Registry
from tests.support.stack import BASE, open_house, run_stack

CONTEXT, SMALL = 131_072, 16_384
PAYING = "globex"
LEAST = 60
"""Shapes that there are."""
GENERATES = {"tool_call_parser": "hermes"}
POOLS = {"runner": "pooling"}
LACKED = {"responses", "messages", "pooling"}
"""What a mock that generates has not: Responses and Messages of its own are nothing to hold the gateway's against."""


def run(folder: Path, scale: float) -> dict[str, Any]:
    """Ask both, compare, for a tenant that pays too; then the same with an engine that pools."""
    context = CONTEXT if scale >= 1 else SMALL
    every, holds = shapes(context), {"max_model_len": context}
    pooled = [shape for shape in every if "pooling" in shape.needs]
    result = _compared(folder / "generates", GENERATES | holds, [one for one in every if not one.needs & LACKED])
    return judge(result.with_more(_compared(folder / "pools", POOLS | holds, pooled)))


def _compared(folder: Path, options: dict[str, Any], tried: Sequence[Shape]) -> Result:
    with open_house(folder, engine_prompt_logprobs=True) as house:
        for tenant in ("acme", PAYING):
            house.tenant(tenant)
        set_price(house.registry)
        free, paid = (house.key(tenant, "inference", "base") for tenant in ("acme", PAYING))
        with run_stack(house, engines=[options]) as stack:
            engine = Target(stack.engine.url, "base")
            result = compare(engine, Target(stack.url, BASE, free), tried)
            return result.with_more(compare(engine, Target(stack.url, BASE, paid), assembled(tried)))


def set_price(registry: Registry) -> None:
    """For the tenant that pays."""
    registry.tariffs.add(f"tenant:{PAYING}", input_dollars="1", output_dollars="2", source="a bar")


def assembled(tried: Sequence[Shape]) -> list[Shape]:
    """Those whose documents are put together for who pays, and written by the engine for who does not."""
    return [shape for shape in tried if shape.dialect in ("chat", "completions") and not shape.body.get("stream")]


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
