"""Rows as the usage journal ships them."""

from __future__ import annotations

from typing import Any


def usage_row(attempt_id: str, **changes: Any) -> dict[str, Any]:
    """One attempt that went well: 10 prompt tokens of which 4 were cached, 5 written, 100 ms."""
    return {
        "attempt_id": attempt_id,
        "request_id": f"request-of-{attempt_id}",
        "tenant": "acme",
        "key_id": "key-1",
        "requested_model": "triage",
        "served_model": "acme/triage@1.0",
        "split_id": None,
        "arm": None,
        "unit_source": None,
        "endpoint": "chat",
        "engine": "http://127.0.0.1:8001",
        "outcome": "ok",
        "prompt_tokens": 10,
        "cached_tokens": 4,
        "completion_tokens": 5,
        "started_at_ms": 1_000,
        "finished_at_ms": 1_100,
    } | changes
