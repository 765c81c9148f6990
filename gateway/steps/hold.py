"""What can this request use at most? Hold that, or refuse it.

An answer's bound is `max_tokens` times the number of answers. A request under limits that names none gets one, which
about one answer in a hundred reaches: what is held is also what the engine is told, so that the hold bounds what is
spent.

A prompt is not tokenized here. For the rate it counts as a quarter of the body's bytes, which is about right for
English. For budgets it counts as all of them and `TEMPLATE_TOKENS`: a tokenizer that works on bytes makes no more than
one token of each, so a budget is never overshot, and near its end requests are refused a little early. Tools and calls
of tools count once more as chat templates print them, which is with spaces and on lines of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson

from gateway.api.request import InferenceRequest
from gateway.cost.holds import Ask
from gateway.cost.limits import Bill, Limits
from gateway.cost.output_lengths import OutputLengths
from gateway.cost.tariff import most_nano
from gateway.handoffs import Arm, Principal
from registry.catalog import Catalog

BYTES_PER_TOKEN = 4
TEMPLATE_TOKENS = 128
"""For what a chat template puts around the messages; a default system prompt has 20 to 60."""


async def hold(
    limits: Limits,
    lengths: OutputLengths,
    catalog: Catalog,
    principal: Principal,
    arm: Arm,
    request: InferenceRequest,
    body_bytes: int,
) -> tuple[InferenceRequest, Bill]:
    """The request as it may go to the engine, and its bill. Raises what `Limits.open` raises."""
    standing = limits.standing(catalog, principal, arm)
    if not standing.counters:
        return request, Bill(limits, standing, None)
    if request.max_output_tokens is None:
        request = _bounded(request, lengths.bound(principal.tenant, arm.public_name))
    answers = (request.max_output_tokens or 0) * request.choices
    prompt = body_bytes + TEMPLATE_TOKENS + printed_bytes(request.body)
    ask = Ask(
        -(-body_bytes // BYTES_PER_TOKEN) + answers,
        prompt + answers,
        0 if standing.price is None else most_nano(prompt, answers, standing.price),
    )
    return request, await limits.open(standing, ask)


def printed_bytes(body: Mapping[str, Any]) -> int:
    """The most that a template makes of the JSON in a body. Llama's indents by 4: at most twice as much as by 2."""
    printed = [body[name] for name in ("tools", "documents") if body.get(name)]
    for message in body.get("messages", ()):
        for call in message.get("tool_calls") or ():
            printed += (call, _parsed(call["function"]["arguments"]))  # the engine parses them for the template
    return 2 * sum(len(orjson.dumps(one, option=orjson.OPT_INDENT_2)) for one in printed)


def _parsed(arguments: str) -> Any:
    try:
        return orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return arguments


def _bounded(request: InferenceRequest, most: int) -> InferenceRequest:
    most = max(most, request.body.get("min_tokens") or 0)
    body = {**request.body, "max_completion_tokens": most}
    return replace(request, max_output_tokens=most, bounded_by_us=True, body=body)
