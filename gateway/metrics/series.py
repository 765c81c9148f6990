"""A document of the traffic of a window: numbers of slots added up by steps, and what follows from them."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.metrics.counts import AskTraffic
from gateway.metrics.layout import (
    CACHED,
    COMPLETION,
    INTER_TOKEN,
    NANO,
    OK,
    OUTCOMES,
    PROMPT,
    TTFT,
    Block,
    quantile,
)
from gateway.metrics.rings import ALL, Line, Slot, new_cell
from registry.money import nano_to_dollars

MOST_LINES = 50
SHORTEST_S = 4.0
"""A step that began less long ago is not shown yet, as workers tell every 2 s: it would always look like a collapse."""
QUANTILES: dict[str, tuple[Block, float]] = {
    "ttft_p50_ms": (TTFT, 0.5),
    "ttft_p95_ms": (TTFT, 0.95),
    "inter_token_p50_ms": (INTER_TOKEN, 0.5),
    "inter_token_p95_ms": (INTER_TOKEN, 0.95),
}


@dataclass(frozen=True, slots=True)
class Known:
    """What the leader has of a gateway, for one question. Times are in seconds since the epoch."""

    since_s: float
    """When it began to count."""
    now_s: float
    workers: int
    slot_s: int
    slots: Sequence[Slot]
    """Of the gateway."""
    fleet: Sequence[Slot]
    """Of the engines of all gateways."""
    tenants: Sequence[str]
    models: Sequence[str]
    named: bool
    """Whether the one that is asked for has a name, or would get one."""


@dataclass(slots=True)
class _Step:
    """One point: from `begins_s` on for `lasts_s`, which are fewer at both ends of what is known."""

    begins_s: int
    lasts_s: float
    slots: list[Slot] = field(default_factory=list)
    fleet: list[Slot] = field(default_factory=list)


def document_of(asked: AskTraffic, known: Known) -> dict[str, Any]:
    """As `/admin/v1/traffic` answers."""
    every = _steps(asked, known)
    steps = every[:-1] if len(every) > 1 and every[-1].lasts_s < SHORTEST_S else every
    lines = [_line(line, every, len(steps)) for line in _lines(asked, known)]
    return {
        "gateway": asked.gateway,
        "workers": known.workers,
        "since_ms": int(known.since_s * 1000),
        "until_ms": int(known.now_s * 1000),
        "window_s": asked.window_s,
        "step_s": asked.step_s,
        "by": asked.by,
        "named": known.named,
        "tenants": list(known.tenants),
        "adapters": list(known.models),
        "at_ms": [step.begins_s * 1000 for step in steps],
        "in_flight": [_mean(slot.sum_of_levels("worker") for slot in step.slots) for step in steps],
        "queued": [_mean(slot.sum_of_levels("engine") for slot in step.fleet) for step in steps],
        "loads": [sum(slot.loads for slot in step.fleet) for step in steps],
        "failed_loads": [sum(slot.failed_loads for slot in step.fleet) for step in steps],
        "evictions": [sum(slot.evictions for slot in step.fleet) for step in steps],
        "lines": lines,
    }


def _steps(asked: AskTraffic, known: Known) -> list[_Step]:
    begin_s = max(known.since_s, known.now_s - asked.window_s)
    first, last = int(begin_s // asked.step_s), int(known.now_s // asked.step_s)
    steps = []
    for number in range(first, last + 1):
        starts_s, ends_s = number * asked.step_s, (number + 1) * asked.step_s
        steps.append(_Step(starts_s, min(ends_s, known.now_s) - max(starts_s, known.since_s)))
    for slots, name in ((known.slots, "slots"), (known.fleet, "fleet")):
        for slot in slots:
            number = slot.number * known.slot_s // asked.step_s - first
            if 0 <= number < len(steps):
                getattr(steps[number], name).append(slot)
    return steps


def _lines(asked: AskTraffic, known: Known) -> list[Line]:
    """Those with the most requests first."""
    if asked.by == "all":
        return [ALL]
    if asked.only is not None:
        return [(asked.by, asked.only)]
    requests: dict[Line, float] = {}
    for slot in known.slots:
        for line, cell in slot.cells.items():
            if line[0] == asked.by:
                requests[line] = requests.get(line, 0) + sum(cell[: len(OUTCOMES)])
    return sorted(requests, key=lambda line: (-requests[line], line))[:MOST_LINES]


def _line(line: Line, steps: Sequence[_Step], shown: int) -> dict[str, Any]:
    """The whole is of all steps, also of those beyond the first `shown`."""
    cells = [_sum([slot.cells[line] for slot in step.slots if line in slot.cells]) for step in steps]
    whole = _sum([cell for cell in cells if cell is not None]) or new_cell()
    cells, steps = cells[:shown], steps[:shown]
    lasts = [max(1.0, step.lasts_s) for step in steps]

    def rates(place: int) -> list[float]:
        return [0.0 if cell is None else round(cell[place] / s, 3) for cell, s in zip(cells, lasts, strict=True)]

    requests = [
        0.0 if cell is None else round(sum(cell[: len(OUTCOMES)]) / s, 3) for cell, s in zip(cells, lasts, strict=True)
    ]
    return {
        "name": line[1] or "all",
        "whole": {
            "requests": int(sum(whole[: len(OUTCOMES)])),
            "outcomes": {name: int(whole[number]) for number, name in enumerate(OUTCOMES) if whole[number]},
            "prompt_tokens": int(whole[PROMPT]),
            "cached_tokens": int(whole[CACHED]),
            "completion_tokens": int(whole[COMPLETION]),
            "cost_dollars": nano_to_dollars(int(whole[NANO])),
            **{name: _ms(whole, block, part) for name, (block, part) in QUANTILES.items()},
        },
        "requests_per_s": requests,
        "errors_per_s": {name: rates(number) for number, name in enumerate(OUTCOMES) if number != OK and whole[number]},
        "prompt_tokens_per_s": rates(PROMPT),
        "completion_tokens_per_s": rates(COMPLETION),
        **{
            name: [None if cell is None else _ms(cell, block, part) for cell in cells]
            for name, (block, part) in QUANTILES.items()
        },
    }


def _sum(cells: Sequence[array[float]]) -> array[float] | None:
    if len(cells) < 2:
        return cells[0] if cells else None
    return array("d", map(sum, zip(*cells, strict=True)))


def _ms(cell: array[float], block: Block, part: float) -> float | None:
    found = quantile(block, cell, part)
    return None if found is None else round(found * 1000, 2)


def _mean(values: Any) -> float:
    found = list(values)
    return round(sum(found) / len(found), 2) if found else 0.0
