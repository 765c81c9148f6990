"""What dialects cost that the gateway translates: CPU of a request in that of a chat of the same size.

The gateway has a processor of its own and is asked in each dialect in turn, for a tenth of a second: of the ratios of
these slices to those of chats the median counts, and `of_a_chat_interval` has the true one in 95 of 100 cases
(`tests.against`). So a busy machine does no more harm than to widen the interval.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from loadtest.overhead import STREAM_TOKENS, Target
from tests.against import interval, slices
from tests.bars.support.processors import apart
from tests.bars.support.running import Running, running

CHAT = "chat"
MOST_OF_A_CHAT = {"responses": 1.3, "stored responses": 1.3, "messages": 1.3}
REQUESTS = {"unstreamed": 128, f"{STREAM_TOKENS + 2}-event stream": 64}
"""Of a slice, by case."""
PAIRS, LEAST_PAIRS, AT_ONCE = 40, 4, 32
"""Slices of each dialect in each case; requests at once."""


def run(folder: Path, scale: float) -> dict[str, Any]:
    """Slices of all dialects in turn."""
    pairs = max(LEAST_PAIRS, int(PAIRS * min(1.0, scale)))
    with running(folder, "--answer-tokens", "50") as house:
        ratios = _of_a_chat(house, pairs)
    compared = {name: {case: round(median(found), 3) for case, found in of.items()} for name, of in ratios.items()}
    intervals = {
        name: {case: [round(end, 3) for end in interval(found)] for case, found in of.items()}
        for name, of in ratios.items()
    }
    speed = {
        f"{name} cost at most {most} times the CPU of chats": max(compared[name].values()) <= most
        for name, most in MOST_OF_A_CHAT.items()
    }
    return {
        "figures": {"of_a_chat": compared, "of_a_chat_interval": intervals, "pairs": pairs},
        "bars": {},
        "speed": speed,
    }


def _of_a_chat(house: Running, pairs: int) -> dict[str, Mapping[str, Sequence[float]]]:
    """Ratios of slices, by dialect and case. Raises RuntimeError when an answer is wrong."""
    dialects = [CHAT, *MOST_OF_A_CHAT]
    targets = [Target(house.url, "acme/triage", house.house.keys["acme"], house.gateway_pid, one) for one in dialects]
    with apart(house.gateway_pid, house.engine_pid):
        found = {
            case: asyncio.run(slices(targets, case != "unstreamed", requests, pairs, at_once=AT_ONCE))
            for case, requests in REQUESTS.items()
        }
    return {
        name: {
            case: [us / chat_us for us, chat_us in zip(of[number], of[0], strict=True)] for case, of in found.items()
        }
        for number, name in enumerate(dialects)
        if name != CHAT
    }
