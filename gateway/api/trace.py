"""W3C trace context: what the client's tracing says of a request, for the engine's and for our own.

What does not follow the grammar is left out, as the recommendation wants it, and never refused: a client's tracing is
no reason to serve it less.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from telemetry.spans import Remote

PARENT = re.compile(rb"(?!ff)([0-9a-f]{2})-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-[!-~]{1,200})?")
"""Version, trace, span and flags; versions after 00 may say more behind them."""
MEMBER = re.compile(
    rb"(?:[a-z][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13})"
    rb"=[ -+\--<>-~]{0,255}[!-+\--<>-~]"
)
SAMPLED = 1
"""The flag of a parent whose trace is told."""
MOST_MEMBERS = 32
MOST_STATE_BYTES = 2_048
"""Of all members together; 512 at least must be passed on."""


def trace_lines(parents: Sequence[bytes], states: Sequence[bytes]) -> bytes:
    """Header lines for the engine, of a request's `traceparent` and `tracestate` headers; empty when there is no parent
    that can be understood, and without the state when that cannot.
    """
    if not _is_parent(parents):
        return b""
    line = b"traceparent: %b\r\n" % parents[0]
    state = _state(states)
    return line + b"tracestate: %b\r\n" % state if state else line


def client_span(parents: Sequence[bytes]) -> Remote | None:
    """The client's span that a request's `traceparent` headers name; `None` when that cannot be understood."""
    if not _is_parent(parents):
        return None
    _, trace, span, flags = parents[0].split(b"-")[:4]
    return Remote(int(trace, 16), int(span, 16), bool(int(flags, 16) & SAMPLED))


def _is_parent(parents: Sequence[bytes]) -> bool:
    found = PARENT.fullmatch(parents[0]) if len(parents) == 1 else None
    return found is not None and (found[1] != b"00" or found[2] is None)


def _state(headers: Sequence[bytes]) -> bytes:
    members = [part.strip(b" \t") for header in headers for part in header.split(b",")]
    members = [member for member in members if member]
    keys = {member.partition(b"=")[0] for member in members}
    good = len(keys) == len(members) <= MOST_MEMBERS and all(map(MEMBER.fullmatch, members))
    state = b",".join(members)
    return state if good and len(state) <= MOST_STATE_BYTES else b""
