"""What vLLM's control routes answer, as JSON."""

from __future__ import annotations

from typing import Any

import httpx

from gateway.engines.faults import Unintelligible


def json_of(answer: httpx.Response) -> dict[str, Any]:
    """An object. Raises `Unintelligible`."""
    try:
        document = answer.json()
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise Unintelligible(f"{answer.request.url.path} answered what is no JSON object")
    return document


def message_of(answer: httpx.Response) -> str | None:
    """vLLM's error text; `None` for the `{"detail": …}` of a route that is not mounted."""
    try:
        error = answer.json()["error"]
    except (ValueError, KeyError, TypeError):
        return None
    return str(error["message"]) if isinstance(error, dict) and "message" in error else str(error)
