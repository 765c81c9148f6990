"""What may differ between a gateway's answer and its engine's, and why. What no rule explains is a fault."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from loadtest.fidelity.differences import ABSENT, Difference

DIGITS = 2e-3
"""Of a log-probability: what a sum of floats comes to depends on what shares its batch."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A kind of difference that is right."""

    fields: str
    """A pattern of all paths that it is about."""
    reason: str
    """Why it must be so, for people."""
    holds: Callable[[Any, Any], bool] = lambda engine, gateway: True
    """Whether the engine's value and the gateway's are as the reason says."""

    def explains(self, difference: Difference) -> bool:
        """Whether the difference is one of these."""
        return re.fullmatch(self.fields, difference.path) is not None and self.holds(
            difference.engine, difference.gateway
        )


def texts(engine: Any, gateway: Any) -> bool:
    """Two texts, of which the gateway's is not empty."""
    return isinstance(engine, str) and isinstance(gateway, str) and bool(gateway)


def alike_ids(engine: Any, gateway: Any) -> bool:
    """Two ids that begin alike."""
    return texts(engine, gateway) and re.split(r"[-_]", engine)[0] == re.split(r"[-_]", gateway)[0]


def integers(engine: Any, gateway: Any) -> bool:
    """Two of them."""
    return type(engine) is int and type(gateway) is int


def hidden(engine: Any, gateway: Any) -> bool:
    """What only the engine says."""
    return engine is not ABSENT and gateway is ABSENT


def _null_hidden(engine: Any, gateway: Any) -> bool:
    return engine is None and gateway is ABSENT


def left_out(engine: Any, gateway: Any) -> bool:
    """What says nothing, and the gateway does not say."""
    return not engine and engine is not ABSENT and gateway is ABSENT


def added(engine: Any, gateway: Any) -> bool:
    """What only the gateway says."""
    return engine is ABSENT


def _near(engine: Any, gateway: Any) -> bool:
    return isinstance(engine, float) and isinstance(gateway, float) and abs(engine - gateway) <= DIGITS


GENERAL: Sequence[Rule] = (
    Rule(r"answer\.id", "every answer has an id of its own; its kind is the same", alike_ids),
    Rule(r"answer\.created", "the engine's clock said so each time", integers),
    Rule(r"answer\.model", "the gateway names the version that answered, the engine what it calls it", texts),
    Rule(
        r"answer\.(?:choices\[\d+\]\.(?:message\.|delta\.)?)?"
        r"(?:stop_reason|token_ids|reasoning|routed_experts|prompt_logprobs|prompt_token_ids|prompt_text|token_strs"
        r"|kv_transfer_params|ec_transfer_params|metrics)",
        "null, and a field that only vLLM has: OpenAI's clients do not know it",
        _null_hidden,
    ),
    Rule(
        r"answer\.results\[\d+\]\.document\.multi_modal",
        "null, and a field that only vLLM has: other rerankers' clients do not know it",
        _null_hidden,
    ),
    Rule(
        r"answer\.usage\.prompt_tokens_details\.(?:created_cache_tokens|multimodal_tokens)",
        "how an engine fills its cache is the operator's affair",
        hidden,
    ),
    Rule(
        r"answer\.usage\.prompt_tokens_details\.cached_tokens",
        "a tenant's cache is its own: what others asked before does not shorten its prompt",
        integers,
    ),
    Rule(r"answer\.choices\[\d+\]\.(?:message|delta)\.tool_calls\[\d+\]\.id", "drawn anew for each call", texts),
    Rule(
        r"answer\.choices\[\d+\]\.(?:logprobs\..*|prompt_logprobs\[\d+\]\..*)",
        f"log-probabilities agree to {DIGITS}: what shares a batch changes the last digits",
        _near,
    ),
    Rule(
        r"answer\.error\.(?:message|type|code|param)",
        "an error has OpenAI's envelope: a type and code of its own, the client's name of the field, and a remedy",
    ),
)
"""For every shape."""


def explanation(difference: Difference, own: Sequence[Rule]) -> str | None:
    """The reason for a difference, of the shape's own rules or of all; None where there is none."""
    return next((rule.reason for rule in (*own, *GENERAL) if rule.explains(difference)), None)


def refused(reason: str) -> tuple[Rule, ...]:
    """Of a shape that the engine serves and the gateway refuses, as a bad request."""
    return (Rule("status", reason, lambda engine, gateway: engine == 200 and gateway == 400),)


def served(reason: str) -> tuple[Rule, ...]:
    """Of a shape that the engine refuses and the gateway serves."""
    return (Rule("status", reason, lambda engine, gateway: engine == 400 and gateway == 200),)
