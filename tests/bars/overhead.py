"""What the gateway adds, in CPU and latency, against the mock engine; and what dialects cost that it translates."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from tests.bars.support.commands import last_json
from tests.bars.support.running import running

MOST_OF_A_CHAT = {"responses": 1.3, "stored responses": 1.3, "messages": 1.3}
"""CPU of a request, by its dialect, in chats of the same size."""


def run(folder: Path, scale: float) -> dict[str, Any]:
    """Run `loadtest.overhead`. What it adds has no bar: that is for comparison over time."""
    with running(folder, "--answer-tokens", "50") as house:
        figures, status = last_json(
            [
                *(sys.executable, "-m", "loadtest.overhead", "--direct", house.engine_url, "--gateway", house.url),
                *(f"--key={house.house.keys['acme']}", "--model", "acme/triage", "--pid", str(house.gateway_pid)),
                *("--dialects", *MOST_OF_A_CHAT, "chat"),
                *("--requests", str(max(40, int(4000 * scale))), "--rounds", "2" if scale < 1 else "8"),
            ]
        )
    figures["of_a_chat"] = compared = {name: _of_a_chat(figures["rows"], name) for name in MOST_OF_A_CHAT}
    speed = {
        f"{name} cost at most {most} times the CPU of chats": max(compared[name].values()) <= most
        for name, most in MOST_OF_A_CHAT.items()
    }
    return {"figures": figures, "bars": {"no request fails": status == 0}, "speed": speed}


def _of_a_chat(rows: list[dict[str, Any]], dialect: str) -> dict[str, float]:
    """CPU of a request of a dialect in chats of the same size, by case, where many come at once."""
    cpu = {(row["case"], row["dialect"]): row["gateway_cpu_us"] for row in rows if row["concurrency"] > 1}
    return {case: round(cpu[case, dialect] / cpu[case, "chat"], 3) for case, of in cpu if of == dialect}
