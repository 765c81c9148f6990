"""Requests of live traffic that a shadow has sampled, one of each conversation, as an API can be asked them too."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from registry.service import Registry
    from registry.shadows.pair_store import PairInfo

PAGE = 50
POLL_S = 2.0
"""Between two looks for pairs that have come."""
USUAL_MAX_TOKENS = 4_096
"""Of an answer, where the request has no bound."""


@dataclass(frozen=True, slots=True)
class SampledRequest:
    """A chat that was answered here, and what it took."""

    request_id: str
    messages: tuple[Mapping[str, Any], ...]
    tools: tuple[Mapping[str, Any], ...]
    max_tokens: int
    temperature: float | None
    model: str
    """The version that answered, under its public name."""
    prompt_tokens: int
    completion_tokens: int


def sampled(
    registry: Registry, shadow_id: int, wait: Callable[[float], object] = time.sleep
) -> Generator[SampledRequest, None, None]:
    """Those of a shadow's pairs, oldest first, as they come, until the shadow has ended. Of a conversation only the
    first: others say little more. What is no chat, or whose texts are not kept, is left out. Raises `InvalidInput` as
    soon as the tenant does not consent any more.
    """
    after: str | None = None
    seen: set[str] = set()
    while True:
        shadow = registry.shadows.get(shadow_id)
        registry.calibrations.require_consent(shadow.adapter.partition("/")[0])
        over = shadow.ended_at_ms is not None
        page = registry.pairs.page(shadow_id, after, PAGE, with_content=True)
        for pair in page:
            found = request_of(pair)
            if found is not None and (conversation := _conversation(found)) not in seen:
                seen.add(conversation)
                yield found
        if page:
            after = page[-1].request_id
        elif over:
            return
        else:
            wait(POLL_S)


def request_of(pair: PairInfo) -> SampledRequest | None:
    """What was asked and answered here; `None` where it cannot be compared."""
    tokens = pair.control.get("prompt_tokens"), pair.control.get("completion_tokens")
    if pair.content is None or pair.control.get("outcome") != "ok" or not all(tokens):
        return None
    body = pair.content.request
    if not isinstance(body.get("messages"), list) or body.get("n") not in (None, 1):
        return None
    bound = body.get("max_completion_tokens") or body.get("max_tokens") or USUAL_MAX_TOKENS
    return SampledRequest(
        pair.request_id,
        tuple(body["messages"]),
        tuple(body.get("tools") or ()),
        int(bound),
        body.get("temperature"),
        str(pair.control.get("model", "")),
        *map(int, tokens),  # type: ignore[arg-type]  # both are there
    )


def _conversation(found: SampledRequest) -> str:
    """What a conversation begins with, up to the first word of its user."""
    from registry.storage.blobs import canonical_json, digest_of

    roles = [str(one.get("role")) for one in found.messages]
    first = roles.index("user") + 1 if "user" in roles else len(roles)
    return digest_of(canonical_json({"messages": found.messages[:first]}))
